"""What the phrases of statements mean: functions of scenes.

Objects: Scenes -> bool [images, 3, 8]. Boxes: Scenes -> bool [images, 3]. A statement:
Scenes -> bool [images]. A question: Scenes -> int [images]. A count: an array of numbers -> an
array of bool.
"""

from collections.abc import Callable, Sequence

import numpy as np

from pipeline.statements.scenes import COLORS, SHAPES, SIDES, SIZES, Scenes

Meaning = Callable[[Scenes], np.ndarray]
Count = Callable[[np.ndarray], np.ndarray]


def at_least(number: int) -> Count:
    """Return the count "at least a number"."""
    return lambda counts: counts >= number


def at_most(number: int) -> Count:
    """Return the count "at most a number"."""
    return lambda counts: counts <= number


def exactly(number: int) -> Count:
    """Return the count "exactly a number"."""
    return lambda counts: counts == number


# Objects.


def any_object(scenes: Scenes) -> np.ndarray:
    """Find all objects."""
    return scenes.present


def of_color(name: str) -> Meaning:
    """Return the objects of a color."""
    index = list(COLORS).index(name)
    return lambda scenes: scenes.color == index


def of_shape(name: str) -> Meaning:
    """Return the objects of a shape."""
    index = SHAPES.index(name)
    return lambda scenes: scenes.shape == index


def of_size(name: str) -> Meaning:
    """Return the objects of a size."""
    index = SIZES.index(name)
    return lambda scenes: scenes.size == index


def touching(*sides: str) -> Meaning:
    """Return the objects that touch one of some edges of their box."""
    indices = [SIDES.index(side) for side in sides]
    return lambda scenes: np.logical_or.reduce(scenes.touches[..., indices], axis=-1)


def both(*meanings: Meaning) -> Meaning:
    """Return what has several meanings, of objects, boxes, or statements."""
    return lambda scenes: np.logical_and.reduce([meaning(scenes) for meaning in meanings])


def either(one: Meaning, other: Meaning) -> Meaning:
    """Return what has one of two meanings."""
    return lambda scenes: one(scenes) | other(scenes)


def objects_without(meaning: Meaning) -> Meaning:
    """Return the objects that do not have a meaning."""
    return lambda scenes: scenes.present & ~meaning(scenes)


# Boxes, and towers: there is one in each box of such an image.


def holds(count: Count, objects: Meaning) -> Meaning:
    """Return the boxes with a number of objects."""
    return lambda scenes: count(objects(scenes).sum(axis=2))


def holds_any(objects: Meaning) -> Meaning:
    """Return the boxes with such an object."""
    return holds(at_least(1), objects)


def holds_only(objects: Meaning) -> Meaning:
    """Return the boxes that are not empty and have no other objects."""
    return both(holds_any(objects), holds(exactly(0), objects_without(objects)))


def holds_others(objects: Meaning) -> Meaning:
    """Return the boxes with other objects."""
    return holds_any(objects_without(objects))


def of_height(count: Count) -> Meaning:
    """Return the towers, or boxes that are not empty, with a number of objects."""
    return both(holds_any(any_object), holds(count, any_object))


def kinds(count: Count, attribute: str) -> Meaning:
    """Return the boxes whose objects have a number of different values of an attribute."""

    def find(scenes: Scenes) -> np.ndarray:
        values = getattr(scenes, attribute)
        return count(sum((values == value).any(axis=2).astype(int) for value in range(3)))

    return find


def all_colors(*colors: Meaning) -> Meaning:
    """Return the boxes with objects of each of some colors."""
    return both(*map(holds_any, colors))


def only_colors(one: Meaning, other: Meaning) -> Meaning:
    """Return the boxes with objects of each of two colors and of no other."""
    return both(all_colors(one, other), holds_only(either(one, other)))


def same_color(count: Count) -> Meaning:
    """Return the boxes with a number of objects of one color, whichever it is."""
    parts = [holds(count, of_color(color)) for color in COLORS]
    return lambda scenes: np.logical_or.reduce([part(scenes) for part in parts])


def at_level(level: int, blocks: Meaning) -> Meaning:
    """Return the towers with such a block at a level; 0 is the base, -1 the top."""

    def find(scenes: Scenes) -> np.ndarray:
        found, exists = _take_level(level, blocks(scenes), scenes)
        return exists & found

    return find


def _take_level(level: int, values: np.ndarray, scenes: Scenes) -> tuple[np.ndarray, np.ndarray]:
    """Return the value of the block at a level of each tower, and whether there is such a block."""
    counts = scenes.counts
    place = counts + level if level < 0 else np.full_like(counts, level)
    found = np.take_along_axis(values, np.maximum(place, 0)[..., np.newaxis], axis=2)
    return found[..., 0], (place >= 0) & (place < counts)


def at_base(blocks: Meaning) -> Meaning:
    """Return the towers with such a block at the base."""
    return at_level(0, blocks)


def at_top(blocks: Meaning) -> Meaning:
    """Return the towers with such a block at the top."""
    return at_level(-1, blocks)


def in_middle(blocks: Meaning) -> Meaning:
    """Return the towers of three blocks with such a block in the middle."""
    return both(of_height(exactly(3)), at_level(1, blocks))


def over(upper: Meaning, lower: Meaning) -> Meaning:
    """Return the towers with one block right on another."""
    return lambda scenes: np.logical_or.reduce(
        upper(scenes)[..., 1:] & lower(scenes)[..., :-1], axis=2
    )


def stacked(number: int, blocks: Meaning) -> Meaning:
    """Return the towers with a number of such blocks in a row."""

    def find(scenes: Scenes) -> np.ndarray:
        found = blocks(scenes)
        longest = found.shape[2] - number + 1
        runs = [found[..., start : start + longest] for start in range(number)]
        return np.logical_and.reduce(runs).any(axis=2)

    return find


# Statements.


def count_objects(count: Count, objects: Meaning) -> Meaning:
    """State that an image has a number of objects."""
    return lambda scenes: count(objects(scenes).sum(axis=(1, 2)))


def count_boxes(count: Count, boxes: Meaning) -> Meaning:
    """State that an image has a number of boxes or towers."""
    return lambda scenes: count(boxes(scenes).sum(axis=1))


def every_object(objects: Meaning, meaning: Meaning) -> Meaning:
    """State that there are objects, and that all of them have a meaning."""
    others = both(objects, objects_without(meaning))
    return both(count_objects(at_least(1), objects), count_objects(exactly(0), others))


def extreme_box(least: bool, boxes: Meaning) -> Meaning:
    """State that the box with the least or the most objects, or one of them, is such a box."""

    def find(scenes: Scenes) -> np.ndarray:
        counts = scenes.counts
        bound = counts.min(axis=1) if least else counts.max(axis=1)
        return ((counts == bound[:, np.newaxis]) & boxes(scenes)).any(axis=1)

    return find


def color_of(level: int) -> Meaning:
    """Return the color of the block at a level of each tower; those that lack it all differ."""

    def find(scenes: Scenes) -> np.ndarray:
        color, exists = _take_level(level, scenes.color, scenes)
        missing = np.arange(color.shape[1]) - 10
        return np.where(exists, color, missing)

    return find


def height(scenes: Scenes) -> np.ndarray:
    """Return the number of objects of each box."""
    return scenes.counts


def equal(numbers: Sequence[int], values: Meaning) -> Meaning:
    """State how many of the three pairs of boxes have equal values.

    Args:
        numbers: The numbers of pairs that make the statement true: 0 if all three boxes differ, 1
            if two are equal, 3 if all are.
        values: Returns the value of each box, int [images, 3].
    """

    def find(scenes: Scenes) -> np.ndarray:
        found = values(scenes)
        pairs = (found == np.roll(found, 1, axis=1)).sum(axis=1)
        return np.isin(pairs, numbers)

    return find


# Questions.


def number_of_objects(objects: Meaning) -> Meaning:
    """Ask for the number of objects of an image."""
    return lambda scenes: objects(scenes).sum(axis=(1, 2))


def number_in_box(objects: Meaning, box: int) -> Meaning:
    """Ask for the number of objects in one of the boxes, 0 to 2 from left to right."""
    return lambda scenes: objects(scenes)[:, box].sum(axis=1)


def number_of_boxes(boxes: Meaning) -> Meaning:
    """Ask for the number of boxes or towers."""
    return lambda scenes: boxes(scenes).sum(axis=1)
