"""Folders at URLs and their writers, with the memory of fsspec in place of a cloud."""

import threading

import pytest

from lxmert_tf import storage, stored_folder
from lxmert_tf.errors import InputError
from lxmert_tf.stored_folder import UNFINISHED, Claim, FileAccess, check_finished, upload_directory

pytest.importorskip("fsspec")


@pytest.fixture
def quick(monkeypatch):
    """Let writers give signs of life often, and wait shortly."""
    monkeypatch.setattr(stored_folder, "BEAT", 0.02)
    monkeypatch.setattr(stored_folder, "PATIENCE", 0.4)
    monkeypatch.setattr(stored_folder, "_POLL", 0.02)


@pytest.fixture
def folder(tmp_path):
    for name in ("preset.json", "weights"):
        (tmp_path / name).write_text(name)
    return tmp_path


def kill(claim):
    """End a claim as SIGKILL does."""
    claim._stop.set()
    claim._thread.join()


def test_a_folder_is_unfinished_while_it_is_claimed(url):
    with Claim(url) as claim:
        with pytest.raises(InputError, match=f"^{url}: is unfinished; wait for the command"):
            check_finished(url)
        claim.release()
    check_finished(url)
    assert storage.list_directory(url) == []


def test_a_second_writer_is_refused_while_the_first_one_lives(url, folder, quick, capsys):
    with Claim(url) as first:
        with pytest.raises(InputError, match=r"another process is writing it \(.*, process \d+\)"):
            upload_directory(folder, url)
        first.check()
        assert storage.list_directory(url) == [UNFINISHED]
        first.release()
    assert "is unfinished; waiting" in capsys.readouterr().err
    upload_directory(folder, url)


def test_what_a_killed_writer_has_left_is_replaced(url, folder, quick):
    first = Claim(url)
    first.__enter__()
    storage.upload(folder / "weights", f"{url}/old")
    kill(first)
    upload_directory(folder, url)
    assert storage.list_directory(url) == ["preset.json", "weights"]


def test_nobody_waits_for_a_writer_that_failed(url, folder, monkeypatch):
    with pytest.raises(ZeroDivisionError), Claim(url):
        1 / 0  # noqa: B018
    assert storage.list_directory(url) == [UNFINISHED]
    monkeypatch.setattr(stored_folder, "_POLL", None)
    upload_directory(folder, url)


def test_a_writer_that_fails_while_another_waits_is_not_waited_for_any_longer(
    url, folder, monkeypatch
):
    # Rather than for the whole patience. The first gives no sign of life before it fails.
    monkeypatch.setattr(stored_folder, "_POLL", 0.02)
    first = Claim(url)
    first.__enter__()
    threading.Timer(0.1, first.__exit__).start()
    upload_directory(folder, url)
    assert storage.list_directory(url) == ["preset.json", "weights"]


@pytest.mark.parametrize("first", ["written by a, process 1, 2; sign of life 1\n", ""])
def test_a_mark_that_is_read_while_it_is_rewritten_is_no_sign_of_its_end(url, quick, first):
    marks = iter([first, *[""] * 3])
    last = "written by a, process 1, 2; sign of life 2\n"
    files = FileAccess(lambda url: next(marks, last), write=None, remove=None)
    with pytest.raises(InputError, match=r"another process is writing it \(a, process 1\)"):
        Claim(url, files=files).__enter__()


def test_a_writer_that_was_taken_for_killed_learns_it(url, folder, quick):
    first = Claim(url)
    first.__enter__()
    kill(first)
    with Claim(url) as second:
        for act in (first.check, first.release):
            with pytest.raises(InputError, match="another process is writing it"):
                act()
        first.__exit__()
        second.release()
    with pytest.raises(InputError, match="another process has written it"):
        first.check()


def test_two_that_begin_at_the_same_moment_do_not_both_write(url, monkeypatch):
    first, second = Claim(url), Claim(url)
    write = first._write

    def late():
        write()
        second._write()

    monkeypatch.setattr(first, "_write", late)
    with pytest.raises(InputError, match="another process is writing it"):
        first.__enter__()
    assert second.holds()


def test_files_of_another_writer_are_not_taken_for_whole(url, folder, tmp_path, monkeypatch):
    upload = storage.upload

    def disturb(source, path):
        upload(source, path)
        if path.endswith("weights"):
            upload(tmp_path / "weights", f"{url}/strange")

    monkeypatch.setattr(storage, "upload", disturb)
    with pytest.raises(InputError, match="another process has changed it"):
        upload_directory(folder, url)
    with pytest.raises(InputError, match="is unfinished"):
        check_finished(url)
