"""JSON files read as a stream: an item at a time, however large the file is.

Python's own decoder takes item after item out of a window on the text. Parsers that work by events
(ijson with yajl) lose the rest of the file to one NaN or one wrong byte inside a sentence, and turn
half of a surrogate pair into a question mark. Here such an item is read, and is wrong alone: a byte
that is not UTF-8 becomes a lone surrogate, which no check of a text lets through.
"""

import codecs
import json
import re
from collections.abc import Callable, Iterator
from typing import Any, BinaryIO, NamedTuple

from lxmert_tf.errors import InputError
from pipeline.ingest.files import READ_ERRORS, InputFile, open_input
from pipeline.ingest.interfaces import ReadError

# Characters of the longest item, so that a file that is no JSON does not fill the memory.
LONGEST = 1 << 24
DAMAGED = "the compressed file is damaged or cut short from here on"
_NO_JSON = "the file is cut short, or no JSON from here on"
_TOO_LONG = "no JSON from here on, or an item of more than 16 million characters"
_TOO_DEEP = "lists or objects within each other too deeply; nothing from here on is read"

_CHUNK = 1 << 18
# A number that the window cuts ends up to so many characters before it: "1e-" is 1 as yet.
_MARGIN = 3
_BLANK = " \t\n\r"
_BLANKS = re.compile(f"[{_BLANK}]*")


class Item(NamedTuple):
    """An item of a list or a member of an object.

    Args:
        number: its place, from 1.
        key: of a member; empty in a list.
        value: what it is.
    """

    number: int
    key: str
    value: Any


class DoubledKey:
    """What stands for an object in which a key stands twice: one of the values would be lost."""


def read_list(file: InputFile, key: str | None = None) -> Iterator[Item | ReadError]:
    """The items of the list that a file holds, or holds under a key of its object.

    Where the file is no JSON, or cut short, a `ReadError` is the last that comes.

    Raises:
        InputError: the file cannot be opened, or holds no such list.
    """
    return _read(file, _list if key is None else lambda f, window: _list_under(key, f, window))


def read_object(file: InputFile) -> Iterator[Item | ReadError]:
    """The members of the object that a file holds; otherwise as `read_list`."""
    return _read(file, _object)


def read_member(file: InputFile, key: str) -> Any:
    """The value of one member of the object that a file holds; None if it is not to be found.

    Raises:
        InputError: the file cannot be opened.
    """
    with open_input(file) as stream:
        window = _Window(stream)
        try:
            for name in window.each_key():
                if name == key:
                    return window.value()
                window.skip()
        except _BrokenError:
            pass
    return None


def decode_item(text: str, start: int = 0) -> tuple[Any, int]:
    """What the JSON at a place of a text says, and where it ends.

    More is taken than JSON allows (NaN, control characters in a text), for checks to tell of. An
    object with a key twice is a `DoubledKey`.

    Raises:
        ValueError: it is no JSON.
        RecursionError: lists and objects within each other too deeply.
    """
    try:
        return _DECODER.raw_decode(text, start)
    except json.JSONDecodeError:
        raise
    except ValueError:
        # Python makes no integers of more than 4300 digits.
        return _LONG_NUMBERS.raw_decode(text, start)


class _BrokenError(Exception):
    """The rest of the file cannot be read; its text is the reason."""


class _Window:
    """A place in a JSON text, of which only what is near is in memory."""

    def __init__(self, stream: BinaryIO):
        self._stream = stream
        self._decoder = codecs.getincrementaldecoder("utf-8-sig")("surrogateescape")
        self._text, self._at = "", 0
        self._ended = False
        self._reason = _NO_JSON

    def peek(self) -> str:
        """The next character that is not blank; empty at the end."""
        while True:
            following = self._text[self._at : self._at + 1]
            if following and following not in _BLANK:
                return following
            self._at = _BLANKS.match(self._text, self._at).end()
            if self._at == len(self._text) and not self._more():
                return ""

    def take(self, character: str) -> None:
        """Goes over a character that must be the next."""
        if self.peek() != character:
            raise _BrokenError(self._reason)
        self._at += 1

    def value(self) -> Any:
        """Goes over a value."""
        self.peek()
        while True:
            try:
                value, end = decode_item(self._text, self._at)
                if self._ended or end + _MARGIN <= len(self._text):
                    self._at = end
                    return value
            except RecursionError as error:
                raise _BrokenError(_TOO_DEEP) from error
            except ValueError as error:
                if self._ended:
                    raise _BrokenError(self._reason) from error
            if not self._more():
                raise _BrokenError(_TOO_LONG)

    def values(self) -> Iterator[Any]:
        """Goes over a list."""
        self.take("[")
        if self.peek() != "]":
            yield self.value()
            while self.peek() == ",":
                self._at += 1
                yield self.value()
        self.take("]")

    def each_key(self) -> Iterator[str]:
        """Goes over an object; what asks for its keys goes over each key's value."""
        self.take("{")
        if self.peek() != "}":
            yield self._key()
            while self.peek() == ",":
                self._at += 1
                yield self._key()
        self.take("}")

    def skip(self) -> None:
        """Goes over a value that nobody wants: it may be a longer list than fits in memory."""
        if self.peek() != "[":
            self.value()
            return
        for _ in self.values():
            pass

    def finish(self) -> None:
        """Makes sure that nothing follows and that all was sound, as a checksum at the end says."""
        if self.peek() or self._reason is DAMAGED:
            raise _BrokenError(self._reason)

    def _key(self) -> str:
        key = self.value()
        if not isinstance(key, str):
            raise _BrokenError(self._reason)
        self.take(":")
        return key

    def _more(self) -> bool:
        """Reads on, as much again as the item at this place has already."""
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
            # Not `read`, which drops what it has if the file is damaged farther on.
            chunk = self._stream.read1(size)
        except READ_ERRORS:
            self._reason, chunk = DAMAGED, b""
        self._ended = not chunk
        return chunk


def _read(file: InputFile, items: Callable[[InputFile, _Window], Iterator[tuple[str, Any]]]):
    with open_input(file) as stream:
        window = _Window(stream)
        number = 0
        try:
            for number, (key, value) in enumerate(items(file, window), start=1):
                yield Item(number, key, value)
            window.finish()
        except _BrokenError as broken:
            yield ReadError(number + 1, "", str(broken))


def _list(file: InputFile, window: _Window) -> Iterator[tuple[str, Any]]:
    if window.peek() != "[":
        raise InputError(f"{file.name}: holds no JSON list")
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
            raise InputError(f"{file.name}: {key!r} is no list in it")
        for value in window.values():
            yield "", value
    if not found:
        raise InputError(f"{file.name}: holds no list under {key!r}")


def _object(file: InputFile, window: _Window) -> Iterator[tuple[str, Any]]:
    _check_object(file, window)
    for key in window.each_key():
        yield key, window.value()


def _check_object(file: InputFile, window: _Window) -> None:
    if window.peek() != "{":
        raise InputError(f"{file.name}: holds no JSON object")


def _made(pairs: list[tuple[str, Any]]) -> dict[str, Any] | DoubledKey:
    made = dict(pairs)
    return made if len(made) == len(pairs) else DoubledKey()


_DECODER = json.JSONDecoder(strict=False, object_pairs_hook=_made)
_LONG_NUMBERS = json.JSONDecoder(strict=False, object_pairs_hook=_made, parse_int=float)


_BYTE_ORDER_MARK = b"\xef\xbb\xbf"


def read_json_lines(file: InputFile) -> Iterator[Item | ReadError]:
    """The values, each with the number of its line; blank lines are left out.

    A line that is no JSON is a `ReadError`, and its neighbours are read. Bytes that are not UTF-8
    are as in `json_items`.

    Raises:
        InputError: the file cannot be opened, or holds a list.
    """
    with open_input(file) as stream:
        for number, line in enumerate(_lines(stream), start=1):
            if line is None:
                yield ReadError(number, "", DAMAGED)
                return
            if number == 1:
                line = line.removeprefix(_BYTE_ORDER_MARK)
                if line.lstrip().startswith(b"["):
                    raise InputError(f"{file.name}: holds a JSON list, not an object a line")
            if line.strip():
                yield _item(number, line)


def _item(number: int, line: bytes) -> Item | ReadError:
    if len(line) > LONGEST:
        return ReadError(number, "", "the line is too long to be an item")
    text = line.decode("utf-8", "surrogateescape").strip()
    try:
        value, end = decode_item(text)
    except RecursionError:
        return ReadError(number, "", "lists or objects within each other too deeply")
    except ValueError:
        return ReadError(number, "", "the line is no JSON")
    if end < len(text):
        return ReadError(number, "", "the line is no JSON")
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
