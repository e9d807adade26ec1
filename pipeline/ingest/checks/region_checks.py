"""Checks of the arrays of one image, shared by all readers of region files."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from lxmert_tf.data.scene import SceneImage
from lxmert_tf.regions.extractor import Regions
from pipeline.ingest.interfaces import ReadError, ReadImage

# The tolerance of the release for a normalized box (airsplay/lxmert, src/tasks/vqa_data.py), which
# allows for rounding. Values within it are clipped.
TOLERANCE = 1e-5
# Detectors round edges to pixels in several ways. Boxes that end so far outside are clipped.
PIXELS_OUTSIDE = 1.0
# Boxes with no larger value are in 0..1 already. In pixels they would all lie within one pixel.
LARGEST_IN_UNIT = 1.1
# Records hold float16 by default, in which a larger feature would become infinite. Features of
# detectors are much smaller.
LARGEST_FEATURE = float(np.finfo(np.float16).max)
# If all nonzero features of an image are smaller, they are numbers of another type.
_SMALLEST_FEATURE = 1e-12
# Larger than any image, and small enough for division in float32.
LARGEST_SIDE = 10**9
_INFINITE_BITS = 0x7C00


class RegionError(Exception):
    """An image is invalid; the message is the `reason` of the `ReadError`."""

    def read_error(self, line: int | None, image_id: str, size: int = 0) -> ReadError:
        """Return the `ReadError` of an image, with its id as valid Unicode."""
        shown = image_id.encode(errors="replace").decode()
        return ReadError(line, shown, str(self), size)


def read_image(
    line: int, image_id: str, size: int, make: Callable[..., SceneImage], *args: Any
) -> ReadImage | ReadError:
    """Make an image, or the `ReadError` that tells why it is invalid.

    Args:
        line: Number of its line or row.
        image_id: Its id, if known before parsing.
        size: Its bytes in the file.
        make: Returns the image; may raise a RegionError.
        args: Arguments of `make`.
    """
    try:
        return ReadImage(line, make(*args), size)
    except RegionError as error:
        return error.read_error(line, image_id, size)


def checked_image(
    image_id: str,
    height: int,
    width: int,
    boxes_in_pixels: np.ndarray,
    features: np.ndarray,
    object_ids: np.ndarray | None = None,
    object_confidences: np.ndarray | None = None,
    attribute_ids: np.ndarray | None = None,
    attribute_confidences: np.ndarray | None = None,
) -> SceneImage:
    """Build an image from the arrays of a file.

    Args:
        image_id: Id, unique in the data set.
        height: In pixels.
        width: In pixels.
        boxes_in_pixels: float [R, 4], x1 y1 x2 y2.
        features: float [R, F]; other types than float16 and float32 are converted to float32.
        object_ids: Integers [R] from 0, or -1 if unknown; None if the file has none.
        object_confidences: float [R] in 0..1; None if there are no ids.
        attribute_ids: As object_ids.
        attribute_confidences: As object_confidences.

    Returns:
        The image, with boxes in 0..1. Its features may be a view of those given. Boxes up to a
        pixel outside the image and confidences within 1e-5 of their range are clipped.

    Raises:
        RegionError: The arrays are invalid.
    """
    given = {
        "object_ids": object_ids,
        "object_confidences": object_confidences,
        "attribute_ids": attribute_ids,
        "attribute_confidences": attribute_confidences,
    }
    labels = {name: np.asarray(value) for name, value in given.items() if value is not None}
    boxes_in_pixels, features = np.asarray(boxes_in_pixels), np.asarray(features)
    check_id(image_id)
    if not (1 <= height <= LARGEST_SIDE and 1 <= width <= LARGEST_SIDE):
        raise RegionError("the image's height or width is not a valid number of pixels")
    _check_shapes(boxes_in_pixels, features, labels)
    regions = Regions(
        features=_checked_features(features),
        boxes=_checked_boxes(boxes_in_pixels, height, width),
        **{
            name: _checked_ids(values) if name.endswith("_ids") else _checked_confidences(values)
            for name, values in labels.items()
        },
    )
    return SceneImage(image_id, int(height), int(width), regions)


def check_id(image_id: str) -> None:
    """Raise a RegionError if an id is empty or not valid Unicode."""
    if not image_id:
        raise RegionError("the image has no id")
    try:
        # Names of files may have bytes that are not UTF-8.
        image_id.encode()
    except UnicodeEncodeError as error:
        raise RegionError("the image's id is not UTF-8") from error


def _check_shapes(boxes: np.ndarray, features: np.ndarray, labels: dict[str, np.ndarray]) -> None:
    count = len(features) if features.ndim else None
    if count == 0 and not boxes.size:
        raise RegionError("the image has no regions")
    shapes_fit = (
        features.ndim == 2
        and features.size
        and boxes.shape == (count, 4)
        and all(values.shape == (count,) for values in labels.values())
    )
    if not shapes_fit:
        raise RegionError("the lengths of features, boxes, ids or confidences do not fit")
    for kind in ("object", "attribute"):
        if (f"{kind}_ids" in labels) != (f"{kind}_confidences" in labels):
            raise RegionError("there are ids without confidences, or confidences without ids")


def _checked_features(features: np.ndarray) -> np.ndarray:
    if features.dtype == np.float16:
        # Comparing bits is 20 times as fast as NumPy's arithmetic on float16.
        if (features.view(np.uint16) & 0x7FFF).max() >= _INFINITE_BITS:
            raise RegionError("features are NaN or infinite")
        return features
    features = _float32(features, "features")
    lowest, highest = _finite_range(features, "features")
    if 0 < max(-lowest, highest) < _SMALLEST_FEATURE:
        raise RegionError("features are nearly 0, as numbers of another type would be")
    if lowest < -LARGEST_FEATURE or highest > LARGEST_FEATURE:
        raise RegionError("features are larger than 65504, the most that float16 holds")
    return features


def _checked_boxes(boxes: np.ndarray, height: int, width: int) -> np.ndarray:
    size = np.array([width, height, width, height], np.float32)
    boxes = _float32(boxes, "boxes")
    lowest, highest = _finite_range(boxes, "boxes")
    if max(-lowest, highest) < TOLERANCE:
        raise RegionError("all corners of the boxes are 0")
    if max(-lowest, highest) > LARGEST_IN_UNIT:
        boxes = boxes / size
    if (np.abs(boxes - 0.5) > 0.5 + PIXELS_OUTSIDE / size + TOLERANCE).any():
        raise RegionError("boxes lie outside the image")
    boxes = boxes.clip(0.0, 1.0)
    if (boxes[:, :2] > boxes[:, 2:]).any():
        raise RegionError(_inverted(boxes))
    return boxes


def _inverted(boxes: np.ndarray) -> str:
    if (boxes[:, :2] + boxes[:, 2:] <= 1 + TOLERANCE).all():
        return "boxes seem to be x, y, width, height; they must be x1, y1, x2, y2"
    return "boxes are inverted: their right or lower edge comes first"


def _checked_confidences(confidences: np.ndarray) -> np.ndarray:
    confidences = _float32(confidences, "confidences")
    return _in_unit_range(confidences, "confidences", "confidences lie outside 0..1")


def _checked_ids(ids: np.ndarray) -> np.ndarray:
    if ids.dtype.kind not in "iu":
        raise RegionError("object or attribute ids are not whole numbers")
    ids = ids.astype(np.int64)
    if ids.min() < -1:
        raise RegionError("object or attribute ids are negative")
    return ids


def _float32(values: np.ndarray, what: str) -> np.ndarray:
    if values.dtype == np.float32:
        return values
    if values.dtype.kind not in "fiu":
        raise RegionError(f"{what} are not numbers")
    with np.errstate(over="ignore"):
        # A value too large for float32 becomes infinite, which is refused later.
        return values.astype(np.float32)


def _in_unit_range(values: np.ndarray, what: str, otherwise: str) -> np.ndarray:
    lowest, highest = _finite_range(values, what)
    if lowest < -TOLERANCE or highest > 1 + TOLERANCE:
        raise RegionError(otherwise)
    return values.clip(0.0, 1.0)


def _finite_range(values: np.ndarray, what: str) -> tuple[float, float]:
    # The ends are NaN if any value is. Two reductions cost less than a test of each value.
    lowest, highest = float(values.min()), float(values.max())
    if not math.isfinite(highest - lowest):
        raise RegionError(f"{what} are NaN or infinite")
    return lowest, highest
