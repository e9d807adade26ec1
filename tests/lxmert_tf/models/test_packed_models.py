"""Leaving out padding changes no output, no loss and no gradient."""

import functools

import numpy as np
import pytest
import tensorflow as tf

from lxmert_tf import LxmertAnswerClassifier, LxmertPairClassifier, LxmertPretrainer
from lxmert_tf.training.optimization import BertAdamW
from tests.lxmert_tf.samples import CONFIG, config, model_inputs

TOKENS, REGIONS = (7, 4, 1, 6), (5, 3, 1, 0)
SMALL = config(language_layers=1, cross_layers=1)
# No padding: nothing is left out but in the last layer.
FULL = ((4, 4), (3, 3))


def pair_inputs(tokens=TOKENS, regions=REGIONS):
    """As `model_inputs`, with two pictures to a sentence."""
    first, second = model_inputs(tokens, regions), model_inputs(tokens, regions, seed=1)
    two = {
        name: np.stack([first[name], second[name]], axis=1)
        for name in ("region_features", "region_boxes", "region_mask")
    }
    # Of a picture without regions the plain path reads the padding, which readers fill with zeros.
    for name in ("region_features", "region_boxes"):
        two[name] *= two["region_mask"][..., np.newaxis]
    return {**first, **two}


def answer_inputs(tokens=TOKENS, regions=REGIONS):
    """A padded batch; one picture has no region."""
    pair = pair_inputs(tokens, regions)
    return {
        name: values[:, 0] if name.startswith("region") else values for name, values in pair.items()
    }


MODELS = {LxmertAnswerClassifier: answer_inputs, LxmertPairClassifier: pair_inputs}


def with_and_without(model, compute):
    """Return what `compute` gives with packing and without it, each traced anew."""
    results = []
    for packing in (True, False):
        model.packing = packing
        results.append(tf.nest.flatten(tf.function(compute)()))
    return results


def assert_all_close(ours, plain):
    """To what float32 keeps of sums over numbers of the size of the largest."""
    for one, other in zip(ours, plain):
        one, other = np.array(tf.convert_to_tensor(one)), np.array(tf.convert_to_tensor(other))
        limit = 1e-5 * max(1.0, np.abs(other).max(initial=0))
        np.testing.assert_allclose(one, other, rtol=0, atol=limit)


@pytest.mark.parametrize(
    "cls",
    [LxmertAnswerClassifier, pytest.param(LxmertPairClassifier, marks=pytest.mark.slow)],
    ids=lambda cls: cls.__name__,
)
@pytest.mark.parametrize(
    "batch", [(), pytest.param(FULL, marks=pytest.mark.slow)], ids=["padded", "full"]
)
def test_outputs_and_gradients_of_a_classifier_are_those_of_the_plain_path(cls, batch):
    model, inputs = cls(config(language_layers=1)), MODELS[cls](*batch)
    # Nothing can be learned from the picture without regions: its padding has no gradient here.
    weights = np.sqrt(np.arange(len(inputs["token_ids"])) + 1.0)
    weights[3:] = 0

    def compute():
        with tf.GradientTape() as tape:
            logits = model(inputs, packed=model.packing)
            total = tf.reduce_sum(logits * weights[:, np.newaxis])
        return logits, tape.gradient(total, model.trainable_variables)

    ours, plain = with_and_without(model, compute)
    assert_all_close(ours, plain)


def test_a_cached_image_state_gives_the_plain_answers():
    model, inputs = LxmertAnswerClassifier(CONFIG), answer_inputs()
    regions = [inputs[f"region_{name}"] for name in ("features", "boxes", "mask")]
    state = model.backbone.encode_image(*regions, packed=True)
    question = model.encode_question(inputs)
    logits = model.answer_pairs(question, inputs["padding_mask"], state, inputs["region_mask"])
    model.packing = False
    np.testing.assert_allclose(logits, model(inputs), rtol=0, atol=1e-5)


def pretraining_targets(inputs, masked=True):
    """Targets for inputs: a third of the words and regions is masked, or none."""
    random = np.random.default_rng(3)
    batch, length = inputs["token_ids"].shape
    regions = inputs["region_mask"]
    chosen = masked * inputs["padding_mask"] * (random.uniform(size=[batch, length]) < 0.3)
    words = random.integers(0, CONFIG.vocab_size, [batch, length])
    there = regions == 1
    return {
        "masked_lm_labels": np.where(chosen, words, -1).astype(np.int32),
        "matched_labels": random.integers(0, 2, [batch], np.int32),
        "object_labels": np.where(there, random.integers(0, 9, regions.shape), -1),
        "object_confidences": (there * random.uniform(size=regions.shape)).astype(np.float32),
        "attribute_labels": np.where(there, random.integers(0, 9, regions.shape), -1),
        "attribute_confidences": (there * random.uniform(size=regions.shape)).astype(np.float32),
        "region_feature_targets": random.normal(
            size=[*regions.shape, CONFIG.region_feature_size]
        ).astype(np.float32),
        "region_feature_mask": (masked * there * (random.uniform(size=regions.shape) < 0.4)).astype(
            np.float32
        ),
        "answer_labels": random.integers(-1, CONFIG.num_answers, [batch], np.int32),
    }


@pytest.mark.slow
@pytest.mark.parametrize("masked", [True, False])
def test_a_pretraining_step_is_that_of_the_plain_path(masked):
    inputs = model_inputs((7, 4, 1), (5, 3, 1))
    targets = pretraining_targets(inputs, masked)
    model = LxmertPretrainer(SMALL)
    weights, told = model.get_weights(), []
    for packing in (True, False):
        model.set_weights(weights)
        model.packing = packing
        model.compile(BertAdamW(1e-3))
        losses = model.train_on_batch(inputs, targets, return_dict=True)
        told.append((losses, model.test_on_batch(inputs, targets, return_dict=True)))
    (ours, ours_after), (plain, plain_after) = told
    assert ours == pytest.approx(plain, rel=1e-5, abs=1e-6)
    # An Adam step has the size of the rate whatever the gradient's: what is nearly zero may flip.
    assert ours_after == pytest.approx(plain_after, rel=1e-3, abs=1e-3)


@pytest.mark.slow
def test_gradients_of_pretraining_are_those_of_the_plain_path():
    inputs = model_inputs((7, 4, 1), (5, 3, 1))
    targets = pretraining_targets(inputs)
    model = LxmertPretrainer(SMALL)
    model.compile(BertAdamW(1e-3))
    data = tf.nest.map_structure(tf.constant, (inputs, targets))
    counts = {name: tf.constant(3.0) for name in model._counts_everywhere(targets)}
    ours, plain = with_and_without(model, functools.partial(model._gradients, data, counts))
    assert_all_close(ours, plain)


def test_the_masked_lm_head_computes_only_masked_positions():
    inputs = model_inputs((7, 4, 1), (5, 3, 1))
    targets = pretraining_targets(inputs)
    model = LxmertPretrainer(CONFIG)
    outputs = model.outputs_at_targets(inputs, targets, training=False)
    masked = int((targets["masked_lm_labels"] >= 0).sum())
    assert outputs["masked_lm_logits"].shape == (masked, CONFIG.vocab_size)
    assert outputs["region_feature_predictions"].shape[0] == targets["region_feature_mask"].sum()


def test_xla_takes_the_path_of_fixed_shapes():
    model = LxmertAnswerClassifier(SMALL)
    inputs = answer_inputs()
    expected = model(inputs)
    model.compile(jit_compile=True)
    np.testing.assert_allclose(model.predict_on_batch(inputs), expected, rtol=0, atol=1e-5)
