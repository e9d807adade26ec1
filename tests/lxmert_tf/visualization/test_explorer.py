"""The element of a web page that shows regions and attention: what it is given."""

import base64
import html
import io
import json
import re

import numpy as np
import pytest
from PIL import Image

from lxmert_tf.visualization.explorer import explorer_element, explorer_page, picture_url


def data_of(element):
    [text] = re.findall(r'^<lxmert-explorer data="([^"]*)"></lxmert-explorer>$', element)
    return json.loads(html.unescape(text))


def pixels_of(url):
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(url.partition(",")[2]))))


@pytest.fixture
def data(maps, image):
    return data_of(explorer_element(image, maps.regions, maps.region_names, maps))


def test_shares_are_those_of_the_maps(data, maps):
    words, regions = len(maps.pieces), len(maps.regions)
    assert data["words"] == maps.pieces
    shape = [data["attention"]["layers"], data["attention"]["heads"]]
    assert shape == [2, 2]
    for name, kind, size in (
        ("words_to_regions", "language_to_vision", [words, regions]),
        ("regions_to_words", "vision_to_language", [regions, words]),
    ):
        content = base64.b64decode(data["attention"][name])
        shares = np.frombuffer(content, "<u2").reshape([*shape, *size]) / 65535
        np.testing.assert_allclose(shares, np.stack(maps.layers[kind]), rtol=0, atol=1e-5)


def test_regions_have_names_and_confidences(data, maps):
    assert [region["name"] for region in data["regions"]] == maps.region_names
    for region, box in zip(data["regions"], maps.regions.boxes):
        np.testing.assert_allclose(region["box"], box, rtol=0, atol=1e-4)
        assert (region["confidence"] is None) == (not region["name"])


def test_a_drawing_stays_exact_and_a_photograph_is_small(data, image):
    np.testing.assert_array_equal(pixels_of(data["image"]), image)
    photograph = np.random.default_rng(0).integers(0, 256, [600, 1800, 3], np.uint8)
    url = picture_url(photograph)
    assert url.startswith("data:image/jpeg;base64,")
    assert pixels_of(url).shape == (300, 900, 3)


def test_a_picture_whose_regions_are_not_known_has_none(image):
    data = data_of(explorer_element(image, None, [], alt='a "picture"'))
    assert (data["regions"], data["words"], data["attention"]) == ([], None, None)
    assert data["alt"] == 'a "picture"'


def test_the_page_needs_no_other_file(maps, image):
    page = explorer_page("<a>", explorer_element(image, maps.regions, maps.region_names, maps))
    assert "<title>&lt;a&gt;</title>" in page
    assert not re.search(r"(src|href)=|url\(|https?://", page)
