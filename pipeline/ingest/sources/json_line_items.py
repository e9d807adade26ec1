"""Files with a JSON value a line (JSON lines), read as a stream."""

from collections.abc import Iterator
from typing import BinaryIO

from lxmert_tf.errors import InputError
from pipeline.ingest.files import READ_ERRORS, InputFile, open_input
from pipeline.ingest.sources.json_items import DAMAGED, LONGEST, Item, decode_item
from pipeline.ingest.sources.source import Problem

_BYTE_ORDER_MARK = b"\xef\xbb\xbf"


def read_json_lines(file: InputFile) -> Iterator[Item | Problem]:
    """The values, each with the number of its line; blank lines are left out.

    A line that is no JSON is a `Problem`, and its neighbours are read. Bytes that are not UTF-8
    are as in `json_items`.

    Raises:
        InputError: the file cannot be opened, or holds a list.
    """
    with open_input(file) as stream:
        for number, line in enumerate(_lines(stream), start=1):
            if line is None:
                yield Problem(number, "", DAMAGED)
                return
            if number == 1:
                line = line.removeprefix(_BYTE_ORDER_MARK)
                if line.lstrip().startswith(b"["):
                    raise InputError(f"{file.name}: holds a JSON list, not an object a line")
            if line.strip():
                yield _item(number, line)


def _item(number: int, line: bytes) -> Item | Problem:
    if len(line) > LONGEST:
        return Problem(number, "", "the line is too long to be an item")
    text = line.decode("utf-8", "surrogateescape").strip()
    try:
        value, end = decode_item(text)
    except RecursionError:
        return Problem(number, "", "lists or objects within each other too deeply")
    except ValueError:
        return Problem(number, "", "the line is no JSON")
    if end < len(text):
        return Problem(number, "", "the line is no JSON")
    return Item(number, "", value)


def _lines(stream: BinaryIO) -> Iterator[bytes | None]:
    """Lines, of long ones the beginning, and None where the file is damaged."""
    try:
        while line := stream.readline(LONGEST + 1):
            yield line
            while len(line) > LONGEST and not line.endswith(b"\n"):
                line = stream.readline(LONGEST + 1) or b"\n"
    except READ_ERRORS:
        yield None
