"""The rows of a shard of a text file. A row is a line that is not blank.

A row belongs to the shard in which its line starts, so that the shards of a file give every row
once. A compressed file cannot be read from the middle. It is one shard, which counts rows instead
of bytes.
"""

import collections
import itertools
from collections.abc import Iterable, Iterator
from io import BufferedIOBase
from typing import NamedTuple

from pipeline.ingest.files import InputFile, open_input
from pipeline.ingest.interfaces import Shard

SHARD_BYTES = 128 << 20
BLOCK_BYTES = 1 << 20
# So much of a compressed file is lost before the place where it is damaged.
COMPRESSED_BLOCK_BYTES = 1 << 16
# A file without line ends must not fill the memory. A row of 36 regions has 0.4 MB.
MAX_LINE_BYTES = 64 << 20


class Line(NamedTuple):
    """A line of a file.

    Args:
        offset: Position of its first byte in the content.
        size: Number of bytes, with the line end.
        text: The bytes without "\\n"; only the first ones of a line that is too long.
        ended: Whether it ends with "\\n"; False only for the last line.
    """

    offset: int
    size: int
    text: bytes
    ended: bool

    @property
    def too_long(self) -> bool:
        """True if it is longer than `MAX_LINE_BYTES`."""
        return self.size > MAX_LINE_BYTES


def text_shards(file: InputFile, rows: tuple[int, int | None] = (0, None)) -> list[Shard]:
    """Split a file into shards of about `SHARD_BYTES`.

    Args:
        file: The file.
        rows: The range of rows to read.

    Returns:
        Shards that count bytes; for a file that is not seekable, one that counts rows.

    Raises:
        InputError: The file cannot be opened.
    """
    if not file.seekable:
        return [Shard(file, *rows, size=file.size)]
    start, stop = _byte_range(file, *rows)
    cuts = [*range(start, stop, SHARD_BYTES), stop]
    return [Shard(file, low, high, high - low) for low, high in itertools.pairwise(cuts)]


def shard_rows(shard: Shard) -> Iterator[Line]:
    """Yield the rows of a shard, in the order of the file.

    Raises:
        InputError: The file cannot be opened.
        READ_ERRORS: It is damaged. The rows before the damage come first, except those in the last
            `COMPRESSED_BLOCK_BYTES`.
    """
    if not shard.file.seekable:
        with open_input(shard.file) as content:
            lines = split_lines(content, 0, COMPRESSED_BLOCK_BYTES)
            yield from itertools.islice(_rows(lines), shard.start, shard.stop)
        return
    start = _first_line_start(shard)
    if shard.stop is not None and start >= shard.stop:
        return
    with open_input(shard.file, start) as content:
        for line in split_lines(content, start, BLOCK_BYTES):
            if not _is_blank(line):
                yield line
            if shard.stop is not None and line.offset + line.size >= shard.stop:
                return


def split_lines(content: BufferedIOBase, offset: int, block_bytes: int) -> Iterator[Line]:
    """Yield the lines of a stream from its current position.

    Args:
        content: The stream.
        offset: The position in the content.
        block_bytes: Largest number of bytes to read at once.
    """
    parts: list[bytes] = []
    size = 0
    # `read` would lose what it has read when it finds a compressed file damaged.
    while block := content.read1(block_bytes):
        start = 0
        while start < len(block):
            newline = block.find(b"\n", start)
            ended = newline >= 0
            end = newline if ended else len(block)
            size += end - start + ended
            if size <= MAX_LINE_BYTES or not parts:
                parts.append(block[start:end])
            start = end + 1
            if ended:
                yield Line(offset, size, b"".join(parts), ended)
                offset += size
                parts, size = [], 0
    if size:
        yield Line(offset, size, b"".join(parts), ended=False)


def _first_line_start(shard: Shard) -> int:
    """Return the position of the shard's first line; it is past the shard if there is none."""
    if shard.start == 0:
        return 0
    # One byte earlier, because that is a line end if a line starts with this shard.
    position = shard.start - 1
    with open_input(shard.file, position) as content:
        # Not past the shard: all shards of one endless line would read the whole rest.
        while shard.stop is None or position < shard.stop:
            block = content.read1(BLOCK_BYTES)
            newline = block.find(b"\n")
            if newline >= 0:
                return position + newline + 1
            if not block:
                break
            position += len(block)
    return position


def _byte_range(file: InputFile, first: int, last: int | None) -> tuple[int, int]:
    """Return the byte range of a range of rows, which may be past the end of the file."""
    if first == 0 and last is None:
        return 0, file.size
    starts = [0 if first == 0 else file.size, file.size]
    with open_input(file) as content:
        for number, line in enumerate(_rows(split_lines(content, 0, BLOCK_BYTES))):
            if number == first:
                starts[0] = line.offset
            if number == last:
                starts[1] = line.offset
            if number == (first if last is None else last):
                break
    return starts[0], starts[1]


def _rows(lines: Iterable[Line]) -> Iterator[Line]:
    return (line for line in lines if not _is_blank(line))


def _is_blank(line: Line) -> bool:
    return not line.text or line.text.isspace()


class ShardLines(NamedTuple):
    """The number of lines in a shard.

    Args:
        file: Name of the file.
        shard: Start of the shard.
        count: Number of lines.
    """

    file: str
    shard: int
    count: int  # type: ignore[assignment]  # hides tuple.count


def lines_before(shards: Iterable[ShardLines]) -> dict[tuple[str, int], int]:
    """Return the number of lines before each shard of a file, by (file, start of the shard)."""
    by_file = collections.defaultdict(list)
    for shard in shards:
        by_file[shard.file].append(shard)
    before = {}
    for file, parts in by_file.items():
        lines = 0
        for part in sorted(parts, key=lambda part: part.shard):
            before[file, part.shard] = lines
            lines += part.count
    return before
