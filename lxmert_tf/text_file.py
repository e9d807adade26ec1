"""Files with one entry a line: vocabularies and answer tables."""

import pathlib

from lxmert_tf.errors import InputError


def read_lines(path) -> list[str]:
    """The lines of a UTF-8 file.

    Not by `splitlines`: the BERT vocabulary has pieces that Unicode counts as line separators.

    Raises:
        InputError: the file is missing, a directory, or not UTF-8.
    """
    try:
        text = pathlib.Path(path).read_text(encoding="utf-8")
    except OSError as error:
        raise InputError(f"{path}: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: not UTF-8 text (byte {error.start})") from error
    return text.removesuffix("\n").split("\n")
