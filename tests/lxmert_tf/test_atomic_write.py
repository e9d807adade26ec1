"""Files and directories appear whole or not at all."""

import errno
import os
import pathlib
import stat
import subprocess
import sys

import pytest

from lxmert_tf.atomic_write import atomic_directory, atomic_file
from lxmert_tf.errors import InputError
from lxmert_tf.text_file import write_text

MARKER = "marker.json"


def write(path, content, marker=MARKER):
    with atomic_directory(path, marker) as directory:
        (directory / MARKER).write_text(content)


def tree(folder):
    return {
        str(path.relative_to(folder)): path.read_text()
        for path in folder.rglob("*")
        if path.is_file()
    }


def test_directory_appears_when_the_block_ends(tmp_path):
    path = tmp_path / "a" / "b"
    with atomic_directory(path) as directory:
        (directory / "file").write_text("new")
        assert not path.exists()
    assert tree(tmp_path) == {"a/b/file": "new"}


def test_working_directory_can_be_written(tmp_path, monkeypatch):
    (tmp_path / "out").mkdir()
    monkeypatch.chdir(tmp_path / "out")
    write(".", "new")
    assert tree(tmp_path) == {f"out/{MARKER}": "new"}


def test_directory_with_the_marker_is_replaced(tmp_path):
    write(tmp_path / "out", "old")
    (tmp_path / "out" / "other").write_text("old")
    write(tmp_path / "out", "new")
    assert tree(tmp_path) == {f"out/{MARKER}": "new"}


@pytest.mark.parametrize("write", [atomic_directory, atomic_file])
@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOSPC, "No space left on device"),
        RuntimeError("events.v2; No space left on device [Op:Flush]\nin a graph"),
        ValueError("errno = 122, error message = 'Disk quota exceeded'"),
    ],
    ids=["python", "tensorflow", "hdf5"],
)
def test_an_error_of_a_full_disk_names_what_is_written(tmp_path, write, error):
    with pytest.raises(OSError) as caught:
        with write(tmp_path / "out"):
            raise error
    assert caught.value.filename == str(tmp_path / "out")
    assert caught.value.strerror in str(error)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.EACCES, "Permission denied"),
        OSError(errno.ENOSPC, "No space left on device", "elsewhere"),
        InputError("elsewhere: No space left on device"),
        RuntimeError("a bug"),
    ],
    ids=["another cause", "named", "explained", "bug"],
)
def test_other_errors_are_as_they_were(tmp_path, error):
    with pytest.raises(type(error)) as caught:
        with atomic_file(tmp_path / "out"):
            raise error
    assert caught.value is error


@pytest.mark.parametrize("older", [False, True])
def test_an_error_leaves_the_old_directory(tmp_path, older):
    if older:
        write(tmp_path / "out", "old")
    before = tree(tmp_path)
    with pytest.raises(OSError, match="disk"):
        with atomic_directory(tmp_path / "out", MARKER) as directory:
            (directory / "half").write_text("new")
            raise OSError(28, "disk is full")
    assert tree(tmp_path) == before
    assert os.listdir(tmp_path) == (["out"] if older else [])


def test_old_directory_comes_back_if_it_cannot_be_replaced(tmp_path, monkeypatch):
    write(tmp_path / "out", "old")
    replace = pathlib.Path.replace

    def fail_for_partial(path, target):
        if path.name.endswith(".partial"):
            raise OSError(5, "I/O error")
        return replace(path, target)

    monkeypatch.setattr(pathlib.Path, "replace", fail_for_partial)
    with pytest.raises(OSError, match="I/O error"):
        write(tmp_path / "out", "new")
    assert tree(tmp_path) == {f"out/{MARKER}": "old"}


@pytest.mark.parametrize("marker", [None, MARKER])
@pytest.mark.parametrize("kind", ["file", "directory"])
def test_foreign_path_is_refused_and_left_alone(tmp_path, kind, marker):
    path = tmp_path / "out"
    if kind == "directory":
        path.mkdir()
    mine = path if kind == "file" else path / "mine"
    mine.write_text("mine")
    with pytest.raises(InputError, match=f"{path}: already exists"):
        write(path, "new", marker)
    assert mine.read_text() == "mine"
    assert os.listdir(tmp_path) == ["out"]


def test_path_taken_in_the_meantime_is_left_alone(tmp_path):
    path = tmp_path / "out"
    with pytest.raises(InputError, match="already exists"):
        with atomic_directory(path, MARKER):
            path.mkdir()
            (path / "mine").write_text("mine")
    assert tree(tmp_path) == {"out/mine": "mine"}


def test_killed_writer_is_cleaned_up_by_the_next(tmp_path):
    partial = tmp_path / ".out.partial"
    (partial / "folder").mkdir(parents=True)
    (partial / "half").write_text("old")
    write(tmp_path / "out", "new")
    assert tree(tmp_path) == {f"out/{MARKER}": "new"}


def test_directory_set_aside_by_a_killed_writer_is_restored(tmp_path):
    write(tmp_path / "out", "old")
    (tmp_path / "out").rename(tmp_path / ".out.replaced")
    with pytest.raises(OSError, match="disk"):
        with atomic_directory(tmp_path / "out", MARKER):
            raise OSError(28, "disk is full")
    assert tree(tmp_path) == {f"out/{MARKER}": "old"}


def test_second_writer_is_refused(tmp_path):
    with atomic_directory(tmp_path / "out", MARKER) as directory:
        (directory / MARKER).write_text("first")
        with pytest.raises(InputError, match="another process is writing it"):
            write(tmp_path / "out", "second")
    assert tree(tmp_path) == {f"out/{MARKER}": "first"}


def test_permissions_follow_the_umask(tmp_path):
    before = os.umask(0o027)
    try:
        write(tmp_path / "out", "new")
        write_text(tmp_path / "file", "new")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "out").stat().st_mode) == 0o750
    assert stat.S_IMODE((tmp_path / "file").stat().st_mode) == 0o640


def test_file_is_replaced_whole(tmp_path):
    (tmp_path / "file").write_text("old")
    with atomic_file(tmp_path / "file") as partial:
        partial.write_text("new")
        assert (tmp_path / "file").read_text() == "old"
    assert tree(tmp_path) == {"file": "new"}


def test_error_leaves_the_old_file(tmp_path):
    (tmp_path / "file").write_text("old")
    with pytest.raises(OSError, match="disk"), atomic_file(tmp_path / "file") as partial:
        partial.write_text("half")
        raise OSError(28, "disk is full")
    assert tree(tmp_path) == {"file": "old"}


def test_text_is_written_as_utf_8_or_the_path_is_named(tmp_path):
    write_text(tmp_path / "file", "ä\n")
    assert (tmp_path / "file").read_bytes() == b"\xc3\xa4\n"
    with pytest.raises(InputError, match="none/file: No such file or directory"):
        write_text(tmp_path / "none" / "file", "text")


def test_a_path_through_a_missing_folder_is_refused_if_its_target_is_full(tmp_path):
    (tmp_path / "precious").write_text("kept")
    with (
        pytest.raises(InputError, match="already exists"),
        atomic_directory(tmp_path / "new" / ".."),
    ):
        raise AssertionError("not reached")
    assert (tmp_path / "precious").read_text() == "kept"


@pytest.mark.parametrize("kind", ["atomic_directory", "atomic_file"])
def test_sigterm_leaves_nothing(tmp_path, kind):
    script = f"""
import os, signal, sys
from lxmert_tf.atomic_write import {kind}
with {kind}(sys.argv[1]) as partial:
    (partial / "half" if partial.is_dir() else partial).write_text("")
    try:
        os.kill(os.getpid(), signal.SIGTERM)
    finally:
        os.kill(os.getpid(), signal.SIGTERM)
        print("cleaned up")
"""
    done = subprocess.run([sys.executable, "-c", script, tmp_path / "1"], capture_output=True)
    assert b"Terminated" in done.stderr
    # A second signal does not cut the clean-up short.
    assert done.stdout == b"cleaned up\n"
    assert list(tmp_path.iterdir()) == []
