"""What readers of region files and of annotation files give to ingestion."""

import abc
import dataclasses
from collections.abc import Iterable, Iterator

from lxmert_tf.data.scene import SceneImage, Sentence
from pipeline.ingest.files import InputFile


@dataclasses.dataclass(frozen=True)
class Shard:
    """A part of a file that one worker reads: small enough to spread, large enough to be worth it.

    Args:
        file: the file.
        start, stop: the part, in what the format counts: bytes or rows; a text line belongs to the
            unit in which it starts. `stop` is None for the end of the file.
        size: roughly the bytes that this part takes in the file, for the progress bar.
    """

    file: InputFile
    start: int = 0
    stop: int | None = None
    size: int = 0


@dataclasses.dataclass(frozen=True)
class ReadImage:
    """An image that was read.

    Args:
        line: which line or row of the unit it is, from 1.
        image: with boxes in 0..1 and features in the precision of the file.
        size: the bytes that it took in the file.
    """

    line: int
    image: SceneImage
    size: int


@dataclasses.dataclass(frozen=True)
class ReadError:
    """Something that is left out.

    Args:
        line: which line or row of the unit or file it is, from 1; None where that means nothing.
        id: of the image or sentence, as far as it could be read; may be empty.
        reason: what is wrong, the same text for the same fault, so that it can be counted: no id
            and no number of this one item in it.
        size: the bytes that it took in the file.
    """

    line: int | None
    id: str
    reason: str
    size: int = 0


@dataclasses.dataclass(frozen=True)
class ReadSentence:
    """A sentence that was read.

    Args:
        image_ids: what it is about: one image, or two for NLVR2.
        sentence: the words.
    """

    image_ids: tuple[str, ...]
    sentence: Sentence


class RegionReader(abc.ABC):
    """One format of region files: a small file in this folder.

    Attributes:
        name: what configs call it.
    """

    name: str

    @abc.abstractmethod
    def units(self, file: InputFile, rows: tuple[int, int | None] = (0, None)) -> Iterable[Shard]:
        """Parts of a file that can be read apart.

        Args:
            file: the file.
            rows: which of its rows (images), from and up to; all by default.

        Raises:
            InputError: it cannot be opened, or is not of this format at all.
        """

    @abc.abstractmethod
    def read(self, unit: Shard) -> Iterator[ReadImage | ReadError]:
        """The images of a unit, in the order of the file.

        What is wrong with one image is a `ReadError`, never an exception, and leaves its neighbours
        alone; so is a file that ends too early.
        """


class SentenceReader(abc.ABC):
    """One format of annotation files: a small file in this folder.

    Attributes:
        name: what configs call it.
        images_per_scene: how many images a sentence is about.
    """

    name: str
    images_per_scene = 1

    def reads(self, file: InputFile) -> bool:
        """Whether a file that a pattern names is one to start from, not one that goes with it."""
        return True

    @abc.abstractmethod
    def read(self, file: InputFile) -> Iterator[ReadSentence | ReadError]:
        """The sentences of a file, in its order; what is wrong with one is a `ReadError`.

        Reads as a stream: a file may be larger than the memory. A file that is no JSON from some
        place on is one `ReadError` after the sentences before that place.

        Raises:
            InputError: the file cannot be opened, or is not of this format at all.
        """
