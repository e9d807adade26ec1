"""Folders at URLs: whole, or known as unfinished, and with one writer at a time.

Nothing renames a folder in an object store, so a folder there cannot appear at once. Instead there
is a file in it until it is whole. It also names the writer, which rewrites it now and then, so that
a second one can tell whether the first still lives; no clocks are compared.
"""

import contextlib
import os
import socket
import threading
import time
import uuid
from collections.abc import Callable, Collection
from typing import NamedTuple

from lxmert_tf import storage
from lxmert_tf.errors import InputError

# The file in a folder that is not whole.
UNFINISHED = ".unfinished"
# Seconds between two signs of life of a writer, and for which a second one waits for the next.
BEAT, PATIENCE = 10.0, 35.0
# Seconds between two looks of one that waits.
_POLL = 2.0
# The first words of a mark whose writer may live, and of one whose writer has given up.
_WRITER, _NOBODY = "written by", "written by nobody"


class FileAccess(NamedTuple):
    """What reads and writes small files at URLs.

    Args:
        read: Returns the text of a file, or None if there is none.
        write: Writes a text, in place of what is there.
        remove: Deletes a file that exists.
    """

    read: Callable[[str], str | None]
    write: Callable[[str, str], None]
    remove: Callable[[str], None]


def check_finished(url) -> None:
    """Check that a folder is whole.

    Args:
        url: The URL of the folder.

    Raises:
        InputError: It is not, or the storage cannot be asked.
    """
    if storage.is_file(storage.join(url, UNFINISHED)):
        raise InputError(
            f"{url}: is unfinished; wait for the command that writes it, or run it again if it was "
            "killed"
        )


def check_url_replaceable(url, names: Collection[str], marker: str | None = None) -> None:
    """Check that a folder may be written.

    Args:
        url: The URL of the folder.
        names: The names of the files in it.
        marker: The name of a file that tells a folder that may be replaced. Without it only an
            empty or an unfinished folder is replaced.

    Raises:
        InputError: It may not.
    """
    if not names or UNFINISHED in names or marker in names:
        return
    if marker is None:
        raise InputError(f"{url}: already exists; choose a new URL or remove it")
    raise InputError(f"{url}: already exists and has no {marker}; choose another URL")


class Claim:
    """The claim of this process to be the only writer of a folder.

    It is a file in the folder. If another process has one, its next sign of life is waited for;
    without one it is taken for killed. Object stores decide nothing between processes that begin at
    the same moment: `check` tells afterwards which of them lost.

    A context in which the signs of life are given. At its end the file stays, unless `release` was
    called.

    Args:
        url: The URL of the folder.
        name: The name of the file.
        files: What reads and writes it. Default: `lxmert_tf.storage`.

    Attributes:
        was_marked: Whether the file was there before.

    Raises:
        InputError: Another process writes the folder, or the URL cannot be written.
    """

    def __init__(self, url, name: str = UNFINISHED, files: FileAccess | None = None):
        self._url = str(url)
        self._path = storage.join(url, name)
        self._files = files or FileAccess(_read_text, _write_text, storage.remove)
        self._writer = f"{_WRITER} {socket.gethostname()}, process {os.getpid()}, {uuid.uuid4()}"
        self._beats = 0
        self.was_marked = False
        # So that `check` never reads what a sign of life is writing.
        self._writing = threading.Lock()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._give_signs, daemon=True)

    def __enter__(self) -> "Claim":
        self._wait()
        self._write()
        self.check()
        self._thread.start()
        return self

    def __exit__(self, *exception) -> None:
        self._stop.set()
        self._thread.join()
        # The next writer need not wait.
        with contextlib.suppress(InputError):
            if self.holds():
                self._files.write(self._path, _NOBODY)

    def holds(self) -> bool:
        """Return whether no other process has taken the folder since."""
        return _writer_of(self._files.read(self._path)) == self._writer

    def check(self) -> None:
        """Check that no other process has taken the folder since.

        Raises:
            InputError: One has, or the mark was removed.
        """
        with self._writing:
            found = self._files.read(self._path)
        if found is None:
            raise InputError(
                f"{self._url}: another process has written it, or removed {self._path}, meanwhile; "
                "run this again"
            )
        if _writer_of(found) != self._writer:
            raise self._busy(found)

    def check_content(self, found: object, written: object) -> None:
        """Check that a listing of the folder is what this process has written.

        Args:
            found: The listing.
            written: What it must be equal to.

        Raises:
            InputError: It differs.
        """
        if found != written:
            raise InputError(
                f"{self._url}: another process has changed it meanwhile; run this again"
            )

    def release(self) -> None:
        """Give up the claim and delete the file.

        Raises:
            InputError: As for `check`.
        """
        # Otherwise a sign of life could write the file again.
        self._stop.set()
        self._thread.join()
        self.check()
        self._files.remove(self._path)

    def _wait(self) -> None:
        first = self._files.read(self._path)
        self.was_marked = first is not None
        # Some storages show a file that is being rewritten as empty.
        if first != "" and not _writer_of(first):
            return
        # Here, because only waiting needs it and its import takes long.
        from lxmert_tf.terminal import make_console

        make_console(stderr=True).print(
            f"{self._url}: is unfinished; waiting {PATIENCE:.0f} s for its writer to give a sign",
            soft_wrap=True,
        )
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end:
            time.sleep(_POLL)
            found = self._files.read(self._path)
            if found is None:
                raise InputError(f"{self._url}: another process has just written it; try again")
            if found == _NOBODY:
                return
            if found not in (first, ""):
                raise self._busy(found)

    def _busy(self, mark: str) -> InputError:
        who = _writer_of(mark).removeprefix(_WRITER).rpartition(",")[0].strip() or "unknown"
        return InputError(
            f"{self._url}: another process is writing it ({who}); wait for its end, or choose "
            "another URL"
        )

    def _write(self) -> None:
        self._beats += 1
        with self._writing:
            self._files.write(self._path, f"{self._writer}; sign of life {self._beats}\n")

    def _give_signs(self) -> None:
        while not self._stop.wait(BEAT):
            # Whatever is wrong with the storage, the next `check` says so.
            with contextlib.suppress(Exception):
                if not self.holds():
                    return
                self._write()


def upload_directory(source, url, last: str | None = None) -> None:
    """Copy a local folder to a URL, in place of what is there.

    Until the copy is whole there is the file `UNFINISHED` in it, which our readers refuse. Other
    programs may require one of its files: it is removed first and uploaded last, so they see the
    old folder, none, or the new one.

    Args:
        source: The local folder.
        url: The URL of the folder.
        last: That file's name, relative to the folder. None uploads the files in any order.

    Raises:
        InputError: It cannot be written, or another process writes it, too.
    """
    files = list(storage.find_files(source))
    with Claim(url) as claim:
        if last is not None:
            storage.remove(storage.join(url, last))
            files = [*(file for file in files if file != last), last]
        for file in storage.find_files(url):
            if file not in (*files, UNFINISHED):
                storage.remove(storage.join(url, file))
        for file in files:
            storage.upload(os.path.join(source, file), storage.join(url, file))
        claim.check_content(_sizes(url), _sizes(source))
        claim.release()


def _sizes(folder) -> dict[str, int]:
    files = storage.find_files(folder)
    return {name: file.size for name, file in files.items() if name != UNFINISHED}


def _writer_of(mark: str | None) -> str:
    """Return who wrote a mark; "" if nobody who may live."""
    writer = (mark or "").partition(";")[0].strip()
    return writer if writer.startswith(_WRITER) and writer != _NOBODY else ""


def _read_text(url: str) -> str | None:
    if not storage.is_file(url):
        return None
    return storage.read_bytes(url).decode("utf-8", "replace")


def _write_text(url: str, text: str) -> None:
    storage.write_bytes(text.encode(), url)
