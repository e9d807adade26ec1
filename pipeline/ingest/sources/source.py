"""What a source of pictures and sentences gives to ingestion."""

import abc
import dataclasses
from collections.abc import Iterable

from lxmert_tf.data.scene import Sentence


@dataclasses.dataclass(frozen=True)
class ImageFile:
    """A picture that is still to be read.

    Args:
        image_id: unique in the data set.
        path: where it lies.
    """

    image_id: str
    path: str


class Source(abc.ABC):
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
