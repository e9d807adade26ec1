"""UTF-8 text files: as one text, or as lines, like vocabularies and answer tables."""

import pathlib

from lxmert_tf.atomic_write import atomic_file
from lxmert_tf.errors import InputError


def read_text(path) -> str:
    """Return the text of a UTF-8 file.

    Raises:
        InputError: The file is missing, a directory, or not UTF-8.
    """
    try:
        return pathlib.Path(path).read_text(encoding="utf-8")
    except OSError as error:
        raise InputError(f"{path}: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: not UTF-8 text (byte {error.start})") from error


def read_lines(path) -> list[str]:
    """Return the lines of a UTF-8 file, without line breaks.

    Raises:
        InputError: The file is missing, a directory, or not UTF-8.
    """
    # Not splitlines: BERT's vocabulary has pieces that Unicode counts as line separators.
    return read_text(path).removesuffix("\n").split("\n")


def write_text(path, text: str) -> None:
    """Write a UTF-8 file, whole or not at all.

    Args:
        path: The file; an older one is replaced.
        text: Its content.

    Raises:
        InputError: The parent directory is missing, or the file cannot be written.
    """
    try:
        with atomic_file(path) as partial:
            partial.write_text(text, encoding="utf-8")
    except OSError as error:
        raise InputError(f"{path}: {error.strerror or error}") from error
