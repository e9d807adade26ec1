"""Interfaces of the readers of region and annotation files, and the values that they yield."""

import abc
import dataclasses
from collections.abc import Iterable, Iterator
from typing import Any, TypeVar

from lxmert_tf.data.scene import SceneImage, Sentence
from pipeline.ingest.files import InputFile

T = TypeVar("T")

# The range of all rows of a file.
ALL_ROWS = (0, None)
PIECE_BYTES = 128 << 20


@dataclasses.dataclass(frozen=True)
class Piece:
    """A part of an input file that one worker reads.

    Args:
        file: The file.
        start: First byte or row; the reader chooses which of them it counts. A line of text
            belongs to the piece in which it starts.
        stop: Byte or row after the last; None for the end of the file.
        size: Approximate bytes of the part in the file, for the progress bar.
        lines_before: Lines or rows of the file before its first piece, which are not read.
    """

    file: InputFile
    start: int = 0
    stop: int | None = None
    size: int = 0
    lines_before: int = 0

    @property
    def row_bytes(self) -> int:
        """Approximate bytes of a row in the file, if the piece is one of `row_pieces`."""
        return self.size // max(1, (self.stop or 0) - self.start)


def row_pieces(file: InputFile, rows: tuple[int, int | None], count: int, size: int) -> list[Piece]:
    """Split rows of a file into pieces of about `PIECE_BYTES`.

    Args:
        file: The file.
        rows: The range of rows to read.
        count: Number of rows in the file.
        size: Bytes of a row.
    """
    step = max(1, PIECE_BYTES // max(1, size))
    first, last = rows[0], count if rows[1] is None else min(rows[1], count)
    starts = range(first, last, step)
    stops = [*starts[1:], last]
    return [
        Piece(file, start, stop, (stop - start) * size, first) for start, stop in zip(starts, stops)
    ]


class Returned(Iterable[T]):
    """The items of a generator, and what it returns.

    Args:
        generator: The generator, or another iterable, which returns None.

    Attributes:
        value: What the generator returned; None until it has ended.
    """

    def __init__(self, generator: Iterable[T]):
        self._generator: Any = generator
        self.value: Any = None

    def __iter__(self) -> Iterator[T]:
        self.value = yield from self._generator


@dataclasses.dataclass(frozen=True)
class ReadImage:
    """An image that was read.

    Args:
        line: Number of its line or row in the piece, from 1.
        image: The image, with features in the precision of the file.
        size: Its bytes in the file.
    """

    line: int
    image: SceneImage
    size: int


@dataclasses.dataclass(frozen=True)
class ReadError:
    """An image or a sentence that is invalid and is left out.

    Args:
        line: Number of its line or row in the piece or file, from 1; None if there are no lines.
        id: Id of the image or sentence, as far as it could be read; may be empty.
        reason: What is wrong. It holds no id or number of this item, so that the same faults can be
            counted.
        size: Its bytes in the file.
    """

    line: int | None
    id: str
    reason: str
    size: int = 0


@dataclasses.dataclass(frozen=True)
class ReadSentence:
    """A sentence that was read.

    Args:
        image_ids: The image that it is about, or the two images (NLVR2).
        sentence: The sentence.
    """

    image_ids: tuple[str, ...]
    sentence: Sentence


class RegionReader(abc.ABC):
    """Reader of one format of region files.

    Attributes:
        name: Name of the format in configurations.
        named_by_file: Whether a file holds one image, whose name is that of the file.
    """

    name: str
    named_by_file = False

    @abc.abstractmethod
    def pieces(self, file: InputFile, rows: tuple[int, int | None] = ALL_ROWS) -> Iterable[Piece]:
        """Split a file into parts that can be read independently.

        Args:
            file: The file.
            rows: The range of rows (images) to read.

        Returns:
            The pieces, in the order of the file.

        Raises:
            InputError: The file cannot be opened, or is not of this format.
        """

    @abc.abstractmethod
    def read(self, piece: Piece) -> Iterator[ReadImage | ReadError]:
        """Yield the images of a piece, in the order of the file.

        A generator may return the number of lines in the piece. Otherwise the line of the last
        image is taken for it.

        An invalid image is a `ReadError` and does not affect its neighbors. A file that is cut
        short ends in a `ReadError`.
        """


class SentenceReader(abc.ABC):
    """Reader of one format of annotation files.

    Attributes:
        name: Name of the format in configurations.
        images_per_scene: Number of images that a sentence is about.
    """

    name: str
    images_per_scene = 1

    def reads(self, file: InputFile) -> bool:
        """Return whether to read a file; False for one that only accompanies another."""
        return True

    @abc.abstractmethod
    def read(self, file: InputFile) -> Iterator[ReadSentence | ReadError]:
        """Yield the sentences of a file, in its order; an invalid one is a `ReadError`.

        The file is read as a stream, because it may be larger than the memory. If its rest is not
        valid JSON, a `ReadError` is the last item.

        Raises:
            InputError: The file cannot be opened, or is not of this format.
        """
