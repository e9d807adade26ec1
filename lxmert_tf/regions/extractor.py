"""Region extractors: the interface, and the regions of an image."""

import abc
import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np

from lxmert_tf.errors import InputError


@dataclasses.dataclass(frozen=True)
class Regions:
    """The regions of one image.

    Args:
        features: float [R, F].
        boxes: float32 [R, 4], x1 y1 x2 y2 divided by the image's width and height.
        object_ids: int64 [R], or None if the extractor gives no objects.
        object_confidences: float32 [R] in 0..1, or None.
        attribute_ids: int64 [R], or None if the extractor gives no attributes.
        attribute_confidences: float32 [R] in 0..1, or None.

    Raises:
        ValueError: The shapes do not match.
    """

    features: np.ndarray
    boxes: np.ndarray
    object_ids: np.ndarray | None = None
    object_confidences: np.ndarray | None = None
    attribute_ids: np.ndarray | None = None
    attribute_confidences: np.ndarray | None = None

    def __post_init__(self):
        if self.features.ndim != 2:
            raise ValueError(f"features have shape {self.features.shape}; they must be [R, F]")
        count = len(self.features)
        if self.boxes.shape != (count, 4):
            raise ValueError(f"boxes have shape {self.boxes.shape}; they must be [{count}, 4]")
        for kind in ("object", "attribute"):
            ids = getattr(self, f"{kind}_ids")
            confidences = getattr(self, f"{kind}_confidences")
            if (ids is None) != (confidences is None):
                raise ValueError(f"{kind}_ids and {kind}_confidences must be given together")
            if ids is not None and (ids.shape != (count,) or confidences.shape != (count,)):
                raise ValueError(f"{kind}_ids and {kind}_confidences must have shape [{count}]")

    def __len__(self):
        return len(self.features)


class RegionExtractor(abc.ABC):
    """Computes the regions of an RGB image. Add a subclass to `EXTRACTORS` to make it available.

    Attributes:
        name: The extractor's name in configs.
        feature_size: F, the number of features of a region.
        max_regions: The most regions that an image can have.
        object_names: The names of the object IDs; empty if there are none.
        attribute_names: The names of the attribute IDs; empty if there are none.
    """

    name: str
    feature_size: int
    max_regions: int
    object_names: tuple[str, ...] = ()
    attribute_names: tuple[str, ...] = ()

    @abc.abstractmethod
    def extract(self, image: np.ndarray) -> Regions:
        """Compute the regions of an image.

        Args:
            image: uint8 [height, width, 3], RGB.

        Returns:
            At most `max_regions` regions; none if the extractor finds nothing in the image.
        """

    def extract_batch(self, images: Sequence[np.ndarray]) -> list[Regions]:
        """Compute the regions of several images; override this if they are faster together.

        Args:
            images: uint8 [height, width, 3] each, RGB, of any sizes.

        Returns:
            What `extract` returns for each image.
        """
        return [self.extract(image) for image in images]

    @abc.abstractmethod
    def get_config(self) -> dict[str, Any]:
        """Return `name` and the constructor's arguments, for `make_extractor`."""


def check_integer(argument: str, value, least: int, most: int | None = None) -> None:
    """Check an integer argument of an extractor.

    Args:
        argument: Its name.
        value: Its value.
        least: The smallest valid value.
        most: The largest valid value; None for no limit.

    Raises:
        InputError: The value is not an integer, or out of range.
    """
    if not isinstance(value, int) or isinstance(value, bool):
        raise InputError(f"{argument} is {value!r}; it must be an integer")
    if value < least:
        raise InputError(f"{argument} is {value}; it must be at least {least}")
    if most is not None and value > most:
        raise InputError(f"{argument} is {value}; it must be at most {most}")
