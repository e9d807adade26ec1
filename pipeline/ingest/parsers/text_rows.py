"""The rows of a text file that lie in one shard of it: lines that are not blank.

A row belongs to the shard in which its line starts, so that any cut of a file gives every row once.
What is compressed cannot be read from the middle: it is one shard, which counts rows, not bytes.
"""

import collections
import itertools
from collections.abc import Iterable, Iterator
from typing import BinaryIO, NamedTuple

from pipeline.ingest.files import InputFile, open_input
from pipeline.ingest.interfaces import Shard

SHARD_BYTES = 128 << 20
BLOCK_BYTES = 1 << 20
# As much of a compressed file is lost before a place that is damaged.
COMPRESSED_BLOCK_BYTES = 1 << 16
# A file without line ends must not fill the memory. A row of 36 regions takes 0.4 MB.
MAX_LINE_BYTES = 64 << 20


class Line(NamedTuple):
    """A line of a file.

    Args:
        offset: the byte of the content at which it starts.
        size: its bytes, with the line end.
        text: without "\\n"; only the beginning of a line that is too long.
        ended: whether "\\n" ends it; False only for the last one.
    """

    offset: int
    size: int
    text: bytes
    ended: bool

    @property
    def too_long(self) -> bool:
        """Whether it is longer than MAX_LINE_BYTES."""
        return self.size > MAX_LINE_BYTES


def text_shards(file: InputFile, rows: tuple[int, int | None] = (0, None)) -> list[Shard]:
    """Cuts a file into shards of about SHARD_BYTES.

    Args:
        file: the file.
        rows: which rows, from and up to. They are found by their line ends.

    Returns:
        shards that count in bytes, or for a file that is not seekable one that counts in rows.

    Raises:
        InputError: the file cannot be opened.
    """
    if not file.seekable:
        return [Shard(file, *rows, size=file.size)]
    start, stop = _byte_range(file, *rows)
    cuts = [*range(start, stop, SHARD_BYTES), stop]
    return [Shard(file, low, high, high - low) for low, high in itertools.pairwise(cuts)]


def shard_rows(shard: Shard) -> Iterator[Line]:
    """The rows of a shard, in the order of the file.

    Raises:
        InputError: the file cannot be opened.
        READ_ERRORS: it is damaged, after the rows before the damage but for those in the last
            COMPRESSED_BLOCK_BYTES.
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


def split_lines(content: BinaryIO, offset: int, block_bytes: int) -> Iterator[Line]:
    """The lines of a stream from where it stands.

    Args:
        content: the stream.
        offset: where it stands in the content.
        block_bytes: the most that is read at once.
    """
    parts: list[bytes] = []
    size = 0
    # Not `read`, which loses what it has when a compressed file turns out to be damaged.
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
    """The byte at which the shard's first line starts, or one that is not in the shard."""
    if shard.start == 0:
        return 0
    # From one byte earlier, which ends the line before if a line starts with this shard.
    position = shard.start - 1
    with open_input(shard.file, position) as content:
        # Only up to the shard's end: of one endless line, every shard would read all the rest.
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
    """The bytes of rows `first` up to `last`, which may lie behind the end."""
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
    """How many lines a shard has: the line numbers of those behind it start there."""

    file: str
    shard: int
    count: int


def lines_before(shards: Iterable[ShardLines]) -> dict[tuple[str, int], int]:
    """How many lines come before each shard of a file: {(file, shard's start): lines}."""
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
