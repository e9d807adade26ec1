"""Local copies of what is at a URL, with the memory of fsspec in place of a cloud."""

import os

import pytest

from lxmert_tf import local_copy, storage
from lxmert_tf.atomic_write import atomic_directory, atomic_file, check_file, check_replaceable
from lxmert_tf.errors import InputError

fsspec = pytest.importorskip("fsspec")


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("LXMERT_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def put(url: str, text: str) -> None:
    with atomic_file(url) as path:
        path.write_text(text)


def test_a_folder_is_copied_once_and_again_when_it_changes(url, monkeypatch, cache):
    put(f"{url}/model/preset.json", "one")
    put(f"{url}/model/assets/vocab.txt", "word")
    copy = local_copy.copy_directory(f"{url}/model")
    assert copy.name == "model" and (copy / "assets/vocab.txt").read_text() == "word"
    assert os.stat(cache).st_mode & 0o077 == 0
    with monkeypatch.context() as patch:
        patch.setattr(storage, "download", None)
        assert local_copy.copy_directory(f"{url}/model") == copy
    put(f"{url}/model/preset.json", "two")
    assert (local_copy.copy_directory(f"{url}/model") / "preset.json").read_text() == "two"
    # A process that still reads the old copy keeps it.
    assert (copy / "preset.json").read_text() == "one"
    assert [path.name for path in (cache / "models").glob(".*")] == []


def test_what_is_not_whole_is_refused(url, monkeypatch, cache):
    with pytest.raises(InputError, match=f"{url}/none: not found"):
        local_copy.copy_directory(f"{url}/none")
    put(f"{url}/preset.json", "one")
    put(f"{url}/.unfinished", "")
    with pytest.raises(InputError, match="unfinished"):
        local_copy.copy_directory(url)
    storage.remove(f"{url}/.unfinished")
    download = storage.download

    def change(path, target):
        download(path, target)
        put(f"{url}/preset.json", "two")

    monkeypatch.setattr(storage, "download", change)
    with pytest.raises(InputError, match="changed while it was read"):
        local_copy.copy_directory(url)
    assert not any((cache / "models").iterdir())


def test_no_name_leads_out_of_the_copy(url, monkeypatch, tmp_path):
    listing = {"../../../outside": storage.StoredFile(1, "")}
    monkeypatch.setattr(storage, "find_files", lambda url: listing)
    with pytest.raises(InputError, match="cannot be that of a file"):
        local_copy.copy_directory(url)
    assert not (tmp_path / "outside").exists()


def test_records_are_kept_where_there_is_room(url, monkeypatch):
    put(f"{url}/shard", "data")
    copies = local_copy.RecordCopies()
    path = copies.fetch(f"{url}/shard")
    copies.release(path)
    monkeypatch.setattr(storage, "download", None)
    assert local_copy.RecordCopies().fetch(f"{url}/shard") == path
    with open(path) as file:
        assert file.read() == "data"


def test_records_without_room_are_deleted_once_they_are_read(url, monkeypatch):
    monkeypatch.setattr(local_copy, "LEAST_FREE", 1)
    put(f"{url}/shard", "data")
    copies = local_copy.RecordCopies()
    path = copies.fetch(f"{url}/shard")
    assert os.path.exists(path)
    copies.release(path)
    assert not os.path.exists(path)
    assert os.path.exists(copies.fetch(f"{url}/shard"))


def test_an_interrupted_upload_is_unfinished_and_replaced_by_the_next(url, monkeypatch):
    def write(text):
        with atomic_directory(url, "preset.json") as folder:
            (folder / "preset.json").write_text(text)
            (folder / "weights").write_text(text)

    write("one")
    assert local_copy.copy_directory(url).joinpath("weights").read_text() == "one"
    with monkeypatch.context() as patch:
        upload = storage.upload

        def fail(source, path):
            if path.endswith("weights"):
                raise InputError("the link is down")
            upload(source, path)

        patch.setattr(storage, "upload", fail)
        with pytest.raises(InputError, match="the link is down"):
            write("two")
    assert "preset.json" not in storage.list_directory(url)
    with pytest.raises(InputError, match="unfinished"):
        local_copy.copy_directory(url)
    write("three")
    assert local_copy.copy_directory(url).joinpath("weights").read_text() == "three"


def test_a_failed_block_uploads_nothing(url):
    with pytest.raises(ZeroDivisionError):
        with atomic_directory(f"{url}/folder", "preset.json") as folder:
            (folder / "preset.json").write_text("half")
            1 / 0  # noqa: B018
    with pytest.raises(ZeroDivisionError):
        with atomic_file(f"{url}/file") as path:
            path.write_text("half")
            1 / 0  # noqa: B018
    assert storage.find_files(url) == {}


def test_what_is_at_a_url_is_not_replaced_by_something_else(url):
    put(f"{url}/other/file", "mine")
    with pytest.raises(InputError, match=r"already exists and has no preset\.json"):
        check_replaceable(f"{url}/other", "preset.json")
    with pytest.raises(InputError, match="already exists; choose a new URL"):
        check_replaceable(f"{url}/other")
    with pytest.raises(InputError, match="is a file"):
        check_replaceable(f"{url}/other/file", "preset.json")
    with pytest.raises(InputError, match="is a directory"):
        check_file(f"{url}/other")
    check_file(f"{url}/other/file")
    check_replaceable(f"{url}/new")
