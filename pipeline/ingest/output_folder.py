"""The folder that an ingestion makes: local, or at a URL, and there whole or not at all.

A local folder is renamed into its place; one at a URL is filled in place, see
`lxmert_tf.stored_folder`.
"""

import contextlib
import os
import pathlib
import shutil
import uuid
from collections.abc import Iterator

from lxmert_tf.atomic_write import atomic_directory, check_replaceable
from lxmert_tf.errors import InputError
from lxmert_tf.storage import is_url, join
from lxmert_tf.stored_folder import UNFINISHED, Claim, FileAccess, check_url_replaceable
from pipeline.beam.shared_files import (
    check_file_system,
    files_below,
    is_file,
    read_text,
    remove_files,
    write_text,
)

# The folder inside it in which workers leave what is not part of the result.
WORK = "work"


class OutputFolder:
    """A folder to write into.

    Args:
        path: The folder, as a path or URL.
        claim: The claim to it, at a URL.

    Attributes:
        path: The folder.
        work: The folder inside it for what is not part of the result. At a URL no other process
            uses it.
        names: The names of the files that are part of the result.
    """

    def __init__(self, path: str, claim: Claim | None = None):
        self.path = path
        self._claim = claim
        work = join(path, WORK)
        self.work = join(work, uuid.uuid4().hex) if is_url(path) else work
        self.names: set[str] = set()

    def path_of(self, name: str) -> str:
        """Return the path of a file, which becomes part of the result."""
        self.names.add(name)
        return join(self.path, name)

    def check(self) -> None:
        """Check that no other process has taken the folder.

        Raises:
            InputError: One has.
        """
        if self._claim is not None:
            self._claim.check()


def check_output(path: str, marker: str | None = None) -> None:
    """Check that a folder may be written, before anything expensive is done.

    Args:
        path: The folder, as a path or URL.
        marker: The name of a file that tells a folder that may be replaced. Without it only an
            empty or an unfinished folder is replaced.

    Raises:
        InputError: It may not.
    """
    if not is_url(path):
        check_replaceable(path, marker)
        return
    check_file_system(path)
    check_url_replaceable(path, _names(path), marker)


@contextlib.contextmanager
def output_folder(path: str, marker: str | None = None) -> Iterator[OutputFolder]:
    """Yield a folder to write into, which becomes `path` when the block ends without an error.

    After an error nothing is left. What a process that was killed leaves behind at a URL is known
    as unfinished, and the next writer removes it.

    Args:
        path: The folder, as a path or URL.
        marker: As for `check_output`.

    Raises:
        InputError: The folder may not be written, or another process writes it.
    """
    if not is_url(path):
        with atomic_directory(path, marker) as new:
            folder = OutputFolder(str(new))
            yield folder
        return
    check_output(path, marker)
    with Claim(path, files=FileAccess(_read, write_text, _remove)) as claim:
        folder = OutputFolder(path, claim)
        if not claim.was_marked:
            _check_still_free(path, marker, claim)
        try:
            _clear(path)
            yield folder
            folder.check()
            claim.check_content(_names(path) - {UNFINISHED}, folder.names)
        except BaseException as error:
            if claim.holds():
                # The mark goes last, so that a folder that is cleared only in part is unfinished.
                _clear(path)
                claim.release()
            else:
                _clear(folder.work)
                if isinstance(error, Exception):
                    # The other process has removed what this one missed.
                    claim.check()
            raise
        claim.release()


def _check_still_free(path: str, marker: str | None, claim: Claim) -> None:
    """Check that no other process has finished the folder just before it was claimed."""
    try:
        check_url_replaceable(path, _names(path) - {UNFINISHED}, marker)
    except InputError:
        claim.release()
        raise


def remove_folder(path: str) -> None:
    """Delete a folder with everything in it."""
    if not is_url(path):
        shutil.rmtree(path)
        return
    _clear(path)
    if is_file(join(path, UNFINISHED)):
        _remove(join(path, UNFINISHED))


def sibling(path: str, ending: str) -> str:
    """Return the path or URL of a folder beside another, whose name has an ending more."""
    if is_url(path):
        return path.rstrip("/") + ending
    # Absolute, so that "." has a name.
    absolute = pathlib.Path(os.path.abspath(path))
    return str(absolute.with_name(f"{absolute.name}{ending}"))


def _names(url: str) -> set[str]:
    """Return the names in a folder, without what a worker that outlived its job has left."""
    return {name for name in files_below(url) if not name.startswith(f"{WORK}/")}


def _clear(url: str) -> None:
    remove_files([join(url, name) for name in files_below(url) if name != UNFINISHED])


def _read(url: str) -> str | None:
    return read_text(url) if is_file(url) else None


def _remove(url: str) -> None:
    remove_files([url])
