"""Files and directories that appear whole or not at all, also after a loss of power."""

import contextlib
import errno
import fcntl
import os
import pathlib
import shutil
import tempfile
from collections.abc import Iterator

from lxmert_tf import storage
from lxmert_tf.durable import rename_durably
from lxmert_tf.errors import InputError
from lxmert_tf.stored_folder import check_url_replaceable, upload_directory
from lxmert_tf.termination import raising_terminated

# Names of unfinished files and directories begin with a dot and end with this.
PARTIAL = ".partial"
# The ending of a directory's name for the moment in which a new one takes its place.
REPLACED = ".replaced"
# What the system says if a disk, or a user's share of it, is full.
_DISK_FULL = tuple(map(os.strerror, (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)))


@contextlib.contextmanager
def atomic_directory(
    path, marker: str | None = None, last: str | None = None
) -> Iterator[pathlib.Path]:
    """Yield an empty directory that becomes `path` when the block ends without an error.

    The block writes into `.NAME.partial` beside `path`. After an error or SIGTERM that directory is
    removed and `path` is as it was. A process that SIGKILL ends leaves it behind; the next writer
    removes it.

    For a URL the block writes into a temporary directory, which `upload_directory` uploads
    at the end. An older directory there is gone once that begins. What a killed process has left
    is known as unfinished; the next writer replaces it.

    Args:
        path: The directory to make, a path or URL; missing parents are created. An empty directory
            is replaced.
        marker: The name of a file that tells a directory that may be replaced, such as
            "preset.json". Without it only an empty directory is replaced.
        last: The name of the file that is uploaded last. Default: `marker`.

    Raises:
        InputError: `path` exists and may not be replaced, or another process is writing it.
        OSError: The directory cannot be written.
        Terminated: SIGTERM came, which nobody else handles.

    Example:
        >>> with atomic_directory("saved_models/vqa", marker="preset.json") as directory:
        ...     (directory / "preset.json").write_text("{}")
    """
    check_replaceable(path, marker)
    if storage.is_url(path):
        with tempfile.TemporaryDirectory(prefix="lxmert-") as folder, raising_terminated():
            with naming_full_disk(folder):
                yield pathlib.Path(folder)
            check_replaceable(path, marker)
            upload_directory(folder, path, last or marker)
        return
    target = _absolute(path)
    partial = target.with_name(f".{target.name}{PARTIAL}")
    partial.mkdir(parents=True, exist_ok=True)
    with locked(partial, path), raising_terminated(), naming_full_disk(path):
        try:
            _clear(partial)
            _restore(target)
            yield partial
            check_replaceable(path, marker)
            _replace(partial, target)
        finally:
            shutil.rmtree(partial, ignore_errors=True)


def check_replaceable(path, marker: str | None = None) -> None:
    """Check that `atomic_directory` may write `path`, before anything expensive is done.

    Args:
        path: The directory to make.
        marker: As for `atomic_directory`.

    Raises:
        InputError: `path` is a file, or a directory that is not empty and has no `marker`.
    """
    if storage.is_url(path):
        _check_url_replaceable(path, marker)
        return
    target = _absolute(path)
    if not target.exists() or (target.is_dir() and not any(target.iterdir())):
        return
    if marker is None:
        raise InputError(f"{path}: already exists; choose a new path or remove it")
    if not (target / marker).is_file():
        raise InputError(f"{path}: already exists and has no {marker}; choose another path")


def check_file(path) -> None:
    """Check that `atomic_file` may write `path`, before anything expensive is done.

    Args:
        path: The file to make.

    Raises:
        InputError: `path` is a directory, or its directory does not exist or cannot be written. Of
            a URL only what can be told without writing is checked.
    """
    if storage.is_directory(path):
        raise InputError(f"{path}: is a directory; name a file")
    if storage.is_url(path):
        return
    path = pathlib.Path(path)
    if not path.parent.is_dir():
        raise InputError(f"directory not found: {path.parent}")
    if not os.access(path.parent, os.W_OK):
        raise InputError(f"{path}: the directory is not writable")


@contextlib.contextmanager
def atomic_file(path) -> Iterator[pathlib.Path]:
    """Yield the path of a temporary file that becomes `path` when the block ends without an error.

    Args:
        path: The file to make, a path or URL; an older one is replaced. A local directory must
            exist.

    Raises:
        InputError: The file cannot be uploaded.
        OSError: The file cannot be written.
        Terminated: SIGTERM came, which nobody else handles.
    """
    if storage.is_url(path):
        with tempfile.TemporaryDirectory(prefix="lxmert-") as folder, raising_terminated():
            fresh = pathlib.Path(folder, storage.basename(path))
            with naming_full_disk(folder):
                yield fresh
            storage.upload(fresh, path)
        return
    path = pathlib.Path(path)
    # Two processes may write the same file; the last one wins.
    partial = path.with_name(f".{path.name}.{os.getpid()}{PARTIAL}")
    with raising_terminated(), naming_full_disk(path):
        try:
            yield partial
            rename_durably(partial, path)
        finally:
            with contextlib.suppress(OSError):
                partial.unlink()


@contextlib.contextmanager
def naming_full_disk(path) -> Iterator[None]:
    """Turn the errors of libraries on a full disk into an OSError that names what was written.

    Python's own have no name after the file has been opened. TensorFlow and HDF5 have errors of
    their own, which quote the system.

    Args:
        path: What is written.

    Raises:
        OSError: The disk is full.
    """
    try:
        yield
    except InputError:
        raise
    except Exception as error:
        text = str(error)
        reason = next((reason for reason in _DISK_FULL if reason in text), None)
        if reason is None or getattr(error, "filename", None):
            raise
        raise OSError(errno.ENOSPC, reason, str(path)) from error


@contextlib.contextmanager
def locked(directory: pathlib.Path, path) -> Iterator[None]:
    """Keep other processes out of a directory of unfinished work.

    The lock ends with the process, however that ends.

    Args:
        directory: The directory, which exists.
        path: What it is for, for the message.

    Raises:
        InputError: Another process has the lock.
    """
    opened = os.open(directory, os.O_RDONLY)
    try:
        try:
            fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise InputError(f"{path}: another process is writing it") from error
        yield
    finally:
        os.close(opened)


def _check_url_replaceable(path, marker: str | None) -> None:
    if storage.is_file(path):
        raise InputError(f"{path}: is a file; choose another URL")
    check_url_replaceable(path, storage.list_directory(path), marker)


def _absolute(path) -> pathlib.Path:
    """Return the path of what is written, also for "." and for "new/..", whose "new" is missing."""
    return pathlib.Path(os.path.abspath(path))


def _clear(directory: pathlib.Path) -> None:
    for entry in directory.iterdir():
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry)
        else:
            entry.unlink()


def _replace(partial: pathlib.Path, target: pathlib.Path) -> None:
    if not target.exists() or not any(target.iterdir()):
        rename_durably(partial, target)
        return
    # No rename replaces a directory with files in it, so the old one steps aside.
    old = target.with_name(f".{target.name}{REPLACED}")
    target.rename(old)
    try:
        rename_durably(partial, target)
    except OSError:
        old.rename(target)
        raise
    shutil.rmtree(old)


def _restore(target: pathlib.Path) -> None:
    """Undo what a process that was killed inside `_replace` left behind."""
    old = target.with_name(f".{target.name}{REPLACED}")
    if not old.exists():
        return
    if target.exists():
        shutil.rmtree(old)
    else:
        old.rename(target)
