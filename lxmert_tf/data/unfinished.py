"""Folders of records at URLs that are not whole.

Nothing renames a folder in an object store, so that a folder there cannot appear at once. Instead
there is a file in it until it is whole.
"""

from collections.abc import Iterable

from lxmert_tf.errors import InputError
from lxmert_tf.storage import UNFINISHED, is_file, is_url, join, parent


def check_finished(files: Iterable[str]) -> None:
    """Check that the folders of record files are whole.

    Args:
        files: Paths or URLs of record files; local folders are always whole.

    Raises:
        InputError: A folder at a URL is not whole.
    """
    for folder in sorted({parent(file) for file in files if is_url(file)}):
        if is_file(join(folder, UNFINISHED)):
            raise InputError(
                f"{folder}: is unfinished; wait for the job that writes it, or run it again if it "
                "was killed"
            )
