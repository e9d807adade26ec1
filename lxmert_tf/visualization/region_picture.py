"""The regions of an image as a picture: numbered boxes, with their names beside it."""

import numpy as np

from lxmert_tf.regions.extractor import RegionExtractor, Regions
from lxmert_tf.visualization.panels import Section, write_page
from lxmert_tf.visualization.region_boxes import RegionPicture
from lxmert_tf.visualization.region_names import region_names

# In inches.
PICTURE_SIZE = 6.0


def draw_regions(image: np.ndarray, regions: Regions, extractor: RegionExtractor, path) -> None:
    """Draw regions into a PNG or SVG file, complete or not at all.

    Beside the image are the numbers and names of the regions that have a name, with the confidence
    of their object.

    Args:
        image: uint8 [height, width, 3].
        regions: The regions of the image, at least one.
        extractor: The extractor of the regions.
        path: The file, whose name ends in .png or .svg; an existing one is replaced.
    """
    picture = RegionPicture(image, regions.boxes)
    lines = [
        f"{number}  {name} {_percent(regions, number - 1)}".rstrip() if name else None
        for number, name in enumerate(region_names(extractor, regions), start=1)
    ]
    panels = [picture.numbered(PICTURE_SIZE), *picture.legend(lines, PICTURE_SIZE)]
    write_page(path, [Section([panels])], PICTURE_SIZE)


def _percent(regions: Regions, region: int) -> str:
    # Without an object the confidence is 0.
    confidences = regions.object_confidences
    return "" if confidences is None or not confidences[region] else f"{confidences[region]:.0%}"
