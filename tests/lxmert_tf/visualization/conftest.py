"""Fixtures of the tests of drawings: the attention of a small model."""

import pytest

from lxmert_tf.regions.image import read_image
from lxmert_tf.visualization.attention_maps import attention_maps
from tests.serving.tiny import make_tiny

SENTENCE = "is there a blue triangle in the image?"


@pytest.fixture(scope="session")
def tiny(tmp_path_factory):
    return make_tiny(tmp_path_factory)


@pytest.fixture(scope="session")
def image():
    import easy_vqa

    return read_image(easy_vqa.get_test_image_paths()[0])


@pytest.fixture(scope="session")
def maps(tiny, image):
    return attention_maps(tiny.preset, image, SENTENCE)
