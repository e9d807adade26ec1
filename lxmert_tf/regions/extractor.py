"""What turns a picture into regions: the interface, and what it gives."""

import abc
import dataclasses
from typing import Any

import numpy as np


@dataclasses.dataclass(frozen=True)
class Regions:
    """The regions of one image.

    Args:
        features: float [R, F].
        boxes: float32 [R, 4], x1 y1 x2 y2 divided by image width and height.
        object_ids, attribute_ids: int64 [R], where the extractor can tell.
        object_confidences, attribute_confidences: float32 [R] in 0..1; 0 where it can't tell.

    Raises:
        ValueError: the shapes do not belong together.
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
    """Turns an RGB image into regions. It sees the image and nothing else.

    Attributes:
        name: what a config calls it.
        feature_size: F.
        max_regions: the most regions that an image can have.
        object_names, attribute_names: what the ids mean; empty where it gives none.
    """

    name: str
    feature_size: int
    max_regions: int
    object_names: tuple[str, ...] = ()
    attribute_names: tuple[str, ...] = ()

    @abc.abstractmethod
    def extract(self, image: np.ndarray) -> Regions:
        """Makes regions of an image, uint8 [height, width, 3]; at least one."""

    @abc.abstractmethod
    def get_config(self) -> dict[str, Any]:
        """The arguments that make an equal extractor, and `name`."""
