"""A data set that a package brings: pictures and sentences by name, without files to be named."""

import abc
import dataclasses
from collections.abc import Iterable, Iterator
from typing import Any

from lxmert_tf.data.scene import SceneImage, Sentence
from lxmert_tf.errors import InputError
from lxmert_tf.regions.image import read_image
from lxmert_tf.regions.registry import make_extractor
from pipeline.ingest.files import InputFile
from pipeline.ingest.interfaces import (
    ReadError,
    ReadImage,
    ReadSentence,
    RegionReader,
    SentenceReader,
    Shard,
)


@dataclasses.dataclass(frozen=True)
class ImageFile:
    """A picture that is still to be read.

    Args:
        image_id: unique in the data set.
        path: where it lies.
    """

    image_id: str
    path: str


class DataSet(abc.ABC):
    """One data set: a small file in this folder.

    Attributes:
        name: what configs call it.
        splits: its official splits.
    """

    name: str
    splits: tuple[str, ...]

    @abc.abstractmethod
    def images(self, split: str) -> Iterable[ImageFile]:
        """The pictures of a split."""

    @abc.abstractmethod
    def sentences(self, split: str) -> Iterable[tuple[str, Sentence]]:
        """(image id, sentence) pairs of a split, in any order."""

    @abc.abstractmethod
    def fingerprint(self) -> str:
        """Changes when the data does, so that results of older data are not reused."""


class DataSetPicture(RegionReader):
    """Reads one picture of a data set through an extractor.

    Args:
        image_id: its id there.
        extractor: the config of what makes its regions.
    """

    name = "picture"

    def __init__(self, image_id: str, extractor: dict[str, Any]):
        self._image_id = image_id
        self._extractor = extractor

    def shards(self, file: InputFile, rows=(0, None)) -> Iterable[Shard]:
        """The picture."""
        return [Shard(file, size=file.size)]

    def read(self, shard: Shard) -> Iterator[ReadImage | ReadError]:
        """Its regions."""
        try:
            pixels = read_image(shard.file.path)
        except InputError as error:
            # The reason without the file, which is told of apart.
            reason = str(error).removeprefix(f"{shard.file.path}: ")
            yield ReadError(None, self._image_id, reason, shard.size)
            return
        height, width, _ = pixels.shape
        regions = make_extractor(self._extractor).extract(pixels)
        yield ReadImage(1, SceneImage(self._image_id, height, width, regions), shard.size)


class DataSetSentences(SentenceReader):
    """The sentences of a data set's split.

    Args:
        data_set: the data set.
        split: one of its splits.
    """

    name = "data_set"

    def __init__(self, data_set: DataSet, split: str):
        self._data_set = data_set
        self._split = split

    def read(self, file: InputFile) -> Iterator[ReadSentence | ReadError]:
        """All of them; the file means nothing here."""
        for image_id, sentence in self._data_set.sentences(self._split):
            yield ReadSentence((image_id,), sentence)
