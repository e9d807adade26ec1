"""Regions without pretrained weights: components of flat color, and the cells of a grid."""

import math
from typing import Any

import numpy as np
from PIL import Image

from lxmert_tf.errors import InputError
from lxmert_tf.regions.components import Components, filled_share, find_components
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


# Features of where a region lies, its size, and its color; see `GridExtractor`.
GEOMETRY_SIZE = 18


class GridExtractor(RegionExtractor):
    """Extracts components of flat color, the largest first, and the cells of a grid.

    The features of a region are the pixels of its crop, resized to crop_size x crop_size RGB, and
    in the same size the mask of the component inside its box (zeros for a cell). Pixels count as
    ink, from 0 for white to 1, so on a light background most features are near zero and
    differences between regions stand out. Objects are the shapes that components look like, and
    attributes are their nearest color names.

    With `geometry`, 18 features more, all in 0..1, keep what a resized crop loses: the box (x1 y1
    x2 y2), its width and height, and the share of the image that the component itself covers; the
    mean red, green, and blue; the box as fractions of the area around it; and 1 for each edge of
    that area (left, top, right, bottom) that the component touches. The area around a component
    is the component that it lies in, such as a panel, and otherwise the image.

    Args:
        cells: The grid has cells x cells cells.
        max_components: The most components per image.
        crop_size: Pixels per side of a crop.
        working_size: Larger images are scaled down to this number of pixels on the longest side.
        smallest_share: Components smaller than this share of the image are left out.
        tolerance: Adjacent pixels belong to one component if no channel differs by more than this
            (of 255).
        geometry: Add the features of position, size, color, and contact with edges.
        colors: The names of the attributes, and their red, green, and blue in 0..255; None for
            `COLORS`.

    Raises:
        InputError: An argument is out of range.

    Example:
        >>> GridExtractor(max_components=28, working_size=400, smallest_share=0.0005, geometry=True)
    """

    name = "grid"
    object_names = ("background", *FILL_SHARES, "irregular")
    attribute_names = tuple(COLORS)

    def __init__(
        self,
        cells: int = 2,
        max_components: int = 4,
        crop_size: int = 8,
        working_size: int = WORKING_SIZE,
        smallest_share: float = SMALLEST_SHARE,
        tolerance: int = FLAT_TOLERANCE,
        geometry: bool = False,
        colors: dict[str, list[int]] | None = None,
    ):
        check_integer("cells", cells, 1)
        check_integer("max_components", max_components, 0)
        check_integer("crop_size", crop_size, 1)
        check_integer("working_size", working_size, 1)
        _check_share("smallest_share", smallest_share)
        check_integer("tolerance", tolerance, 0, 255)
        if not isinstance(geometry, bool):
            raise InputError(f"geometry is {geometry!r}; it must be true or false")
        if colors is not None:
            _check_colors(colors)
        self.cells = cells
        self.max_components = max_components
        self.crop_size = crop_size
        self.working_size = working_size
        self.smallest_share = smallest_share
        self.tolerance = tolerance
        self.geometry = geometry
        self.colors = colors
        self.feature_size = 4 * crop_size**2 + geometry * GEOMETRY_SIZE
        self.max_regions = cells**2 + max_components
        self.attribute_names = tuple(colors or COLORS)
        self._palette = np.array(list((colors or COLORS).values()), np.float32)

    def get_config(self) -> dict[str, Any]:
        config = {
            "name": self.name,
            "cells": self.cells,
            "max_components": self.max_components,
            "crop_size": self.crop_size,
        }
        # Only what was set, so that the configs of records and presets stay comparable.
        optional = {
            "working_size": WORKING_SIZE,
            "smallest_share": SMALLEST_SHARE,
            "tolerance": FLAT_TOLERANCE,
            "geometry": False,
            "colors": None,
        }
        set_ones = {name: getattr(self, name) for name in optional}
        return config | {k: value for k, value in set_ones.items() if value != optional[k]}

    def extract(self, image: np.ndarray) -> Regions:
        picture = self._at_working_size(image)
        components = find_components(
            np.asarray(picture), self.tolerance, self.smallest_share, self.max_components
        )
        width, height = picture.size
        around = [_box_around(components, index) for index in range(len(components))]
        corners = [*around, *self._grid(width, height)]
        ink = 1 - self._resized([(picture, box) for box in corners], "RGB")
        masks = self._resized([(_mask(components, i), box) for i, box in enumerate(around)], "L")
        boxes = [_relative(box, width, height) for box in corners]
        return Regions(
            features=self._features(components, ink, masks, boxes),
            boxes=np.array(boxes, np.float32),
            **self._labels(components),
        )

    def _features(self, components: Components, ink, masks, boxes) -> np.ndarray:
        count, found = len(ink), len(components)
        parts = np.zeros([count, self.feature_size], np.float32)
        pixels = self.crop_size**2
        parts[:, : 3 * pixels] = ink.reshape(count, 3 * pixels)
        parts[:found, 3 * pixels : 4 * pixels] = masks.reshape(found, pixels)
        if self.geometry:
            for index, box in enumerate(boxes):
                parts[index, 4 * pixels :] = (
                    _component_geometry(components, index, box)
                    if index < found
                    else self._cell_geometry(ink[index], box)
                )
        return parts

    def _labels(self, components: Components) -> dict[str, np.ndarray]:
        cells = self.cells**2
        shapes = [_shape_of(components, index) for index in range(len(components))]
        colors = self._nearest_colors(components.colors)
        labels = {}
        for kind, rows in (("object", shapes), ("attribute", colors)):
            ids, confidences = zip(*rows, *[(0, 0.0)] * cells)
            labels[f"{kind}_ids"] = np.array(ids, np.int64)
            labels[f"{kind}_confidences"] = np.array(confidences, np.float32)
        return labels

    def _at_working_size(self, image: np.ndarray) -> Image.Image:
        picture = Image.fromarray(image)
        longest = max(picture.size)
        if longest <= self.working_size:
            return picture
        size = [max(1, round(side * self.working_size / longest)) for side in picture.size]
        return picture.resize(size, Image.Resampling.BOX)

    def _grid(self, width: int, height: int):
        for row in range(self.cells):
            for column in range(self.cells):
                yield (
                    width * column / self.cells,
                    height * row / self.cells,
                    width * (column + 1) / self.cells,
                    height * (row + 1) / self.cells,
                )

    def _cell_geometry(self, ink: np.ndarray, box) -> np.ndarray:
        touches = (box[0] == 0, box[1] == 0, box[2] == 1, box[3] == 1)
        return _geometry(box, 1 / self.cells**2, 1 - ink.mean(axis=(0, 1)), box, touches)

    def _nearest_colors(self, means: np.ndarray) -> list[tuple[int, float]]:
        """Return the index in `attribute_names` of the nearest color, and the confidence, of each.

        Args:
            means: float [components, 3], in 0..255.
        """
        distances = np.linalg.norm(self._palette - means[:, np.newaxis], axis=2)
        nearest = distances.argmin(axis=1).tolist()
        return [
            (color, float(0.5 ** (row[color] / COLOR_DISTANCE)))
            for color, row in zip(nearest, distances)
        ]

    def _resized(self, crops: list[tuple[Image.Image, tuple]], mode: str) -> np.ndarray:
        """Return boxes of images in the size of a crop, float32 [crops, size, size, ...] in 0..1.

        They are pasted into one image, because each conversion from Pillow to NumPy takes as long
        as resizing several crops.
        """
        size = self.crop_size
        column = Image.new(mode, (size, size * len(crops)))
        for index, (picture, box) in enumerate(crops):
            x1, y1, x2, y2 = map(float, box)
            crop = picture.resize((size, size), Image.Resampling.BOX, (x1, y1, x2, y2))
            column.paste(crop, (0, index * size))
        pixels = np.asarray(column, np.float32) / 255
        return pixels.reshape(len(crops), size, size, *pixels.shape[2:])


def _box_around(components: Components, index: int) -> tuple[int, int, int, int]:
    """Return x1 y1 x2 y2 of a component with one pixel more on each side, for blended edges."""
    height, width = components.labels.shape
    rows, columns = components.slices[index]
    return (
        max(columns.start - 1, 0),
        max(rows.start - 1, 0),
        min(columns.stop + 1, width),
        min(rows.stop + 1, height),
    )


def _mask(components: Components, index: int) -> Image.Image:
    return Image.fromarray(np.multiply(components.labels == index + 1, 255, dtype=np.uint8))


def _relative(box, width: int, height: int) -> tuple[float, float, float, float]:
    x1, y1, x2, y2 = box
    return x1 / width, y1 / height, x2 / width, y2 / height


def _component_geometry(components: Components, index: int, box) -> np.ndarray:
    height, width = components.labels.shape
    outer = components.enclosing(index)
    around = (slice(0, height), slice(0, width)) if outer is None else components.slices[outer]
    (top, bottom), (left, right) = (
        ((inside.start - outside.start) / size, (inside.stop - outside.start) / size)
        for inside, outside in zip(components.slices[index], around)
        for size in [outside.stop - outside.start]
    )
    share = components.areas[index] / (height * width)
    color = components.colors[index] / 255
    touches = components.contacts(index, outer)
    return _geometry(box, share, color, (left, top, right, bottom), touches)


def _geometry(box, share, color, box_in_area, touches) -> np.ndarray:
    x1, y1, x2, y2 = box
    values = (*box, x2 - x1, y2 - y1, share, *color, *box_in_area, *touches)
    return np.array(values, np.float32)


def _shape_of(components: Components, index: int) -> tuple[int, float]:
    """Return the index in `object_names` of a component's shape, and the confidence."""
    height, width = components.labels.shape
    rows, columns = components.slices[index]
    sides = (rows.start == 0, rows.stop == height, columns.start == 0, columns.stop == width)
    if sum(sides) >= 3:
        return 0, 1.0
    share = filled_share(components.mask(index))
    nearest = min(FILL_SHARES, key=lambda name: abs(FILL_SHARES[name] - share))
    distance = abs(FILL_SHARES[nearest] - share)
    if distance > FILL_TOLERANCE:
        return GridExtractor.object_names.index("irregular"), 0.5
    return GridExtractor.object_names.index(nearest), float(1 - distance / FILL_TOLERANCE / 2)


def _check_share(argument: str, value) -> None:
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if not number or not 0 <= value <= 1:
        raise InputError(f"{argument} is {value!r}; it must be a number from 0 to 1")


def _check_colors(colors) -> None:
    if not isinstance(colors, dict) or not colors:
        raise InputError(
            f"colors is {colors!r}; it must be a mapping of names to [red, green, blue]"
        )
    for name, color in colors.items():
        if not isinstance(name, str) or not name:
            raise InputError(f"colors has the name {name!r}; it must be a text")
        if not isinstance(color, (list, tuple)) or len(color) != 3:
            raise InputError(f"colors: {name!r} is {color!r}; it must be [red, green, blue]")
        for value in color:
            check_integer(f"colors: {name!r}", value, 0, 255)
