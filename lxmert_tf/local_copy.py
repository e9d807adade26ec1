"""Local copies of what URLs name, for code that needs files: weights, SavedModels, records.

A copy has the size and the version of its original in its name, so what changed is copied anew, and
processes that run at the same time share copies. Any of them may be deleted while no process runs.
"""

import contextlib
import hashlib
import json
import os
import pathlib
import shutil
import tempfile
import threading

from lxmert_tf import storage
from lxmert_tf.durable import rename_durably
from lxmert_tf.errors import InputError
from lxmert_tf.storage import StoredFile
from lxmert_tf.stored_folder import check_finished

# The environment variable that names the folder of the copies.
CACHE = "LXMERT_CACHE"
# Copies of records leave as much of the disk free.
LEAST_FREE = 0.1


def cache_directory() -> pathlib.Path:
    """Return the folder of the copies, which only this user can read.

    It is `$LXMERT_CACHE`, or else `lxmert-tf` in `$XDG_CACHE_HOME` or `~/.cache`.

    Raises:
        InputError: It cannot be made.
    """
    base = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    directory = pathlib.Path(os.environ.get(CACHE) or os.path.join(base, "lxmert-tf"))
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        reason = error.strerror or error
        raise InputError(f"{directory}: {reason}; name another folder in {CACHE}") from error
    return directory


def local_name(path) -> str:
    """Return a local path for a URL of a folder; any other name is returned as it is.

    Args:
        path: A path, a URL, or a name of the Hugging Face Hub.

    Raises:
        InputError: As for `copy_directory`.
    """
    return str(copy_directory(path)) if storage.is_url(path) else str(path)


def copy_directory(url) -> pathlib.Path:
    """Return a local copy of a folder, downloaded if there is none of its present content.

    Args:
        url: The URL of the folder.

    Raises:
        InputError: There is no such folder, it cannot be read, or it changes meanwhile.
    """
    files = storage.find_files(url)
    if not files:
        raise InputError(f"{url}: not found")
    check_finished(url)
    for name in files:
        # An object's name is any text, and such a one would lead out of the copy.
        if {"", ".", ".."} & set(name.split("/")):
            raise InputError(f"{url}: the name {name!r} cannot be that of a file")
    target = cache_directory() / "models" / _digest(url, files) / storage.basename(url)
    if target.is_dir():
        return target
    target.parent.parent.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".partial-", dir=target.parent.parent) as folder:
        copy = pathlib.Path(folder, target.name)
        for name in files:
            (copy / name).parent.mkdir(parents=True, exist_ok=True)
            storage.download(storage.join(url, name), copy / name)
        if storage.find_files(url) != files:
            raise InputError(f"{url}: changed while it was read; try again")
        # Another process may have made the same copy.
        with contextlib.suppress(FileExistsError):
            target.parent.mkdir()
            rename_durably(copy, target)
    return target


class RecordCopies:
    """Copies of record files: kept where the disk has room, or else only while they are read.

    A copy that is kept serves later epochs and runs, so a restart reads nothing twice. One without
    room lies in a folder of this process, and `release` deletes it.
    """

    def __init__(self) -> None:
        self._passing: tempfile.TemporaryDirectory | None = None
        self._lock = threading.Lock()

    def fetch(self, url: str) -> str:
        """Return the path of a copy, downloaded if there is none.

        Args:
            url: The record file.

        Raises:
            InputError: It cannot be read, or the disk is full.
        """
        about = storage.describe_file(url)
        folder = cache_directory() / "records"
        name = f"{_digest(url, {'': about})}-{storage.basename(url)}"
        if (folder / name).exists():
            return str(folder / name)
        folder.mkdir(exist_ok=True)
        if not _has_room(folder, about.size):
            folder = self._passing_folder(folder)
        # Unique, because two epochs that overlap fetch the same file at the same time.
        handle, partial = tempfile.mkstemp(prefix=".partial-", dir=folder)
        os.close(handle)
        try:
            storage.download(url, partial)
            # A copy is taken for whole by its name alone.
            rename_durably(pathlib.Path(partial), folder / name)
        finally:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(partial)
        return str(folder / name)

    def _passing_folder(self, parent: pathlib.Path) -> pathlib.Path:
        # Several threads fetch at the same time; a second folder would delete the first.
        with self._lock:
            if self._passing is None:
                self._passing = tempfile.TemporaryDirectory(prefix="passing-", dir=parent)
            return pathlib.Path(self._passing.name)

    def release(self, path: str) -> None:
        """Delete a copy from `fetch`, unless it is kept."""
        if self._passing is not None and os.path.dirname(path) == self._passing.name:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(path)


def _has_room(folder: pathlib.Path, size: int) -> bool:
    disk = shutil.disk_usage(folder)
    return disk.free - size > LEAST_FREE * disk.total


def _digest(url, files: dict[str, StoredFile]) -> str:
    listing = [[name, file.size, file.version] for name, file in files.items()]
    return hashlib.sha256(json.dumps([str(url), listing]).encode()).hexdigest()[:24]
