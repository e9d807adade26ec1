"""Masks, attention maps and precision of the three encoders."""

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from tensorflow import keras

from lxmert_tf import LxmertBackbone
from tests.lxmert_tf.samples import CONFIG, MODEL_CLASSES, config, model_inputs, named_outputs

# What another order of the same float32 sums changes, in outputs of size 1.
# A product of another number of rows adds up in another order, and twelve sums follow each other.
ROUNDING = 5e-6


@pytest.fixture(scope="module")
def backbone():
    keras.utils.set_random_seed(1)
    return LxmertBackbone(CONFIG)


def valid_outputs(model, inputs):
    """The outputs of tokens and regions that are there, by name."""
    outputs = model(inputs)
    words, regions = (inputs[name].astype(bool) for name in ("padding_mask", "region_mask"))
    return {
        "language": outputs["language_output"].numpy()[words],
        "vision": outputs["vision_output"].numpy()[regions],
        "pooled": outputs["pooled_output"].numpy(),
    }


def assert_same(one, other, atol=ROUNDING):
    for name, value in one.items():
        np.testing.assert_allclose(other[name], value, rtol=0, atol=atol, err_msg=name)


def with_garbage(inputs, scale, seed):
    """The same batch with something else where no token and no region is."""
    random = np.random.default_rng(seed)
    padded, absent = inputs["padding_mask"] == 0, inputs["region_mask"] == 0
    inputs = {name: value.copy() for name, value in inputs.items()}
    inputs["token_ids"][padded] = random.integers(0, CONFIG.vocab_size, padded.sum())
    inputs["segment_ids"][padded] = random.integers(0, 2, padded.sum())
    for name in ("region_features", "region_boxes"):
        shape = inputs[name][absent].shape
        inputs[name][absent] = scale * random.normal(size=shape)
    return inputs


# Shrinking a failure would take minutes.
@settings(max_examples=12, derandomize=True, phases=[Phase.generate])
@given(
    lengths=st.lists(st.tuples(st.integers(1, 6), st.integers(1, 5)), min_size=1, max_size=3),
    scale=st.sampled_from([0.0, 1.0, 1e3, 1e8]),
    seed=st.integers(0, 1000),
)
def test_padded_tokens_and_absent_regions_change_nothing(backbone, lengths, scale, seed):
    tokens, regions = ([most, *counts] for most, counts in zip((7, 6), zip(*lengths)))
    inputs = model_inputs(tokens, regions, seed)
    expected = valid_outputs(backbone, inputs)
    assert_same(expected, valid_outputs(backbone, with_garbage(inputs, scale, seed + 1)))


@pytest.mark.parametrize("more", [1, 9])
def test_more_padding_changes_nothing(backbone, more):
    inputs = model_inputs()
    padded = {
        name: np.pad(value, [(0, 0), (0, more)] + [(0, 0)] * (value.ndim - 2))
        for name, value in inputs.items()
    }
    assert_same(valid_outputs(backbone, inputs), valid_outputs(backbone, padded))


def test_an_example_answers_alike_alone_and_in_a_batch(backbone):
    inputs = model_inputs()
    expected = backbone(inputs)["pooled_output"].numpy()
    for i, (tokens, regions) in enumerate(zip((7, 4, 1), (5, 3, 1))):
        alone = {
            name: value[i : i + 1, : regions if name.startswith("region") else tokens]
            for name, value in inputs.items()
        }
        pooled = backbone(alone)["pooled_output"].numpy()
        np.testing.assert_allclose(pooled[0], expected[i], rtol=0, atol=ROUNDING)


def test_regions_are_a_set(backbone):
    inputs = model_inputs(tokens=[4], regions=[5])
    order = [3, 0, 4, 2, 1]
    shuffled = {k: v[:, order] if k.startswith("region") else v for k, v in inputs.items()}
    expected, outputs = backbone(inputs), backbone(shuffled)
    for name in ("pooled_output", "language_output"):
        np.testing.assert_allclose(outputs[name], expected[name], rtol=0, atol=ROUNDING)
    permuted = expected["vision_output"].numpy()[:, order]
    np.testing.assert_allclose(outputs["vision_output"], permuted, rtol=0, atol=ROUNDING)


@pytest.mark.parametrize("changed", ["token_ids", "segment_ids", "region_features", "region_boxes"])
def test_every_input_counts_in_the_pooled_output(backbone, changed):
    inputs = model_inputs(tokens=[4], regions=[3])
    other = {**inputs, changed: inputs[changed].copy()}
    if changed == "token_ids":
        other[changed][0, 2] = (inputs[changed][0, 2] + 1) % CONFIG.vocab_size
    else:
        other[changed][0, 2] = 1 - inputs[changed][0, 2]
    one, two = backbone(inputs)["pooled_output"], backbone(other)["pooled_output"]
    assert np.abs(one - two).max() > 1e-3


def test_words_have_an_order(backbone):
    inputs = model_inputs(tokens=[4], regions=[3])
    other = {**inputs, "token_ids": inputs["token_ids"][:, [0, 2, 1, 3]]}
    one, two = backbone(inputs)["pooled_output"], backbone(other)["pooled_output"]
    assert np.abs(one - two).max() > 1e-3


@pytest.mark.parametrize("cls", MODEL_CLASSES, ids=lambda cls: cls.__name__)
@pytest.mark.parametrize("place", ["constructor", "call"])
def test_attentions_are_given_where_asked_for(cls, place):
    model = cls(CONFIG, output_attentions=place == "constructor")
    inputs = model_inputs()
    outputs = model(inputs, output_attentions=True) if place == "call" else model(inputs)
    heads = CONFIG.num_attention_heads
    assert {
        name: [tuple(layer.shape) for layer in layers]
        for name, layers in outputs["attentions"].items()
    } == {
        "language": [(3, heads, 7, 7)] * 3,
        "vision": [(3, heads, 5, 5)] * 1,
        "language_to_vision": [(3, heads, 7, 5)] * 2,
        "vision_to_language": [(3, heads, 5, 7)] * 2,
    }
    without = model(inputs, output_attentions=False)
    assert "attentions" not in named_outputs(without)
    for name, value in named_outputs(without).items():
        # Without attentions a classifier computes less, in sums of another order.
        np.testing.assert_allclose(outputs[name], value, rtol=0, atol=1e-5)


@pytest.mark.parametrize("policy", ["float32", "mixed_bfloat16"])
def test_attention_is_a_float32_distribution_without_padding(policy):
    model = LxmertBackbone(CONFIG, dtype=policy)
    inputs = model_inputs()
    masks = {"language": inputs["padding_mask"], "vision": inputs["region_mask"]}
    masks["vision_to_language"], masks["language_to_vision"] = masks["language"], masks["vision"]
    for name, layers in model(inputs, output_attentions=True)["attentions"].items():
        for probabilities in layers:
            assert probabilities.dtype == tf.float32
            # bfloat16 would miss 1 by about 0.004.
            sums = probabilities.numpy().sum(axis=-1)
            np.testing.assert_allclose(sums, 1, rtol=0, atol=1e-6, err_msg=name)
            absent = np.broadcast_to(masks[name][:, None, None] == 0, probabilities.shape)
            assert (probabilities.numpy()[absent] == 0).all()
            assert (probabilities.numpy()[~absent] > 0).all()


@pytest.mark.parametrize("cls", MODEL_CLASSES, ids=lambda cls: cls.__name__)
def test_bfloat16_comes_close_to_float32(cls):
    keras.utils.set_random_seed(2)
    exact = cls(config(initializer_range=0.1))
    mixed = cls(config(initializer_range=0.1), dtype="mixed_bfloat16")
    mixed.set_weights(exact.get_weights())
    assert {variable.dtype for variable in mixed.weights} == {tf.float32}
    inputs = model_inputs()
    expected, outputs = named_outputs(exact(inputs)), named_outputs(mixed(inputs))
    if cls is LxmertBackbone:
        assert {value.dtype for value in outputs.values()} == {tf.bfloat16}
    else:
        assert {value.dtype for value in outputs.values()} == {tf.float32}
    for name, value in expected.items():
        difference = np.linalg.norm(tf.cast(outputs[name], tf.float32) - value)
        # bfloat16 keeps 8 bits (0.4 %); this is its noise after some ten products in a row.
        assert 0 < difference / np.linalg.norm(value) < 0.03, name


def test_a_bfloat16_model_trains():
    model = LxmertBackbone(config(language_layers=1, cross_layers=1), dtype="mixed_bfloat16")
    target = np.random.default_rng(0).uniform(-0.5, 0.5, [3, CONFIG.hidden_size])
    optimizer = keras.optimizers.Adam(1e-2)
    losses = []
    for _ in range(8):
        with tf.GradientTape() as tape:
            pooled = model(model_inputs(), training=True)["pooled_output"]
            loss = tf.reduce_mean((tf.cast(pooled, tf.float32) - target) ** 2)
        gradients = tape.gradient(loss, model.trainable_variables)
        pairs = zip(gradients, model.trainable_variables)
        optimizer.apply_gradients([(g, v) for g, v in pairs if g is not None])
        losses.append(float(loss))
    assert losses[-1] < 0.5 * losses[0]
