"""The objects of NLVR's images, in arrays over many images."""

import dataclasses
from collections.abc import Iterable, Sequence

import numpy as np

from lxmert_tf.errors import InputError
from lxmert_tf.regions.components import Components, find_components

COLORS = {"black": (0, 0, 0), "yellow": (255, 255, 0), "blue": (0, 153, 255)}
SHAPES = ("circle", "triangle", "square")
SIZES = ("small", "medium", "big")
SIDES = ("left", "top", "right", "bottom")
BOXES = 3
# The largest number of objects in a box (Suhr et al. 2017, section 3).
MOST_OBJECTS = 8

# Of the extractor in configs/ingest/nlvr.yaml.
_TOLERANCE = 12
_SMALLEST_SHARE = 0.0005
_MOST_COMPONENTS = 34
# Of 255, in each channel.
_COLOR_DISTANCE = 16
# The share of its rows and columns that a shape fills, without its blended edge: triangles up to
# 0.63, circles from 0.73 for the big ones to 0.95 for the small ones, squares 1.
_LARGEST_TRIANGLE, _LARGEST_CIRCLE = 0.68, 0.97
# Sides in pixels are about 10, 20, and 30.
_LARGEST_SMALL, _LARGEST_MEDIUM = 14, 24
# The blocks of towers are medium squares in the middle of their box, in pixels from its left edge.
_BOX_MIDDLE, _OFF_MIDDLE = 50, 3


@dataclasses.dataclass(frozen=True)
class Scenes:
    """The objects of images with three boxes.

    The objects of a box are in the order of their lower edges, the lowest first; in a tower the
    base is the first. Attributes of absent objects are -1.

    Args:
        present: bool [images, 3, 8].
        color: int [images, 3, 8], index in `COLORS`.
        shape: int [images, 3, 8], index in `SHAPES`.
        size: int [images, 3, 8], index in `SIZES`.
        touches: bool [images, 3, 8, 4], the edges of its box that an object touches, as in `SIDES`.
        is_tower: bool [images], whether the objects are towers of blocks.
    """

    present: np.ndarray
    color: np.ndarray
    shape: np.ndarray
    size: np.ndarray
    touches: np.ndarray
    is_tower: np.ndarray

    def __len__(self):
        return len(self.present)

    @property
    def counts(self) -> np.ndarray:
        """Objects of each box, int [images, 3]."""
        return self.present.sum(axis=2)

    def take(self, indices: np.ndarray | Sequence[int]) -> "Scenes":
        """Return the scenes of some of the images."""
        fields = dataclasses.fields(self)
        return Scenes(**{field.name: getattr(self, field.name)[indices] for field in fields})


def read_scenes(images: Iterable[tuple[str, np.ndarray]]) -> Scenes:
    """Find the objects of images.

    Args:
        images: Name and pixels, uint8 [height, width, 3], of each; three boxes from left to right.

    Raises:
        InputError: A box has more objects than NLVR's.
    """
    found = [_read_scene(name, image) for name, image in images]
    return Scenes(**{name: np.array([scene[name] for scene in found]) for name in found[0]})


def _read_scene(name: str, image: np.ndarray) -> dict[str, np.ndarray]:
    components = find_components(image, _TOLERANCE, _SMALLEST_SHARE, _MOST_COMPONENTS)
    shape = (BOXES, MOST_OBJECTS)
    scene = {attribute: np.full(shape, -1) for attribute in ("color", "shape", "size")}
    scene["present"] = np.zeros(shape, bool)
    scene["touches"] = np.zeros((*shape, len(SIDES)), bool)
    objects = [index for index in range(len(components)) if _color(components, index) is not None]
    is_tower = True
    for index in sorted(objects, key=lambda index: -components.slices[index][0].stop):
        middle = _middle(components, index)
        box = int(middle * BOXES / image.shape[1])
        slot = np.count_nonzero(scene["present"][box])
        if slot == MOST_OBJECTS:
            raise InputError(
                f"{name}: more than {slot} objects in a box; NLVR's have at most {slot}"
            )
        place = box, slot
        scene["present"][place] = True
        scene["color"][place] = _color(components, index)
        scene["shape"][place], scene["size"][place] = _shape_and_size(components, index)
        outer = components.enclosing(index)
        scene["touches"][place] = components.contacts(index, outer)
        left = 0 if outer is None else components.slices[outer][1].start
        is_block = (scene["shape"][place], scene["size"][place]) == (2, 1)
        is_tower &= is_block and abs(middle - left - _BOX_MIDDLE) < _OFF_MIDDLE
    scene["is_tower"] = np.array(is_tower)
    return scene


def _color(components: Components, index: int) -> int | None:
    distances = np.abs(np.array(list(COLORS.values())) - components.colors[index]).max(axis=1)
    nearest = int(distances.argmin())
    return nearest if distances[nearest] < _COLOR_DISTANCE else None


def _middle(components: Components, index: int) -> float:
    columns = components.slices[index][1]
    return (columns.start + columns.stop) / 2


def _shape_and_size(components: Components, index: int) -> tuple[int, int]:
    rows, columns = components.slices[index]
    width, height = columns.stop - columns.start, rows.stop - rows.start
    filled = components.areas[index] / (width * height)
    shape = 1 if filled < _LARGEST_TRIANGLE else 0 if filled < _LARGEST_CIRCLE else 2
    return shape, 0 if width <= _LARGEST_SMALL else 1 if width <= _LARGEST_MEDIUM else 2
