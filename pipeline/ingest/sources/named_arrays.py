"""An image from the named arrays that extractors write, whichever names they have for them.

MMF (tools/scripts/features/extract_features_vmb.py) has `features`, `bbox`, `num_boxes`, `objects`,
`cls_prob`, `image_height`, `image_width`; the PyTorch port of bottom-up attention by MILVLG
(utils/extract_utils.py) has `x`, `bbox`, `num_bbox`, `image_h`, `image_w`, and in `info`
`objects_id`, `objects_conf`, `attrs_id`, `attrs_conf`. OpenVQA's files hold `x` as [F, n].
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from lxmert_tf.data.scene import SceneImage
from pipeline.ingest.sources.region_checks import RegionFault, checked_image

_FEATURES = ("features", "x")
_BOXES = ("bbox", "boxes", "bboxes")
_COUNT = ("num_boxes", "num_bbox")
_HEIGHT = ("image_height", "image_h")
_WIDTH = ("image_width", "image_w")
_OBJECT_IDS = ("objects_id", "objects")
_LABELS = ("objects_conf", "attrs_id", "attrs_conf")
_PROBABILITIES = ("cls_prob",)
NAMES = (*_FEATURES, *_BOXES, *_COUNT, *_HEIGHT, *_WIDTH, *_OBJECT_IDS, *_LABELS, *_PROBABILITIES)


def image_of_arrays(image_id: str, arrays: Mapping[str, Any]) -> SceneImage:
    """Makes an image; boxes are in pixels, and ids are taken as they are.

    Regions behind `num_boxes` are left out: padding, or what the detector took for repetitions.
    Ids without any confidence (neither `objects_conf` nor `cls_prob`, whose largest value it is)
    cannot be weighed and are left out too.

    Args:
        image_id: unique in the data set.
        arrays: by the names above; `None` stands for what is missing.

    Raises:
        RegionFault: something is missing, or wrong.
    """
    features, boxes = _array(arrays, _FEATURES), _array(arrays, _BOXES)
    if features is None or boxes is None:
        raise RegionFault(f"the image has no {'features' if features is None else 'boxes'}")
    height, width = _whole(arrays, _HEIGHT), _whole(arrays, _WIDTH)
    if height is None or width is None:
        raise RegionFault("the image has no height or width")
    if features.ndim == 2 and boxes.ndim == 2 and len(features) != len(boxes):
        # [F, n]; if that does not fit either, the check will say so.
        features = np.ascontiguousarray(features.T)
    labels = {
        "object_ids": _array(arrays, _OBJECT_IDS),
        "object_confidences": _object_confidences(arrays),
        "attribute_ids": _array(arrays, ("attrs_id",)),
        "attribute_confidences": _array(arrays, ("attrs_conf",)),
    }
    for kind in ("object", "attribute"):
        if labels[f"{kind}_confidences"] is None or labels[f"{kind}_ids"] is None:
            labels[f"{kind}_confidences"] = labels[f"{kind}_ids"] = None
    parts = {"boxes_in_pixels": boxes, "features": features, **labels}
    count = _whole(arrays, _COUNT)
    if count is not None:
        parts = {name: _first(count, values) for name, values in parts.items()}
    return checked_image(image_id, height, width, **parts)


def _find(arrays: Mapping[str, Any], names: tuple[str, ...]) -> Any:
    return next((arrays[name] for name in names if arrays.get(name) is not None), None)


def _array(arrays: Mapping[str, Any], names: tuple[str, ...]) -> np.ndarray | None:
    value = _find(arrays, names)
    if value is not None and not isinstance(value, np.ndarray):
        # Nested lists could be made to fill the memory.
        raise RegionFault(f"{names[0]} is not an array")
    return value


def _whole(arrays: Mapping[str, Any], names: tuple[str, ...]) -> int | None:
    value = _find(arrays, names)
    if isinstance(value, np.ndarray | np.generic) and value.size == 1:
        value = value.item()
    if value is not None and type(value) is not int:
        raise RegionFault(f"{names[0]} is not a whole number")
    return value


def _object_confidences(arrays: Mapping[str, Any]) -> np.ndarray | None:
    confidences = _array(arrays, ("objects_conf",))
    if confidences is not None:
        return confidences
    probabilities = _array(arrays, _PROBABILITIES)
    if probabilities is None or probabilities.ndim != 2 or not probabilities.size:
        return probabilities
    if probabilities.dtype.kind != "f":
        raise RegionFault("confidences are not numbers")
    return probabilities.max(axis=1)


def _first(count: int, values: np.ndarray | None) -> np.ndarray | None:
    if values is None or not values.ndim:
        return values
    if not 0 <= count <= len(values):
        raise RegionFault("the lengths of features, boxes, ids or confidences do not fit")
    return values[:count]
