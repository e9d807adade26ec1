"""Regions without pretrained weights: components of flat color, and the cells of a grid."""

import math
from typing import Any

import numpy as np
from PIL import Image
from scipy import ndimage, sparse
from scipy.sparse import csgraph

from lxmert_tf.regions.extractor import RegionExtractor, Regions, check_integer

# Large images are scaled down to this size (longest side, in pixels): the components of a
# photograph do not get better above it, and the time grows with the area.
WORKING_SIZE = 128
# Adjacent pixels belong to one component if no channel differs by more than this (of 255).
FLAT_TOLERANCE = 12
# Components smaller than this share of the image are noise or edges.
SMALLEST_SHARE = 0.005

# A shape is recognized by the share of its box that it fills.
FILL_SHARES = {"rectangle": 1.0, "ellipse": math.pi / 4, "triangle": 0.5}
FILL_TOLERANCE = 0.15

COLORS = {
    "black": (0, 0, 0),
    "white": (255, 255, 255),
    "gray": (128, 128, 128),
    "red": (255, 0, 0),
    "orange": (255, 150, 0),
    "yellow": (255, 255, 0),
    "green": (0, 200, 0),
    "teal": (0, 128, 128),
    "blue": (0, 0, 255),
    "purple": (128, 0, 128),
    "pink": (255, 160, 200),
    "brown": (150, 60, 40),
}
# The distance in RGB at which the confidence in a color is one half.
COLOR_DISTANCE = 90.0


class GridExtractor(RegionExtractor):
    """Extracts components of flat color, the largest first, and the cells of a grid.

    The features of a region are the pixels of its crop, resized to crop_size x crop_size RGB, and
    in the same size the mask of the component inside its box (zeros for a cell). Pixels count as
    ink, from 0 for white to 1, so on a light background most features are near zero and
    differences between regions stand out. Objects are the shapes that components look like, and
    attributes are their nearest color names.

    Args:
        cells: The grid has cells x cells cells.
        max_components: The most components per image.
        crop_size: Pixels per side of a crop.

    Raises:
        InputError: An argument is out of range.
    """

    name = "grid"
    object_names = ("background", *FILL_SHARES, "irregular")
    attribute_names = tuple(COLORS)

    def __init__(self, cells: int = 2, max_components: int = 4, crop_size: int = 8):
        check_integer("cells", cells, 1)
        check_integer("max_components", max_components, 0)
        check_integer("crop_size", crop_size, 1)
        self.cells = cells
        self.max_components = max_components
        self.crop_size = crop_size
        self.feature_size = 4 * crop_size**2
        self.max_regions = cells**2 + max_components

    def get_config(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "cells": self.cells,
            "max_components": self.max_components,
            "crop_size": self.crop_size,
        }

    def extract(self, image: np.ndarray) -> Regions:
        picture = _at_working_size(image)
        pixels = np.asarray(picture)
        components = _flat_components(pixels, self.max_components)
        rows = [self._component(picture, pixels, mask) for mask in components]
        rows += [self._cell(picture, *cell) for cell in self._grid(*picture.size)]
        features, boxes, objects, attributes = zip(*rows)
        object_ids, object_confidences = zip(*objects)
        attribute_ids, attribute_confidences = zip(*attributes)
        return Regions(
            features=np.stack(features),
            boxes=np.array(boxes, np.float32),
            object_ids=np.array(object_ids, np.int64),
            object_confidences=np.array(object_confidences, np.float32),
            attribute_ids=np.array(attribute_ids, np.int64),
            attribute_confidences=np.array(attribute_confidences, np.float32),
        )

    def _grid(self, width: int, height: int):
        for row in range(self.cells):
            for column in range(self.cells):
                yield (
                    width * column / self.cells,
                    height * row / self.cells,
                    width * (column + 1) / self.cells,
                    height * (row + 1) / self.cells,
                )

    def _cell(self, picture: Image.Image, x1, y1, x2, y2):
        width, height = picture.size
        ink = 1 - self._resize(picture, (x1, y1, x2, y2))
        features = np.concatenate([ink.ravel(), np.zeros(self.crop_size**2, np.float32)])
        box = (x1 / width, y1 / height, x2 / width, y2 / height)
        return features, box, (0, 0.0), (0, 0.0)

    def _component(self, picture: Image.Image, pixels: np.ndarray, mask: np.ndarray):
        height, width = mask.shape
        rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
        # One pixel more on each side, for the blended pixels of the edge.
        x1, x2 = max(columns[0] - 1, 0), min(columns[-1] + 2, width)
        y1, y2 = max(rows[0] - 1, 0), min(rows[-1] + 2, height)
        ink = 1 - self._resize(picture, (x1, y1, x2, y2))
        shape = self._resize(Image.fromarray(mask.astype(np.uint8) * 255), (x1, y1, x2, y2))
        features = np.concatenate([ink.ravel(), shape.ravel()])
        box = (x1 / width, y1 / height, x2 / width, y2 / height)
        inner = mask[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
        return features, box, _shape_of(inner, mask), _color_of(pixels[mask].mean(axis=0))

    def _resize(self, picture: Image.Image, box) -> np.ndarray:
        size = (self.crop_size, self.crop_size)
        x1, y1, x2, y2 = map(float, box)
        crop = picture.resize(size, Image.Resampling.BOX, box=(x1, y1, x2, y2))
        return np.asarray(crop, np.float32) / 255


def _at_working_size(image: np.ndarray) -> Image.Image:
    picture = Image.fromarray(image)
    longest = max(picture.size)
    if longest <= WORKING_SIZE:
        return picture
    size = [max(1, round(side * WORKING_SIZE / longest)) for side in picture.size]
    return picture.resize(size, Image.Resampling.BOX)


def _flat_components(pixels: np.ndarray, most: int) -> list[np.ndarray]:
    """Return masks [height, width] of the components of flat color, the largest first."""
    height, width, _ = pixels.shape
    values = pixels.astype(np.int16)
    numbers = np.arange(height * width).reshape(height, width)
    across = np.abs(np.diff(values, axis=1)).max(axis=2) <= FLAT_TOLERANCE
    down = np.abs(np.diff(values, axis=0)).max(axis=2) <= FLAT_TOLERANCE
    start = np.concatenate([numbers[:, :-1][across], numbers[:-1][down]])
    end = np.concatenate([numbers[:, 1:][across], numbers[1:][down]])
    edges = sparse.coo_matrix((np.ones(len(start), bool), (start, end)), shape=(numbers.size,) * 2)
    _, labels = csgraph.connected_components(edges, directed=False)
    areas = np.bincount(labels)
    # Of equal areas the component comes first that starts further up, then further left.
    largest = np.argsort(-areas, kind="stable")[:most]
    smallest = SMALLEST_SHARE * numbers.size
    return [(labels == i).reshape(height, width) for i in largest if areas[i] >= smallest]


def _shape_of(inner: np.ndarray, mask: np.ndarray) -> tuple[int, float]:
    """Return the index in `object_names` of a component's shape, and the confidence."""
    sides = (mask[0].any(), mask[-1].any(), mask[:, 0].any(), mask[:, -1].any())
    if sum(sides) >= 3:
        return 0, 1.0
    share = ndimage.binary_fill_holes(inner).mean()
    nearest = min(FILL_SHARES, key=lambda name: abs(FILL_SHARES[name] - share))
    distance = abs(FILL_SHARES[nearest] - share)
    if distance > FILL_TOLERANCE:
        return GridExtractor.object_names.index("irregular"), 0.5
    return GridExtractor.object_names.index(nearest), float(1 - distance / FILL_TOLERANCE / 2)


def _color_of(mean: np.ndarray) -> tuple[int, float]:
    """Return the index in `attribute_names` of the nearest color, and the confidence."""
    distances = np.linalg.norm(np.array(list(COLORS.values()), np.float32) - mean, axis=1)
    nearest = int(distances.argmin())
    return nearest, float(0.5 ** (distances[nearest] / COLOR_DISTANCE))
