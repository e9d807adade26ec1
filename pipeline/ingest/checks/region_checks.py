"""What every reader of region files asks of the arrays of one image, with the same words."""

import math

import numpy as np

from lxmert_tf.data.scene import SceneImage
from lxmert_tf.regions.extractor import Regions
from pipeline.ingest.interfaces import ReadError

# The reference's own tolerance for a normalised box (airsplay/lxmert, src/tasks/vqa_data.py);
# rounding alone goes this far, so it is cut off.
TOLERANCE = 1e-5
# Records hold float16 by default; a larger feature would silently become infinite. Detectors'
# features stay far below.
LARGEST_FEATURE = float(np.finfo(np.float16).max)
# Beyond any picture, and within what a float32 can divide by.
LARGEST_SIDE = 10**9
_INFINITE_BITS = 0x7C00


class RegionFault(Exception):
    """What is wrong with an image; its text is the `reason` of the `ReadError`."""

    def problem(self, line: int | None, image_id: str, size: int = 0) -> ReadError:
        """What is told of it; of an id that is no text, what can be shown."""
        shown = image_id.encode(errors="replace").decode()
        return ReadError(line, shown, str(self), size)


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
    """Makes an image of the arrays that a file has for it.

    Args:
        image_id: unique in the data set.
        height, width: in pixels.
        boxes_in_pixels: float [n, 4], x1 y1 x2 y2.
        features: float [n, F]; float16 and float32 stay what they are, others become float32.
        object_ids, attribute_ids: integers [n], from 0, or -1 where the extractor could not tell.
        object_confidences, attribute_confidences: float [n] in 0..1; given with the ids or not.

    Returns:
        the image, with boxes in 0..1. Features may be a view of what was given.

    Raises:
        RegionFault: something is wrong with it. What can be cut off within 1e-5 of the range is.
    """
    labels = {
        "object_ids": object_ids,
        "object_confidences": object_confidences,
        "attribute_ids": attribute_ids,
        "attribute_confidences": attribute_confidences,
    }
    labels = {name: np.asarray(value) for name, value in labels.items() if value is not None}
    boxes_in_pixels, features = np.asarray(boxes_in_pixels), np.asarray(features)
    check_id(image_id)
    if not (1 <= height <= LARGEST_SIDE and 1 <= width <= LARGEST_SIDE):
        raise RegionFault("the image's height or width is no number of pixels")
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
    """Raises RegionFault unless an image can be called so."""
    if not image_id:
        raise RegionFault("the image has no id")
    try:
        # Names of files may hold bytes that are no text.
        image_id.encode()
    except UnicodeEncodeError as error:
        raise RegionFault("the image's id is not UTF-8") from error


def _check_shapes(boxes: np.ndarray, features: np.ndarray, labels: dict[str, np.ndarray]) -> None:
    count = len(features) if features.ndim else None
    if count == 0 and not boxes.size:
        raise RegionFault("the image has no regions")
    shapes_fit = (
        features.ndim == 2
        and features.size
        and boxes.shape == (count, 4)
        and all(values.shape == (count,) for values in labels.values())
    )
    if not shapes_fit:
        raise RegionFault("the lengths of features, boxes, ids or confidences do not fit")
    for kind in ("object", "attribute"):
        if (f"{kind}_ids" in labels) != (f"{kind}_confidences" in labels):
            raise RegionFault("there are ids without confidences, or confidences without ids")


def _checked_features(features: np.ndarray) -> np.ndarray:
    if features.dtype == np.float16:
        # By the bits, which is 20 times as fast as NumPy's arithmetic on float16.
        if (features.view(np.uint16) & 0x7FFF).max() >= _INFINITE_BITS:
            raise RegionFault("features are NaN or infinite")
        return features
    features = _float32(features, "features")
    lowest, highest = _finite_range(features, "features")
    if lowest < -LARGEST_FEATURE or highest > LARGEST_FEATURE:
        raise RegionFault("features are larger than 65504, the most that float16 holds")
    return features


def _checked_boxes(boxes: np.ndarray, height: int, width: int) -> np.ndarray:
    size = np.array([width, height, width, height], np.float32)
    boxes = _in_unit_range(_float32(boxes, "boxes") / size, "boxes", "boxes lie outside the image")
    if (boxes[:, :2] > boxes[:, 2:]).any():
        raise RegionFault("boxes are inverted: their right or lower edge comes first")
    return boxes


def _checked_confidences(confidences: np.ndarray) -> np.ndarray:
    confidences = _float32(confidences, "confidences")
    return _in_unit_range(confidences, "confidences", "confidences lie outside 0..1")


def _checked_ids(ids: np.ndarray) -> np.ndarray:
    if ids.dtype.kind not in "iu":
        raise RegionFault("object or attribute ids are not whole numbers")
    ids = ids.astype(np.int64)
    if ids.min() < -1:
        raise RegionFault("object or attribute ids are negative")
    return ids


def _float32(values: np.ndarray, what: str) -> np.ndarray:
    if values.dtype.kind not in "fiu":
        raise RegionFault(f"{what} are not numbers")
    with np.errstate(over="ignore"):
        # What float32 can't hold becomes infinite, and is refused as such.
        return values.astype(np.float32, copy=False)


def _in_unit_range(values: np.ndarray, what: str, otherwise: str) -> np.ndarray:
    lowest, highest = _finite_range(values, what)
    if lowest < -TOLERANCE or highest > 1 + TOLERANCE:
        raise RegionFault(otherwise)
    return values.clip(0.0, 1.0)


def _finite_range(values: np.ndarray, what: str) -> tuple[float, float]:
    # An end is NaN where any value is; two reductions cost less than a look at each value.
    lowest, highest = float(values.min()), float(values.max())
    if not math.isfinite(highest - lowest):
        raise RegionFault(f"{what} are NaN or infinite")
    return lowest, highest
