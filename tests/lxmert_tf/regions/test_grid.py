"""Regions without pretrained weights: right on easy-VQA's figures, sensible on any image."""

import collections
import itertools
import json
import math

import easy_vqa
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from lxmert_tf.errors import InputError
from lxmert_tf.regions.components import filled_share, find_components
from lxmert_tf.regions.grid import (
    COLORS,
    GEOMETRY_SIZE,
    SMALLEST_SHARE,
    WORKING_SIZE,
    GridExtractor,
)
from lxmert_tf.regions.image import read_image
from lxmert_tf.regions.registry import make_extractor
from tests.lxmert_tf.samples import one_line

FIGURES = {"circle": "ellipse", "rectangle": "rectangle", "triangle": "triangle"}
RANDOM = np.random.default_rng(0)


def names(extractor, regions):
    """Return (object name, attribute name) of every component; grid cells come after them."""
    count = len(regions) - extractor.cells**2
    return [
        (extractor.object_names[o], extractor.attribute_names[a])
        for o, a in zip(regions.object_ids[:count], regions.attribute_ids[:count])
    ]


def test_shapes_and_colors_are_found_in_real_images():
    said = collections.defaultdict(set)
    for _, answer, image in zip(*easy_vqa.get_test_questions()):
        said[image].add(answer)
    extractor = GridExtractor()
    known = small = 0
    for number, path in itertools.islice(sorted(easy_vqa.get_test_image_paths().items()), 120):
        figures, colors = said[number] & set(FIGURES), said[number] & set(COLORS)
        if not figures or not colors:
            continue
        (figure,), (color,) = figures, colors
        image = read_image(path)
        regions = extractor.extract(image)
        pairs = names(extractor, regions)
        known += 1
        counts = sorted(np.unique(image.reshape(-1, 3), axis=0, return_counts=True)[1])
        if counts[-2] < SMALLEST_SHARE * sum(counts):
            # Too small to be told from noise: this happens to a few triangles.
            small += 1
            assert pairs == [("background", "white")]
        else:
            # The blended pixels of its edges may make a thin component of their own.
            assert pairs[:2] == [("background", "white"), (FIGURES[figure], color)], path
            assert regions.object_confidences[1] > 0.5
    assert known >= 60
    assert small <= 3


def check(extractor, image):
    """Check what holds for the regions of every image, and return them."""
    regions = extractor.extract(image)
    assert 1 <= len(regions) <= extractor.max_regions
    assert regions.features.shape == (len(regions), extractor.feature_size)
    assert regions.features.dtype == np.float32
    assert ((regions.features >= 0) & (regions.features <= 1)).all()
    x1, y1, x2, y2 = regions.boxes.T
    assert ((regions.boxes >= 0) & (regions.boxes <= 1)).all()
    assert ((x1 < x2) & (y1 < y2)).all()
    for kind in ("object", "attribute"):
        labels, confidences = (
            getattr(regions, f"{kind}_{part}") for part in ("ids", "confidences")
        )
        assert ((labels >= 0) & (labels < len(getattr(extractor, f"{kind}_names")))).all()
        assert ((confidences >= 0) & (confidences <= 1)).all()
    return regions


def gradient(height, width):
    rows, columns = np.mgrid[:height, :width]
    channels = [rows * 255 // height, columns * 255 // width, (rows + columns) % 256]
    return np.stack(channels, axis=-1).astype(np.uint8)


@pytest.mark.parametrize(
    ("image", "components"),
    [
        (RANDOM.integers(0, 256, [64, 64, 3], np.uint8), 0),
        (np.full([1, 1, 3], 7, np.uint8), 1),
        (np.full([1, 300, 3], 255, np.uint8), 1),
        (np.zeros([300, 1, 3], np.uint8), 1),
        (np.full([2, 3, 3], 200, np.uint8), 1),
        (np.full([64, 64, 3], 255, np.uint8), 1),
        (gradient(90, 120), None),
        (gradient(2000, 3000), None),
        (np.full([3, 20_000, 3], 9, np.uint8), 1),
    ],
    ids=["noise", "1x1", "1xN", "Nx1", "2x3", "white", "gradient", "large", "very wide"],
)
def test_any_image_gives_regions(image, components):
    extractor = GridExtractor()
    regions = check(extractor, image)
    if components is not None:
        assert len(regions) == components + extractor.cells**2


@settings(max_examples=40, derandomize=True)
@given(
    height=st.integers(1, 40),
    width=st.integers(1, 40),
    colors=st.integers(1, 4),
    cells=st.integers(1, 4),
    components=st.integers(0, 6),
    crop=st.integers(1, 9),
    seed=st.integers(0, 99),
)
def test_any_patchwork_gives_regions(height, width, colors, cells, components, crop, seed):
    random = np.random.default_rng(seed)
    palette = random.integers(0, 256, [colors, 3], np.uint8)
    extractor = GridExtractor(cells, components, crop)
    regions = check(extractor, palette[random.integers(0, colors, [height, width])])
    assert len(regions) >= cells**2


def test_the_same_image_gives_the_same_regions():
    image = gradient(90, 120)
    one, two = GridExtractor().extract(image.copy()), GridExtractor().extract(image)
    for name, value in vars(one).items():
        np.testing.assert_array_equal(value, getattr(two, name), err_msg=name)
    np.testing.assert_array_equal(image, gradient(90, 120))


def test_cells_cover_the_image_and_have_its_colors():
    image = np.zeros([60, 90, 3], np.uint8)
    image[:20], image[20:40], image[40:] = (255, 0, 0), (0, 255, 0), (255, 255, 255)
    extractor = GridExtractor(cells=3, max_components=0, crop_size=2)
    regions = extractor.extract(image)
    thirds = np.float32([0, 1 / 3, 2 / 3, 1])
    expected = [
        (thirds[c], thirds[r], thirds[c + 1], thirds[r + 1]) for r in range(3) for c in range(3)
    ]
    np.testing.assert_allclose(regions.boxes, expected, rtol=0, atol=1e-6)
    # Ink is one minus the pixel; then comes the mask, which a cell does not have.
    red, green, white = ([*ink * 4, *[0] * 4] for ink in ([0, 1, 1], [1, 0, 1], [0, 0, 0]))
    np.testing.assert_array_equal(regions.features, [red] * 3 + [green] * 3 + [white] * 3)


def drawn(figure: str) -> np.ndarray:
    image = np.full([64, 64, 3], 255, np.uint8)
    rows, columns = np.mgrid[:64, :64]
    inside = {
        "rectangle": (rows >= 10) & (rows < 30) & (columns >= 20) & (columns < 50),
        "ellipse": (rows - 30) ** 2 + (columns - 30) ** 2 <= 15**2,
        "triangle": (rows >= 10) & (rows < 42) & (abs(columns - 30) <= (rows - 10) / 2),
    }[figure]
    image[inside] = COLORS["teal"]
    return image


@pytest.mark.parametrize("figure", ["rectangle", "ellipse", "triangle"])
@pytest.mark.parametrize("scale", [1, 5])
def test_a_shape_is_named_at_any_image_size(figure, scale):
    image = drawn(figure).repeat(scale, axis=0).repeat(scale, axis=1)
    assert scale == 1 or max(image.shape) > WORKING_SIZE
    extractor = GridExtractor()
    regions = extractor.extract(image)
    assert names(extractor, regions) == [("background", "white"), (figure, "teal")]
    if figure == "rectangle":
        # One pixel (of the working size) more on each side than the figure itself.
        size = min(64 * scale, WORKING_SIZE)
        exact = np.array([20, 10, 50, 30]) / 64 + np.array([-1, -1, 1, 1]) / size
        np.testing.assert_allclose(regions.boxes[1], exact, rtol=0, atol=0.5 / size)


def test_the_largest_components_come_first_up_to_the_maximum():
    image = np.zeros([60, 60, 3], np.uint8)
    for i, side in enumerate((20, 15, 10, 8)):
        image[i * 15 : i * 15 + min(side, 14), 5 : 5 + side] = (255, 60 * i, 0)
    areas = []
    for box in GridExtractor(cells=1, max_components=3).extract(image).boxes[:3]:
        areas.append((box[2] - box[0]) * (box[3] - box[1]))
    assert areas == sorted(areas, reverse=True)
    assert len(GridExtractor(cells=1, max_components=3).extract(image)) == 3 + 1


def test_an_extractor_is_made_again_from_its_config():
    extractor = GridExtractor(cells=3, max_components=5, crop_size=4)
    twin = make_extractor(extractor.get_config())
    assert twin.get_config() == extractor.get_config()
    assert (twin.feature_size, twin.max_regions) == (64, 14)


def panels() -> np.ndarray:
    """Draw two gray panels on white, with figures that touch their edges or do not."""
    image = np.full([100, 240, 3], 255, np.uint8)
    image[5:95, 10:110] = image[5:95, 130:230] = 200
    image[5:25, 10:40] = (255, 255, 0)  # upper left corner of the left panel
    image[50:58, 70:78] = (0, 0, 255)  # inside
    image[94 - 10 : 95, 170:181] = (0, 0, 0)  # bottom of the right panel
    image[40:60, 229:230] = (128, 128, 128)  # a blended pixel between figure and edge
    image[40:60, 209:229] = (255, 0, 0)  # right of the right panel
    image[30:36, 131:137] = (0, 200, 0)  # one pixel from the left of the right panel
    return image


def wide(**arguments) -> GridExtractor:
    return GridExtractor(
        **{"cells": 1, "max_components": 20, "working_size": 240, "smallest_share": 0.001}
        | arguments
    )


def test_panels_and_the_figures_in_them_are_regions():
    extractor = wide(geometry=True)
    regions = check(extractor, panels())
    figures = {
        "yellow": ((10, 5, 40, 25), (1, 1, 0, 0)),
        "blue": ((70, 50, 78, 58), (0, 0, 0, 0)),
        "black": ((170, 84, 181, 95), (0, 0, 0, 1)),
        "red": ((209, 40, 229, 60), (0, 0, 1, 0)),
        "green": ((131, 30, 137, 36), (0, 0, 0, 0)),
    }
    found = [name for _, name in names(extractor, regions)]
    for name, (corners, touches) in figures.items():
        index = found.index(name)
        x1, y1, x2, y2 = corners
        left = 10 if x1 < 120 else 130
        wider = np.array([x1 - 1, y1 - 1, x2 + 1, y2 + 1]) / [240, 100, 240, 100]
        np.testing.assert_allclose(regions.boxes[index], wider, rtol=0, atol=1e-6)
        geometry = regions.features[index, -GEOMETRY_SIZE:]
        np.testing.assert_allclose(geometry[:4], wider, rtol=0, atol=1e-6)
        np.testing.assert_allclose(geometry[4:6], wider[2:] - wider[:2], rtol=0, atol=1e-6)
        np.testing.assert_allclose(geometry[6], (x2 - x1) * (y2 - y1) / 24_000, atol=1e-6)
        np.testing.assert_allclose(geometry[7:10], np.array(COLORS[name]) / 255, atol=1e-6)
        inside = [(x1 - left) / 100, (y1 - 5) / 90, (x2 - left) / 100, (y2 - 5) / 90]
        np.testing.assert_allclose(geometry[10:14], inside, rtol=0, atol=1e-6)
        np.testing.assert_array_equal(geometry[14:], touches, err_msg=name)
    # Both panels are regions with their own boxes.
    boxes = regions.boxes * [240, 100, 240, 100]
    for left in (10, 130):
        panel = [left - 1, 4, left + 101, 96]
        assert np.isclose(boxes, panel, rtol=0, atol=1e-3).all(axis=1).any()


def test_a_figure_lies_in_what_is_around_it_and_not_in_the_box_of_a_neighbor():
    image = np.full([60, 60, 3], 200, np.uint8)
    rows, columns = np.mgrid[:60, :60]
    image[(rows >= 10) & (rows < 50) & (columns >= 10) & (columns - 10 <= rows - 10)] = 0
    image[22:27, 28:33] = (255, 0, 0)  # in the box of the triangle, close to its long side
    image[0], image[-1], image[:, 0], image[:, -1] = [(0, 0, 255)] * 4  # a thin frame
    components = find_components(image, 12, 0.001, 9)
    gray, black, blue, red = range(4)
    assert [int(c.argmax()) for c in components.colors[[blue, red]]] == [2, 0]
    assert [components.enclosing(i) for i in range(4)] == [blue, gray, None, gray]


def test_a_figure_on_the_image_itself_touches_the_edges_of_the_image():
    image = np.random.default_rng(1).integers(0, 256, [40, 40, 3], np.uint8)
    image[:10, 20:30] = 0
    regions = wide(geometry=True, smallest_share=0.05).extract(image)
    assert len(regions) == 2
    component, cell = regions.features[:, -GEOMETRY_SIZE:]
    np.testing.assert_allclose(component[10:14], [0.5, 0, 0.75, 0.25])
    np.testing.assert_array_equal(component[14:], [0, 1, 0, 0])
    np.testing.assert_array_equal(cell[:7], [0, 0, 1, 1, 1, 1, 1])
    np.testing.assert_array_equal(cell[10:], [0, 0, 1, 1, 1, 1, 1, 1])


def test_small_components_need_the_size_and_the_share():
    image = panels()
    assert "blue" in [name for _, name in names(wide(), wide().extract(image))]
    for coarse in (wide(smallest_share=0.005), wide(working_size=20, smallest_share=0.005)):
        assert "blue" not in [name for _, name in names(coarse, coarse.extract(image))]


@pytest.mark.parametrize(("tolerance", "components"), [(0, 3), (9, 3), (10, 1), (255, 1)])
def test_tolerance_joins_adjacent_colors(tolerance, components):
    image = np.zeros([9, 9, 3], np.uint8)
    image[:, 3:6, 1], image[:, 6:, 1] = 10, 20
    regions = GridExtractor(cells=1, tolerance=tolerance).extract(image)
    assert len(regions) == components + 1


def test_colors_name_the_attributes():
    colors = {"sky": [0, 0, 250], "sun": [250, 250, 0], "paper": [255, 255, 255]}
    extractor = wide(colors=colors)
    found = {name for _, name in names(extractor, check(extractor, panels()))}
    assert extractor.attribute_names == ("sky", "sun", "paper")
    assert found == {"sky", "sun", "paper"}


def flooded(pixels, tolerance):
    """Label the components of flat color pixel by pixel, in the order of their first pixels."""
    height, width, _ = pixels.shape
    labels = np.full([height, width], -1)
    for start in np.ndindex(height, width):
        if labels[start] >= 0:
            continue
        labels[start] = label = labels.max() + 1
        todo = [start]
        while todo:
            row, column = todo.pop()
            for y, x in (
                (row + 1, column),
                (row - 1, column),
                (row, column + 1),
                (row, column - 1),
            ):
                if not (0 <= y < height and 0 <= x < width) or labels[y, x] >= 0:
                    continue
                if abs(pixels[y, x].astype(int) - pixels[row, column]).max() <= tolerance:
                    labels[y, x] = label
                    todo.append((y, x))
    return labels


@settings(max_examples=60, derandomize=True, deadline=None)
@given(
    height=st.integers(1, 14),
    width=st.integers(1, 14),
    step=st.integers(1, 40),
    tolerance=st.integers(0, 30),
    share=st.sampled_from([0, 0.02, 0.2]),
    most=st.integers(0, 30),
    seed=st.integers(0, 99),
)
def test_components_are_those_of_a_flood_fill(height, width, step, tolerance, share, most, seed):
    random = np.random.default_rng(seed)
    pixels = (random.integers(0, 6, [height, width, 3]) * step).astype(np.uint8)
    labels = flooded(pixels, tolerance)
    areas = np.bincount(labels.ravel())
    largest = np.argsort(-areas, kind="stable")[:most]
    largest = [label for label in largest if areas[label] >= share * labels.size]
    components = find_components(pixels, tolerance, share, most)
    assert len(components) == len(largest)
    for i, label in enumerate(largest):
        mask = labels == label
        np.testing.assert_array_equal(components.labels == i + 1, mask)
        np.testing.assert_array_equal(components.colors[i], pixels[mask].mean(axis=0))
        inner = components.mask(i)
        assert inner.sum() == components.areas[i] == areas[label]
        assert filled_share(inner) == pytest.approx(ndimage.binary_fill_holes(inner).mean())


@settings(max_examples=40, derandomize=True, deadline=None)
@given(
    height=st.integers(1, 40),
    width=st.integers(1, 40),
    colors=st.integers(1, 4),
    working_size=st.integers(1, 50),
    share=st.floats(0, 1),
    tolerance=st.integers(0, 255),
    seed=st.integers(0, 99),
)
def test_any_arguments_give_regions(height, width, colors, working_size, share, tolerance, seed):
    random = np.random.default_rng(seed)
    palette = random.integers(0, 256, [colors, 3], np.uint8)
    image = palette[random.integers(0, colors, [height, width])]
    arguments = {"working_size": working_size, "smallest_share": share, "tolerance": tolerance}
    plain, extractor = (
        GridExtractor(1, 9, 2, geometry=geometry, **arguments) for geometry in (False, True)
    )
    regions = check(extractor, image)
    assert (regions.features[:, 6 + 16] >= share).all()
    # The geometry comes after what there is without it.
    without = check(plain, image)
    np.testing.assert_array_equal(regions.features[:, :-GEOMETRY_SIZE], without.features)
    np.testing.assert_array_equal(regions.boxes, without.boxes)
    twin = make_extractor(json.loads(json.dumps(extractor.get_config())))
    np.testing.assert_array_equal(twin.extract(image).features, regions.features)


def test_defaults_are_not_in_the_config():
    # Records and presets made before an argument existed must stay comparable.
    old = {"name": "grid", "cells": 2, "max_components": 4, "crop_size": 8}
    assert GridExtractor().get_config() == make_extractor(old).get_config() == old
    changed = {"working_size": 400, "smallest_share": 0.0005, "tolerance": 3, "geometry": True}
    changed["colors"] = {"ink": [0, 0, 0]}
    assert make_extractor(old | changed).get_config() == old | changed


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"name": "gird"}, "unknown extractor 'gird'; it must be one of grid"),
        ({"name": ["grid"]}, "unknown extractor ['grid']"),
        ("grid", "extractor is 'grid'; it must be a mapping"),
        ({}, "the extractor has no 'name'; it must be one of grid"),
        (
            {"name": "grid", "cell": 2},
            "extractor 'grid': unknown argument 'cell'; it takes cells, max_components",
        ),
        ({"name": "grid", "cells": "two"}, "cells is 'two'"),
        ({"name": "grid", "cells": 0}, "cells is 0; it must be at least 1"),
        ({"name": "grid", "max_components": -1}, "max_components is -1; it must be at least 0"),
        ({"name": "grid", "crop_size": 0}, "crop_size is 0; it must be at least 1"),
        ({"name": "grid", "cells": True}, "cells is True; it must be an integer"),
        ({"name": "grid", "working_size": 0}, "working_size is 0; it must be at least 1"),
        ({"name": "grid", "working_size": 99.5}, "working_size is 99.5; it must be an integer"),
        ({"name": "grid", "smallest_share": -0.1}, "smallest_share is -0.1; it must be a number"),
        ({"name": "grid", "smallest_share": 2}, "smallest_share is 2; it must be a number"),
        ({"name": "grid", "smallest_share": math.nan}, "smallest_share is nan; it must be"),
        ({"name": "grid", "smallest_share": True}, "smallest_share is True; it must be"),
        ({"name": "grid", "tolerance": 256}, "tolerance is 256; it must be at most 255"),
        ({"name": "grid", "geometry": 1}, "geometry is 1; it must be true or false"),
        ({"name": "grid", "colors": []}, "colors is []; it must be a mapping of names"),
        ({"name": "grid", "colors": {}}, "colors is {}; it must be a mapping of names"),
        ({"name": "grid", "colors": {"a\nb": "red"}}, "is 'red'; it must be [red, green, blue]"),
        ({"name": "grid", "colors": {"": [1, 2, 3]}}, "colors has the name ''; it must be"),
        ({"name": "grid", "colors": {"red": [1, 2]}}, "colors: 'red' is [1, 2]; it must be"),
        ({"name": "grid", "colors": {"red": [1, 2, 300]}}, "colors: 'red' is 300; it must be at"),
    ],
)
def test_invalid_extractor_configs_are_refused(config, message):
    with pytest.raises(InputError) as raised:
        make_extractor(config)
    assert message in one_line(raised)
