"""Storage by path or URL, with the memory of fsspec in place of a cloud."""

import errno
import sys

import pytest

from lxmert_tf import storage
from lxmert_tf.errors import InputError
from lxmert_tf.stored_folder import upload_directory

fsspec = pytest.importorskip("fsspec")


@pytest.fixture
def folder(tmp_path):
    """Return a local folder of files."""
    for name in ("preset.json", "zeros.bin", "assets/vocab.txt", "assets/deep/a.txt", ".hidden"):
        path = tmp_path / "source" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
    return tmp_path / "source"


def test_a_folder_is_uploaded_listed_and_downloaded(folder, url, tmp_path):
    upload_directory(folder, url, "preset.json")
    assert {name: file.size for name, file in storage.find_files(url).items()} == {
        name: len(name)
        for name in (".hidden", "assets/deep/a.txt", "assets/vocab.txt", "preset.json", "zeros.bin")
    }
    assert storage.list_directory(url) == [".hidden", "assets", "preset.json", "zeros.bin"]
    assert storage.read_bytes(f"{url}/assets/vocab.txt") == b"assets/vocab.txt"
    storage.download(f"{url}/zeros.bin", tmp_path / "copy")
    assert (tmp_path / "copy").read_text() == "zeros.bin"
    assert storage.is_directory(f"{url}/assets") and not storage.is_file(f"{url}/assets")
    assert storage.is_file(f"{url}/zeros.bin") and not storage.exists(f"{url}/none")


@pytest.mark.parametrize(
    ("pattern", "found"),
    [
        ("*", ["assets", "preset.json", "zeros.bin"]),
        (".*", [".hidden"]),
        ("*.json", ["preset.json"]),
        ("[pz]*", ["preset.json", "zeros.bin"]),
        ("**/*.txt", ["assets/deep/a.txt", "assets/vocab.txt"]),
        ("*/*.txt", ["assets/vocab.txt"]),
        ("preset.json", ["preset.json"]),
        ("none*", []),
        ("none", []),
    ],
)
def test_patterns_match_as_they_do_for_local_files(folder, url, pattern, found):
    upload_directory(folder, url)
    assert storage.match(f"{url}/{pattern}") == [f"{url}/{name}" for name in found]
    assert storage.match(f"{folder}/{pattern}") == [f"{folder}/{name}" for name in found]


def test_the_last_file_tells_that_a_folder_is_whole(folder, url, monkeypatch):
    upload_directory(folder, url, "preset.json")
    (folder / "new.bin").write_text("new")
    (folder / "zeros.bin").unlink()
    seen = []

    def watch(write):
        def watched(source, path):
            names = storage.list_directory(url)
            seen.append((storage.basename(path), "preset.json" in names, ".unfinished" in names))
            write(source, path)

        return watched

    for name in ("upload", "write_bytes"):
        monkeypatch.setattr(storage, name, watch(getattr(storage, name)))
    upload_directory(folder, url, "preset.json")
    assert seen[0] == (".unfinished", True, False) and seen[-1][0] == "preset.json"
    assert {tuple(state) for _, *state in seen[1:]} == {(False, True)}
    assert storage.find_files(url).keys() == {
        *(".hidden", "assets/deep/a.txt", "assets/vocab.txt", "new.bin", "preset.json")
    }


def test_a_new_content_is_a_new_version(folder, url):
    storage.upload(folder / "zeros.bin", f"{url}/file")
    first = storage.find_files(url)["file"]
    assert first == storage.describe_file(f"{url}/file")
    storage.upload(folder / "zeros.bin", f"{url}/file")
    assert storage.describe_file(f"{url}/file") != first


@pytest.mark.parametrize(
    "path",
    [
        "s3://AKIAKEY:hush/hush+hush@bucket/x",
        "s3://AKIAKEY:hushhush@bucket/x",
        "s3://hushhush@bucket",
        "gs://hush:hush",
        "hdfs://me:hush@name:8020/x",
        "sftp://me:hush/hush@name/x",
    ],
)
def test_credentials_in_a_url_are_refused_and_hidden(path):
    with pytest.raises(InputError, match="must not hold credentials") as error:
        storage.is_url(path)
    assert "hush" not in str(error.value) and "AKIAKEY" not in str(error.value)


@pytest.mark.parametrize(
    "path", ["hdfs://me@name:8020/x", "s3://bucket/a:b@c", "abfs://box@account.net/x"]
)
def test_a_url_without_credentials_is_accepted(path):
    assert storage.is_url(path)


def test_names_that_are_no_urls_of_storage():
    assert not any(map(storage.is_url, ("a/b", "/a:b@c", "hf://unc-nlp/lxmert", "s3:/bucket")))


def test_errors_hide_the_secrets_of_the_environment(monkeypatch, url):
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "hush/hush+hush")

    class Refusing(fsspec.get_filesystem_class("memory")):
        protocol = "refusing"

        def cat_file(self, path, **kwargs):
            raise OSError("403 for hush/hush+hush at http://me:hushhush@host/x")

    fsspec.register_implementation("refusing", Refusing, clobber=True)
    with pytest.raises(InputError) as error:
        storage.read_bytes("refusing://bucket/x")
    assert str(error.value) == "refusing://bucket/x: 403 for *** at http://***@host/x"
    assert error.value.__cause__ is None and error.value.__suppress_context__


def test_a_copy_that_cannot_be_written_is_named(folder, url, tmp_path, monkeypatch):
    upload_directory(folder, url)
    source, target = f"{url}/zeros.bin", tmp_path / "copy"
    with pytest.raises(InputError) as error:
        storage.download(source, tmp_path)
    assert str(error.value) == f"{tmp_path}: Is a directory"

    def fill_disk(self, path, target, **kwargs):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(fsspec.get_filesystem_class("memory"), "get_file", fill_disk)
    with pytest.raises(InputError) as error:
        storage.download(source, target)
    assert str(error.value) == f"{target}: No space left on device"


def test_what_is_missing_is_named(url):
    with pytest.raises(InputError, match=f"{url}/none: not found"):
        storage.read_bytes(f"{url}/none")
    assert storage.list_directory(f"{url}/none") == [] and storage.find_files(f"{url}/none") == {}
    with pytest.raises(InputError, match="nosuch://x/y: Protocol not known"):
        storage.exists("nosuch://x/y")


def test_a_missing_package_is_named_with_its_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "gcsfs", None)
    # Classes that are imported already.
    monkeypatch.delitem(sys.modules["fsspec.registry"]._registry, "gs", raising=False)
    with pytest.raises(
        InputError, match=r"needs the package 'gcsfs': pip install .lxmert-tf\[gs\]"
    ):
        storage.exists("gs://bucket/x")
