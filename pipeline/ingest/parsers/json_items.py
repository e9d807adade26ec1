"""Streaming reading of JSON: one item at a time, from a file of any size.

Python's decoder takes item after item from a window on the text. An invalid item does not affect
its neighbors: NaN, control characters and bytes that are not UTF-8 (which become lone surrogates)
pass here, and the checks of fields refuse them.
"""

# ijson (3.6, yajl2_c) reads a file of 100 MB in 0.8 s of CPU time instead of 1.5 s, but cannot do
# this: NaN, a byte that is not UTF-8, a control character or a number of 5,000 digits in one item
# ends the file, half of a surrogate pair becomes "?", the first of two equal keys is lost, and
# 100,000 nested lists kill the process.

import codecs
import contextlib
import json
import re
from collections.abc import Callable, Iterator
from io import BufferedIOBase
from typing import Any, NamedTuple

from lxmert_tf.errors import InputError
from lxmert_tf.text_file import Utf8Stream, why_not_text
from pipeline.ingest.files import READ_ERRORS, InputFile, open_input
from pipeline.ingest.interfaces import ReadError
from pipeline.ingest.parsers.text_rows import Line, split_lines

# Characters of the longest item, so that a file that is not JSON does not fill the memory.
LONGEST = 1 << 24
DAMAGED = "the compressed file is damaged or cut short from here on"
_NOT_JSON = "the file is cut short, or no JSON from here on"
_TOO_LONG = "no JSON from here on, or an item of more than 16 million characters"
_TOO_DEEP = "lists or objects within each other too deeply; nothing from here on is read"

_CHUNK = 1 << 18
# Characters that tell whether a text is UTF-16.
_SAMPLE = 1000
# A number may continue past the window: "1e-7" looks like 1 until all its characters are read.
_MARGIN = 3
_BLANK = " \t\n\r"
_BLANKS = re.compile(f"[{_BLANK}]*")


class Item(NamedTuple):
    """An item of a list, a member of an object, or a line of JSON lines.

    Args:
        number: Position in the file, from 1.
        key: Key of a member; empty for others.
        value: The decoded value.
    """

    number: int
    key: str
    value: Any


class DuplicateKey:
    """The value in place of an object that has a key twice."""


def read_list(file: InputFile, key: str | None = None) -> Iterator[Item | ReadError]:
    """Yield the items of a list. If the file is cut short or invalid, a `ReadError` is the last.

    Args:
        file: A file that holds a list, or an object with a list.
        key: Key of the list in the object; None if the file holds a list.

    Raises:
        InputError: The file cannot be opened, or holds no such list.
    """
    return _read(file, _list if key is None else lambda f, window: _list_under(key, f, window))


def starts_with_list(file: InputFile) -> bool:
    """Return whether a file holds a list.

    Raises:
        InputError: The file cannot be opened, or is damaged before the list.
    """
    with open_input(file) as stream:
        return _first_character(file, _Window(stream)) == "["


def read_object(file: InputFile) -> Iterator[Item | ReadError]:
    """Yield the members of the object that a file holds; errors are as of `read_list`."""
    return _read(file, _object)


def read_member(file: InputFile, key: str) -> Any:
    """Return one member of the object that a file holds; None if it is not found.

    Raises:
        InputError: The file cannot be opened, holds no object, or is damaged before the member.
    """
    with open_input(file) as stream:
        window = _Window(stream)
        _check_object(file, window)
        # What follows invalid JSON cannot be told apart; the member is not found.
        with contextlib.suppress(_InvalidRestError):
            for name in window.each_key():
                if name == key:
                    return window.value()
                window.skip()
        if window.damaged:
            raise _damaged(file)
    return None


def read_json_lines(file: InputFile) -> Iterator[Item | ReadError]:
    """Yield the value of each line that is not blank, or a `ReadError` if the line is invalid.

    Raises:
        InputError: The file cannot be opened, is empty, or holds a list or UTF-16 without a mark.
    """
    is_empty = True
    with open_input(file) as stream:
        for number, line in enumerate(_lines(stream), start=1):
            if line is None:
                yield ReadError(number, "", DAMAGED)
                return
            if is_empty and (problem := why_not_text(line.text)):
                raise InputError(f"{file.name}: {problem}")
            if number == 1 and line.text.lstrip().startswith(b"["):
                raise InputError(f"{file.name}: holds a JSON list, not an object per line")
            if line.text.strip():
                is_empty = False
                yield _line_item(number, line)
    if is_empty:
        raise _empty(file)


class _InvalidRestError(Exception):
    """The rest of the file cannot be read; the message is the reason."""


class _Window:
    """A position in a JSON text, of which only the surroundings are in memory."""

    def __init__(self, stream: BufferedIOBase):
        self._stream = Utf8Stream(stream)
        self._decoder = codecs.getincrementaldecoder("utf-8-sig")("surrogateescape")
        self._text, self._at = "", 0
        self._ended = False
        self._reason = _NOT_JSON

    @property
    def damaged(self) -> bool:
        """True if the compressed file cannot be read on."""
        return self._reason is DAMAGED

    @property
    def why_not_text(self) -> str:
        """The reason if the start of the file, where this is asked, is not text; or empty."""
        return why_not_text(self._text[:_SAMPLE].encode("utf-8", "surrogateescape"))

    def peek(self) -> str:
        """Return the next character that is not blank; empty at the end."""
        while True:
            following = self._text[self._at : self._at + 1]
            if following and following not in _BLANK:
                return following
            self._at = _BLANKS.match(self._text, self._at).end()  # type: ignore[union-attr]  # always matches
            if self._at == len(self._text) and not self._more():
                return ""

    def take(self, character: str) -> None:
        """Move past a character that must be the next."""
        if self.peek() != character:
            raise _InvalidRestError(self._reason)
        self._at += 1

    def value(self) -> Any:
        """Move past a value and return it."""
        self.peek()
        while True:
            try:
                value, end = _decode(self._text, self._at)
                if self._ended or end + _MARGIN <= len(self._text):
                    self._at = end
                    return value
            except RecursionError as error:
                raise _InvalidRestError(_TOO_DEEP) from error
            except ValueError as error:
                if self._ended:
                    raise _InvalidRestError(self._reason) from error
            if not self._more():
                raise _InvalidRestError(_TOO_LONG)

    def values(self) -> Iterator[Any]:
        """Move through a list and yield its items."""
        self.take("[")
        if self.peek() != "]":
            yield self.value()
            while self.peek() == ",":
                self._at += 1
                yield self.value()
        self.take("]")

    def each_key(self) -> Iterator[str]:
        """Move through an object and yield its keys; the caller moves past each value."""
        self.take("{")
        if self.peek() != "}":
            yield self._key()
            while self.peek() == ",":
                self._at += 1
                yield self._key()
        self.take("}")

    def skip(self) -> None:
        """Move past a value, which may be a list that does not fit in memory."""
        if self.peek() != "[":
            self.value()
            return
        for _ in self.values():
            pass

    def finish(self) -> None:
        """Check that nothing follows and that the checksum of a compressed file is right."""
        if self.peek() or self.damaged:
            raise _InvalidRestError(self._reason)

    def _key(self) -> str:
        key = self.value()
        if not isinstance(key, str):
            raise _InvalidRestError(self._reason)
        self.take(":")
        return key

    def _more(self) -> bool:
        """Read on, at least as much as the current item already has."""
        pending = self._text[self._at :]
        if self._ended or len(pending) > LONGEST:
            return False
        chunks, wanted = [pending], max(_CHUNK, len(pending))
        while wanted > 0 and not self._ended:
            chunk = self._chunk(wanted)
            chunks.append(self._decoder.decode(chunk, final=self._ended))
            wanted -= len(chunk)
        self._text, self._at = "".join(chunks), 0
        return True

    def _chunk(self, size: int) -> bytes:
        try:
            # `read` would lose what it has read if the file is damaged farther on.
            chunk = self._stream.read1(size)
        except READ_ERRORS:
            self._reason, chunk = DAMAGED, b""
        self._ended = not chunk
        return chunk


def _read(
    file: InputFile, members: Callable[[InputFile, _Window], Iterator[tuple[str, Any]]]
) -> Iterator[Item | ReadError]:
    with open_input(file) as stream:
        window = _Window(stream)
        number = 0
        try:
            for number, (key, value) in enumerate(members(file, window), start=1):
                yield Item(number, key, value)
            window.finish()
        except _InvalidRestError as error:
            yield ReadError(number + 1, "", str(error))


def _list(file: InputFile, window: _Window) -> Iterator[tuple[str, Any]]:
    if _first_character(file, window) != "[":
        raise InputError(f"{file.name}: is not a JSON list")
    for value in window.values():
        yield "", value


def _list_under(key: str, file: InputFile, window: _Window) -> Iterator[tuple[str, Any]]:
    _check_object(file, window)
    found = False
    for name in window.each_key():
        if name != key:
            window.skip()
            continue
        found = True
        if window.peek() not in ("[", ""):
            raise InputError(f"{file.name}: {key!r} is not a list")
        for value in window.values():
            yield "", value
    if not found:
        raise InputError(f"{file.name}: holds no list under {key!r}")


def _object(file: InputFile, window: _Window) -> Iterator[tuple[str, Any]]:
    _check_object(file, window)
    for key in window.each_key():
        yield key, window.value()


def _check_object(file: InputFile, window: _Window) -> None:
    if _first_character(file, window) != "{":
        raise InputError(f"{file.name}: holds no JSON object")


def _first_character(file: InputFile, window: _Window) -> str:
    """Return the first character that is not blank.

    Raises:
        InputError: There is none, or the file is damaged before it or no text that can be read.
    """
    character = window.peek()
    if problem := window.why_not_text:
        raise InputError(f"{file.name}: {problem}")
    if not character:
        raise _damaged(file) if window.damaged else _empty(file)
    return character


def _damaged(file: InputFile) -> InputError:
    return InputError(f"{file.name}: damaged or cut short")


def _empty(file: InputFile) -> InputError:
    return InputError(f"{file.name}: the file is empty")


def _line_item(number: int, line: Line) -> Item | ReadError:
    if line.size > LONGEST:
        return ReadError(number, "", "the line is too long to be an item")
    text = line.text.decode("utf-8", "surrogateescape").strip()
    try:
        value, end = _decode(text, 0)
    except RecursionError:
        return ReadError(number, "", "lists or objects within each other too deeply")
    except ValueError:
        return ReadError(number, "", "the line is not JSON")
    if end < len(text):
        return ReadError(number, "", "the line is not JSON")
    return Item(number, "", value)


def _lines(stream: BufferedIOBase) -> Iterator[Line | None]:
    """Yield lines, and None where the file is damaged."""
    try:
        yield from split_lines(stream, 0, _CHUNK, LONGEST)
    except READ_ERRORS:
        yield None


def _decode(text: str, start: int) -> tuple[Any, int]:
    """Decode the JSON value at a position of a text; return it and its end."""
    try:
        return _DECODER.raw_decode(text, start)
    except json.JSONDecodeError:
        raise
    except ValueError:
        # Python refuses to convert integers of more than 4,300 digits.
        return _LONG_NUMBER_DECODER.raw_decode(text, start)


def _to_object(pairs: list[tuple[str, Any]]) -> dict[str, Any] | DuplicateKey:
    members = dict(pairs)
    return members if len(members) == len(pairs) else DuplicateKey()


_DECODER = json.JSONDecoder(strict=False, object_pairs_hook=_to_object)
_LONG_NUMBER_DECODER = json.JSONDecoder(strict=False, object_pairs_hook=_to_object, parse_int=float)
