"""The rows of a piece of a text file. A row is a line that is not blank.

A row belongs to the piece in which its line starts, so that the pieces of a file give every row
once. A file that is compressed or UTF-16 cannot be read from the middle. It is one piece, which
counts rows instead of bytes.
"""

import codecs
import collections
import itertools
import re
from collections.abc import Callable, Generator, Iterable, Iterator
from io import BufferedIOBase
from typing import NamedTuple

from lxmert_tf.text_file import Utf8Stream, detect_encoding
from pipeline.ingest.files import InputFile, open_input
from pipeline.ingest.interfaces import PIECE_BYTES, Piece

BLOCK_BYTES = 1 << 20
# So much of a compressed file is lost before the place where it is damaged.
COMPRESSED_BLOCK_BYTES = 1 << 16
# A file without line ends must not fill the memory. A row of 36 regions has 0.4 MB.
MAX_LINE_BYTES = 64 << 20
# A CR that ends a line by itself. Others come before an LF.
_LONE_CR = re.compile(rb"\r(?!\r?\n)")

IsHeader = Callable[[bytes], bool]


class Line(NamedTuple):
    """A line of a file.

    Args:
        offset: Position of its first byte in the content.
        size: Number of bytes, with the line end.
        text: The bytes without "\\n", but with any "\\r" before it, and without a byte order mark;
            only the first ones of a line that is too long.
        ended: Whether it ends with "\\n" or "\\r"; False only for the last line.
        number: Its number, from 1 where reading starts.
    """

    offset: int
    size: int
    text: bytes
    ended: bool
    number: int

    @property
    def too_long(self) -> bool:
        """True if it is longer than `MAX_LINE_BYTES`."""
        return self.size > MAX_LINE_BYTES


def no_header(first_line: bytes) -> bool:
    """Return False, for files without a header."""
    return False


def text_pieces(
    file: InputFile, rows: tuple[int, int | None] = (0, None), is_header: IsHeader = no_header
) -> list[Piece]:
    """Split a file into pieces of about `PIECE_BYTES`.

    Args:
        file: The file.
        rows: The range of rows to read.
        is_header: Returns whether the first line of a file is not a row.

    Returns:
        Pieces that count bytes; for a file that is compressed or UTF-16, one that counts rows,
        whose lines are counted from the start of the file.

    Raises:
        InputError: The file cannot be opened.
    """
    if not _counts_bytes(file):
        return [Piece(file, *rows, size=file.size)]
    start, stop, before = _byte_range(file, *rows, is_header)
    cuts = [*range(start, stop, PIECE_BYTES), stop]
    return [Piece(file, low, high, high - low, before) for low, high in itertools.pairwise(cuts)]


def piece_rows(piece: Piece, is_header: IsHeader = no_header) -> Generator[Line, None, int]:
    """Yield the rows of a piece, in the order of the file.

    Args:
        piece: One of `text_pieces`.
        is_header: As there.

    Returns:
        The number of lines that start in the piece, with those that are no rows.

    Raises:
        InputError: The file cannot be opened.
        READ_ERRORS: It is damaged. The rows before the damage come first, except those in the last
            `COMPRESSED_BLOCK_BYTES`.
    """
    if not _counts_bytes(piece.file):
        with open_input(piece.file) as content:
            lines = split_lines(content, 0, COMPRESSED_BLOCK_BYTES)
            yield from itertools.islice(_rows(lines, is_header), piece.start, piece.stop)
        # It is the only piece of the file, so nothing is counted on from there.
        return 0
    start, count = _first_line_start(piece), 0
    if piece.stop is not None and start >= piece.stop:
        return 0
    with open_input(piece.file, start) as content:
        lines = split_lines(content, start, BLOCK_BYTES)
        for line, is_row in _told_apart(lines, is_header):
            count = line.number
            if is_row:
                yield line
            if piece.stop is not None and line.offset + line.size >= piece.stop:
                break
    return count


def split_lines(
    content: BufferedIOBase, offset: int, block_bytes: int, longest: int | None = None
) -> Iterator[Line]:
    """Yield the lines of a stream from its current position, as UTF-8.

    Args:
        content: The stream, of any encoding if it is at the start.
        offset: The position in the content.
        block_bytes: About the number of bytes to read at once.
        longest: So many bytes of a long line are kept, and perhaps a block more; by default
            `MAX_LINE_BYTES`.
    """
    longest = MAX_LINE_BYTES if longest is None else longest
    parts: list[bytes] = []
    size, number = 0, 1
    for block in _blocks(content if offset else Utf8Stream(content), block_bytes):
        start = 0
        while start < len(block):
            newline = block.find(b"\n", start)
            ended = newline >= 0
            end = newline if ended else len(block)
            size += end - start + ended
            if size <= longest or not parts:
                parts.append(block[start:end])
            start = end + 1
            if ended:
                yield Line(offset, size, _join(parts), ended, number)
                offset += size
                number += 1
                parts, size = [], 0
    if size:
        yield Line(offset, size, _join(parts), False, number)


def _join(parts: list[bytes]) -> bytes:
    # Files with byte order marks may have been joined to one.
    return b"".join(parts).removeprefix(codecs.BOM_UTF8)


def _blocks(content: BufferedIOBase | Utf8Stream, size: int) -> Iterator[bytes]:
    """Yield blocks of a stream, in which an LF takes the place of each CR that ends a line."""
    held = b""
    # `read` would lose what it has read when it finds a compressed file damaged.
    while block := content.read1(size):
        if not held and b"\r" not in block:
            yield block
            continue
        block = held + block
        # What follows tells whether the last two end a line.
        end = len(block) - block.endswith(b"\r") - block.endswith(b"\r\r")
        held = block[end:]
        block = block[:end]
        yield _LONE_CR.sub(b"\n", block) if _has_lone_cr(block) else block
    yield held.replace(b"\r", b"\n")


def _has_lone_cr(block: bytes) -> bool:
    # Of long lines, as in TSV files, the regular expression alone takes twenty times as long.
    position = block.find(b"\r")
    while position >= 0:
        if not block.startswith((b"\n", b"\r\n"), position + 1):
            return True
        position = block.find(b"\r", position + 1)
    return False


def _counts_bytes(file: InputFile) -> bool:
    """Return whether reading can start in the middle of a file."""
    if not file.seekable:
        return False
    with open_input(file) as content:
        encoding, _ = detect_encoding(content.read(3))
    return encoding == "utf-8"


def _first_line_start(piece: Piece) -> int:
    """Return the position of the piece's first line; it is past the piece if there is none."""
    if piece.start == 0:
        return 0
    # One byte earlier, because that is a line end if a line starts with this piece.
    position = piece.start - 1
    with open_input(piece.file, position) as content:
        # Not past the piece: all pieces of one endless line would read the whole rest.
        for block in _blocks(content, BLOCK_BYTES):
            newline = block.find(b"\n")
            if newline >= 0:
                return position + newline + 1
            position += len(block)
            if piece.stop is not None and position >= piece.stop:
                break
    return position


def _byte_range(
    file: InputFile, first: int, last: int | None, is_header: IsHeader
) -> tuple[int, int, int]:
    """Return the byte range of a range of rows, and the number of lines before it.

    Rows may be past the end of the file.
    """
    if first == 0 and last is None:
        return 0, file.size, 0
    starts, before = [0 if first == 0 else file.size, file.size], 0
    with open_input(file) as content:
        lines = split_lines(content, 0, BLOCK_BYTES)
        for number, line in enumerate(_rows(lines, is_header)):
            if number == first > 0:
                starts[0], before = line.offset, line.number - 1
            if number == last:
                starts[1] = line.offset
            if number == (first if last is None else last):
                break
    return starts[0], starts[1], before


def _rows(lines: Iterable[Line], is_header: IsHeader) -> Iterator[Line]:
    return (line for line, is_row in _told_apart(lines, is_header) if is_row)


def _told_apart(lines: Iterable[Line], is_header: IsHeader) -> Iterator[tuple[Line, bool]]:
    """Yield lines and whether they are rows: neither blank nor the header, which is the first."""
    may_be_header = False
    for line in lines:
        may_be_header |= line.offset == 0
        if is_blank(line):
            yield line, False
            continue
        yield line, not (may_be_header and is_header(line.text))
        may_be_header = False


def is_blank(line: Line) -> bool:
    """Return whether a line has nothing but spaces."""
    return not line.text or line.text.isspace()


class PieceLines(NamedTuple):
    """The number of lines in a piece.

    Args:
        file: Name of the file.
        piece: Start of the piece.
        count: Number of lines.
        skipped: Number of lines before the range of rows that it is a part of. Two ranges of a file
            are counted apart.
    """

    file: str
    piece: int
    count: int  # type: ignore[assignment]  # hides tuple.count
    skipped: int = 0


def lines_before(pieces: Iterable[PieceLines]) -> dict[tuple[str, int], int]:
    """Return the number of lines before each piece of a file, by (file, start of the piece).

    Skipped lines do not count.
    """
    by_rows = collections.defaultdict(list)
    for piece in pieces:
        by_rows[piece.file, piece.skipped].append(piece)
    before = {}
    for (file, _), parts in by_rows.items():
        lines = 0
        for part in sorted(parts, key=lambda part: part.piece):
            before[file, part.piece] = lines
            lines += part.count
    return before
