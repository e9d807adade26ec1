"""Data sets that a Python package provides, so that no files need to be named."""

import abc
import dataclasses
import json
from collections.abc import Iterable, Iterator
from typing import Any

from lxmert_tf.data.scene import SceneImage, Sentence
from lxmert_tf.errors import InputError
from lxmert_tf.regions.image import read_image
from pipeline.ingest.files import InputFile
from pipeline.ingest.interfaces import (
    ALL_ROWS,
    Piece,
    ReadError,
    ReadImage,
    ReadSentence,
    RegionReader,
    SentenceReader,
)
from pipeline.ingest.readers.pictures import NO_REGIONS, cached_extractor


@dataclasses.dataclass(frozen=True)
class ImageFile:
    """An image file of a data set.

    Args:
        image_id: Id, unique in the data set.
        path: Path of the file.
    """

    image_id: str
    path: str


class DataSet(abc.ABC):
    """Base class of data sets.

    Attributes:
        name: Name in configurations.
        splits: Names of the official splits.
    """

    name: str
    splits: tuple[str, ...]

    @abc.abstractmethod
    def images(self, split: str) -> Iterable[ImageFile]:
        """Return the image files of a split."""

    @abc.abstractmethod
    def sentences(self, split: str) -> Iterable[tuple[str, Sentence]]:
        """Yield (image id, sentence) of a split, in any order."""

    @abc.abstractmethod
    def fingerprint(self) -> str:
        """Return a string that changes with the data, as the key of cached results."""


class DataSetPicture(RegionReader):
    """Reader of one image of a data set, whose regions an extractor makes.

    Args:
        image_id: Its id in the data set.
        extractor: Configuration of the extractor.
    """

    name = "picture"

    def __init__(self, image_id: str, extractor: dict[str, Any]):
        self._image_id = image_id
        self._extractor = extractor

    def pieces(self, file: InputFile, rows=ALL_ROWS) -> Iterable[Piece]:
        """Return the whole file."""
        return [Piece(file, size=file.size)]

    def read(self, piece: Piece) -> Iterator[ReadImage | ReadError]:
        """Yield the image."""
        try:
            pixels = read_image(piece.file.path)
        except InputError as error:
            # The reject names the file anyway.
            reason = str(error).removeprefix(f"{piece.file.path}: ")
            yield ReadError(None, self._image_id, reason, piece.size)
            return
        height, width, _ = pixels.shape
        regions = cached_extractor(json.dumps(self._extractor)).extract(pixels)
        if not len(regions):
            yield ReadError(None, self._image_id, NO_REGIONS, piece.size)
            return
        yield ReadImage(1, SceneImage(self._image_id, height, width, regions), piece.size)


class DataSetSentences(SentenceReader):
    """Reader of the sentences of a split.

    Args:
        data_set: The data set.
        split: Name of the split.
    """

    name = "data_set"

    def __init__(self, data_set: DataSet, split: str):
        self._data_set = data_set
        self._split = split

    def read(self, file: InputFile) -> Iterator[ReadSentence | ReadError]:
        """Yield all sentences; the file is not read."""
        for image_id, sentence in self._data_set.sentences(self._split):
            yield ReadSentence((image_id,), sentence)
