"""Pre-training steps: batches in parts, and dropout that depends on the step."""

import dataclasses

import numpy as np
import pytest
import tensorflow as tf
from tensorflow import keras

from lxmert_tf import LxmertConfig, LxmertPretrainer
from lxmert_tf.models.config import PRETRAINING_TASKS
from lxmert_tf.models.pretrainer_losses import LOSSES
from lxmert_tf.training.optimization import BertAdamW
from tests import golden

CONFIG = LxmertConfig.from_dict(golden.TINY)
WITHOUT_DROPOUT = dataclasses.replace(CONFIG, hidden_dropout=0.0, attention_dropout=0.0)


def pretraining_batch(config, size, length=6, regions=4):
    """(inputs, targets), with another number of hidden words and regions in each example."""
    random = np.random.default_rng(0)

    def draw(most, shape):
        return random.integers(0, most, shape, np.int32)

    inputs = {
        "token_ids": draw(config.vocab_size, [size, length]),
        "padding_mask": np.ones([size, length], np.int32),
        "region_features": random.normal(size=[size, regions, config.region_feature_size]),
        "region_boxes": random.uniform(size=[size, regions, 4]),
    }
    hidden = np.arange(length) < np.arange(size)[:, None] % length
    targets = {
        "masked_lm_labels": np.where(hidden, draw(config.vocab_size, [size, length]), -1),
        "matched_labels": draw(2, [size]),
        "object_labels": draw(config.num_objects, [size, regions]),
        "object_confidences": random.uniform(size=[size, regions]),
        "attribute_labels": draw(config.num_attributes, [size, regions]),
        "attribute_confidences": random.uniform(size=[size, regions]),
        "region_feature_targets": inputs["region_features"],
        "region_feature_mask": draw(2, [size, regions]),
        "answer_labels": draw(config.num_answers + 1, [size]) - 1,
    }

    def as_tensor(value):
        return tf.constant(value.astype(np.float32) if value.dtype == np.float64 else value)

    return tf.nest.map_structure(as_tensor, (inputs, targets))


def trained(config, batch, steps=3, **arguments):
    keras.utils.set_random_seed(1)
    model = LxmertPretrainer(config)
    # Eagerly, because a trace takes longer than the steps, unless a test asks for graphs.
    model.compile(BertAdamW(1e-2), **{"run_eagerly": True, **arguments})
    told = [model.train_on_batch(*batch, return_dict=True) for _ in range(steps)]
    return model, told


@pytest.mark.slow
@pytest.mark.parametrize("parts", [3, 5])
def test_a_batch_in_parts_takes_the_steps_of_the_whole(parts):
    # Seven examples with different numbers of masked words; five parts leave one of them empty.
    batch = pretraining_batch(CONFIG, size=7)
    whole, expected = trained(WITHOUT_DROPOUT, batch)
    cut, told = trained(WITHOUT_DROPOUT, batch, accumulation_steps=parts, run_eagerly=False)
    for ours, theirs in zip(cut.trainable_variables, whole.trainable_variables):
        np.testing.assert_allclose(ours, theirs, atol=2e-5, err_msg=ours.name)
    for ours, theirs in zip(told, expected):
        for name in theirs:
            np.testing.assert_allclose(ours[name], theirs[name], rtol=1e-4, err_msg=name)


def test_a_batch_in_parts_has_the_loss_of_the_whole_when_it_is_measured():
    batch = pretraining_batch(CONFIG, size=6)
    model, _ = trained(WITHOUT_DROPOUT, batch, accumulation_steps=3)
    in_parts = model.evaluate(*batch, verbose=0, return_dict=True)
    model.compile(model.optimizer, run_eagerly=True)
    whole = model.evaluate(*batch, verbose=0, return_dict=True)
    np.testing.assert_allclose(in_parts["loss"], whole["loss"], rtol=1e-6)


@pytest.mark.parametrize("parts", [pytest.param(1, marks=pytest.mark.slow), 2])
def test_a_loss_that_is_off_leaves_its_head_alone_until_it_is_on(parts):
    batch = pretraining_batch(CONFIG, size=6)
    model = LxmertPretrainer(CONFIG)
    before = model.answer_head.answers.kernel.numpy()
    optimizer = BertAdamW(1e-2)
    arguments = {"accumulation_steps": parts, "run_eagerly": True}
    model.compile(optimizer, loss_weights={"answers": 0.0}, **arguments)
    model.train_on_batch(*batch)
    np.testing.assert_array_equal(model.answer_head.answers.kernel, before)
    model.compile(optimizer, **arguments)
    model.train_on_batch(*batch)
    assert np.abs(model.answer_head.answers.kernel.numpy() - before).max() > 0


@pytest.mark.slow
def test_dropout_is_another_each_step_and_the_same_each_run():
    batch = pretraining_batch(CONFIG, size=6)

    def model_of(seed):
        keras.utils.set_random_seed(1)
        model = LxmertPretrainer(CONFIG)
        model.dropout_seed = seed
        # A rate of zero: only dropout can make a difference between the steps.
        model.compile(BertAdamW(0.0), run_eagerly=True)
        return model

    def losses(model):
        model.optimizer.iterations.assign(0)
        return [float(model.train_on_batch(*batch, return_dict=True)["loss"]) for _ in range(3)]

    model = model_of(seed=0)
    first = losses(model)
    assert len(set(first)) == 3
    assert losses(model) == first
    assert not set(losses(model_of(seed=1))) & set(first)


@pytest.mark.slow
def test_a_step_drops_the_same_whether_steps_came_before_it_or_not():
    batch = pretraining_batch(CONFIG, size=6)
    _, told = trained(CONFIG, batch, steps=3)
    keras.utils.set_random_seed(1)
    model = LxmertPretrainer(CONFIG)
    optimizer = BertAdamW(1e-2)
    model.compile(optimizer)
    model.train_on_batch(*batch)
    model.train_on_batch(*batch)
    fresh = LxmertPretrainer(CONFIG)
    fresh.compile(BertAdamW(1e-2))
    fresh.optimizer.build(fresh.trainable_variables)
    for ours, theirs in zip(fresh.variables, model.variables):
        ours.assign(theirs)
    for ours, theirs in zip(fresh.optimizer.variables, optimizer.variables):
        ours.assign(theirs)
    resumed = fresh.train_on_batch(*batch, return_dict=True)
    assert float(resumed["loss"]) == float(told[2]["loss"])


@pytest.mark.parametrize("parts", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_small_gradients_survive_in_float16(parts):
    batch = pretraining_batch(CONFIG, size=4)
    sizes = dataclasses.replace(WITHOUT_DROPOUT, initializer_range=0.2)
    # Without a scale, most gradients of this loss would be zeros in float16.
    weights = {**dict.fromkeys(LOSSES, 0.0), "matched": 1e-6}

    def step(**arguments):
        keras.utils.set_random_seed(1)
        model = LxmertPretrainer(sizes, **arguments)
        model.compile(
            keras.optimizers.SGD(1e6),
            loss_weights=weights,
            accumulation_steps=parts,
            run_eagerly=True,
        )
        before = model.get_weights()
        logs = model.train_on_batch(*batch, return_dict=True)
        return model, logs, [now - then for now, then in zip(model.get_weights(), before)]

    _, _, expected = step()
    model, logs, moves = step(dtype="mixed_float16")
    assert isinstance(model.optimizer, keras.mixed_precision.LossScaleOptimizer)
    assert np.isfinite(list(logs.values())).all()
    assert sum(np.abs(move).max() > 0 for move in expected) > 20
    for weight, ours, theirs in zip(model.weights, moves, expected):
        error = np.linalg.norm(ours - theirs)
        assert error <= 0.1 * np.linalg.norm(theirs) + 1e-6, weight.name


def test_there_is_a_loss_for_each_task_of_the_configuration():
    assert tuple(LOSSES) == PRETRAINING_TASKS
