"""Equal images that follow each other are found, and encoded once."""

import numpy as np
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st

from lxmert_tf import LxmertBackbone
from lxmert_tf.image_runs import image_runs
from lxmert_tf.layers.dropout import dropout_keys
from tests.lxmert_tf.samples import CONFIG, config, model_inputs

PARTS = ("region_features", "region_boxes", "region_mask")


@given(st.lists(st.tuples(st.integers(0, 1), st.integers(0, 1)), max_size=8))
def test_a_run_is_of_images_that_agree_in_all_parts(images):
    values = np.array(images, np.float32).reshape(-1, 2)
    features, mask = values[:, :1, np.newaxis], values[:, 1:]
    firsts, run_of = (part.numpy() for part in image_runs(features, mask))
    starts = [i for i, image in enumerate(images) if i == 0 or image != images[i - 1]]
    assert firsts.tolist() == starts
    assert values[firsts][run_of].tolist() == values.tolist()


def test_images_without_regions_are_of_one_run():
    firsts, run_of = image_runs(tf.zeros([3, 0, 2]), tf.zeros([3, 0]))
    assert (firsts.numpy().tolist(), run_of.numpy().tolist()) == ([0], [0, 0, 0])


def test_each_image_is_encoded_once_and_stands_where_it_stood(monkeypatch):
    backbone = LxmertBackbone(CONFIG)
    inputs = model_inputs((1, 1, 1, 1), (5, 3, 1, 4))
    image = [np.repeat(inputs[name], [3, 1, 2, 1], axis=0) for name in PARTS]
    plain, _ = backbone.encode_image(*image)
    encoder = type(backbone.relationship_encoder)
    counts, encode = [], encoder.call

    def counting(self, features, *args, **kwargs):
        counts.append(len(features))
        return encode(self, features, *args, **kwargs)

    monkeypatch.setattr(encoder, "call", counting)
    once, _ = backbone.encode_image(*image, packed=True)
    assert counts == [4]
    there = image[2].astype(bool)
    np.testing.assert_allclose(once.numpy()[there], plain.numpy()[there], rtol=0, atol=1e-5)


def test_dropout_makes_each_its_own():
    backbone = LxmertBackbone(config(hidden_dropout=0.5))
    image = [np.repeat(model_inputs()[name][:1], 2, axis=0) for name in PARTS]
    with dropout_keys(0, 0):
        (one, other), _ = backbone.encode_image(*image, training=True, packed=True)
    assert not np.allclose(one, other)
