"""Regions without pretrained weights: right on easy-VQA's figures, sensible on any image."""

import collections
import itertools

import easy_vqa
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lxmert_tf.errors import InputError
from lxmert_tf.regions.grid import COLORS, SMALLEST_SHARE, WORKING_SIZE, GridExtractor
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


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"name": "gird"}, "unknown extractor 'gird'; it must be one of grid"),
        ({"name": ["grid"]}, "unknown extractor ['grid']"),
        ("grid", "extractor is 'grid'; it must be a mapping"),
        ({}, "unknown extractor None; it must be one of grid"),
        (
            {"name": "grid", "cell": 2},
            "extractor 'grid': got an unexpected keyword argument 'cell'",
        ),
        ({"name": "grid", "cells": "two"}, "cells is 'two'"),
        ({"name": "grid", "cells": 0}, "cells is 0; it must be at least 1"),
        ({"name": "grid", "max_components": -1}, "max_components is -1; it must be at least 0"),
        ({"name": "grid", "crop_size": 0}, "crop_size is 0; it must be at least 1"),
    ],
)
def test_invalid_extractor_configs_are_refused(config, message):
    with pytest.raises(InputError) as raised:
        make_extractor(config)
    assert message in one_line(raised)
