"""The folder that an ingestion makes: local, or at a URL, and there whole or not at all.

A local folder is renamed into its place. At a URL nothing renames a folder, so there is a file
`.unfinished` in it until it is whole, which readers of records refuse.
"""

import contextlib
import os
import pathlib
import shutil
from collections.abc import Iterator

from lxmert_tf.atomic_write import atomic_directory, check_replaceable
from lxmert_tf.errors import InputError
from lxmert_tf.storage import UNFINISHED, is_url, join
from pipeline.beam.shared_files import check_file_system, files_below, remove_files, write_text

# The folder inside it in which workers leave what is not part of the result.
WORK = "work"


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
    names = [name for name in files_below(path) if not name.startswith(f"{WORK}/")]
    if not names or UNFINISHED in names or marker in names:
        return
    if marker is None:
        raise InputError(f"{path}: already exists; choose a new path or remove it")
    raise InputError(f"{path}: already exists and has no {marker}; choose another path")


@contextlib.contextmanager
def output_folder(path: str, marker: str | None = None) -> Iterator[str]:
    """Yield a folder to write into, which becomes `path` when the block ends without an error.

    After an error nothing is left. What a process that was killed leaves behind at a URL is known
    as unfinished, and the next writer removes it.

    Args:
        path: The folder, as a path or URL.
        marker: As for `check_output`.

    Raises:
        InputError: The folder may not be written.
    """
    if not is_url(path):
        with atomic_directory(path, marker) as folder:
            yield str(folder)
        return
    check_output(path, marker)
    _clear(path, but=())
    # Beam cannot write an empty file to S3.
    write_text(join(path, UNFINISHED), "unfinished\n")
    try:
        yield path
        if UNFINISHED not in files_below(path):
            raise InputError(f"{path}: another process is writing it, or removed it")
    except BaseException:
        # The mark goes last, so that a folder that is cleared only in part is known as unfinished.
        _clear(path, but=(UNFINISHED,))
        _clear(path, but=())
        raise
    remove_files([join(path, UNFINISHED)])


def make_work_folder(folder: str) -> str:
    """Make the work folder inside a folder, and return it."""
    work = join(folder, WORK)
    if not is_url(work):
        os.mkdir(work)
    return work


def remove_folder(path: str) -> None:
    """Delete a folder with everything in it."""
    if not is_url(path):
        shutil.rmtree(path)
        return
    _clear(path, but=())


def sibling(path: str, ending: str) -> str:
    """Return the path or URL of a folder beside another, whose name has an ending more."""
    if is_url(path):
        return path.rstrip("/") + ending
    # Absolute, so that "." has a name.
    absolute = pathlib.Path(os.path.abspath(path))
    return str(absolute.with_name(f"{absolute.name}{ending}"))


def _clear(url: str, but: tuple[str, ...]) -> None:
    remove_files([join(url, name) for name in files_below(url) if name not in but])
