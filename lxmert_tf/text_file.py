"""Text files: whole, or with one entry a line as vocabularies and answer tables."""

import contextlib
import os
import pathlib

from lxmert_tf.errors import InputError


def read_text(path) -> str:
    """The text of a UTF-8 file.

    Raises:
        InputError: the file is missing, a directory, or not UTF-8.
    """
    try:
        return pathlib.Path(path).read_text(encoding="utf-8")
    except OSError as error:
        raise InputError(f"{path}: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: not UTF-8 text (byte {error.start})") from error


def read_lines(path) -> list[str]:
    """The lines of a UTF-8 file; errors as `read_text`.

    Not by `splitlines`: the BERT vocabulary has pieces that Unicode counts as line separators.
    """
    return read_text(path).removesuffix("\n").split("\n")


def write_text(path, text: str) -> None:
    """Writes a UTF-8 file, whole or not at all; an older one there is replaced.

    Raises:
        InputError: its folder is missing, or nothing can be written there.
    """
    path = pathlib.Path(path)
    fresh = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        fresh.write_text(text, encoding="utf-8")
        fresh.replace(path)
    except OSError as error:
        raise InputError(f"{path}: {error.strerror or error}") from error
    finally:
        with contextlib.suppress(OSError):
            fresh.unlink()
