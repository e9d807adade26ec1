"""The regions of two pictures as the inputs of a served pair classifier."""

import numpy as np

from lxmert_tf.regions.extractor import RegionExtractor


def pair_regions(
    extractor: RegionExtractor, left: np.ndarray, right: np.ndarray, statements: int
) -> dict[str, np.ndarray]:
    """Extracts and pads the regions of two pictures.

    Args:
        extractor: the model's.
        left, right: uint8 [height, width, 3].
        statements: B, about these pictures.

    Returns:
        `region_features` float32 [B, 2, R, F], `region_boxes` float32 [B, 2, R, 4] and
        `region_count` int32 [B, 2].
    """
    images = [extractor.extract(left), extractor.extract(right)]
    count = np.array([len(regions) for regions in images], np.int32)
    features = np.zeros([2, count.max(), extractor.feature_size], np.float32)
    boxes = np.zeros([2, count.max(), 4], np.float32)
    for number, regions in enumerate(images):
        features[number, : len(regions)] = regions.features
        boxes[number, : len(regions)] = regions.boxes
    return {
        "region_features": np.stack([features] * statements),
        "region_boxes": np.stack([boxes] * statements),
        "region_count": np.stack([count] * statements),
    }
