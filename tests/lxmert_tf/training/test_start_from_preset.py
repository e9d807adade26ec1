"""Training that starts from the preset of a compiled and trained model moves the weights.

Such a model has an optimizer at the end of its schedule, which must not come along.
"""

import json
import math

import numpy as np
import pytest
import tensorflow as tf
from tensorflow import keras

from lxmert_tf import (
    LxmertBackbone,
    LxmertPairClassifier,
    LxmertPretrainer,
)
from lxmert_tf.converters.weight_names import model_variables
from lxmert_tf.models.presets import describe_preset, load_preset
from lxmert_tf.training.config import FinetuningConfig, PretrainingConfig, StageConfig
from lxmert_tf.training.dataset_info import read_dataset_info
from lxmert_tf.training.finetune import finetune
from lxmert_tf.training.optimization import BertAdamW, WarmupLinearDecay
from lxmert_tf.training.pretrain import PretrainingRecipe, pretrain

pytestmark = pytest.mark.e2e

SETTINGS = {"max_regions": 8, "batch_size": 32, "peak_learning_rate": 1e-3, "warmup": 0.0}


@pytest.fixture(scope="module")
def pair_preset(finished, tmp_path_factory):
    """The preset of a pair classifier that was trained to the end of its schedule."""
    start = LxmertPretrainer.from_preset(finished / "preset")
    model = LxmertPairClassifier(start.config, vocabulary=start.vocabulary)
    inputs = {
        "token_ids": np.ones([2, 4], np.int32),
        "padding_mask": np.ones([2, 4], np.int32),
        "region_features": np.ones([2, 2, 3, model.config.region_feature_size], np.float32),
        "region_boxes": np.ones([2, 2, 3, 4], np.float32),
    }
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    # Eagerly: tracing takes longer than the steps.
    model.compile(BertAdamW(WarmupLinearDecay(1e-3, 2, 0.0)), loss, run_eagerly=True)
    model.fit(tf.data.Dataset.from_tensors((inputs, np.zeros([2]))).repeat(2), verbose=0)
    assert model.optimizer.iterations.numpy() == 2
    preset = tmp_path_factory.mktemp("presets") / "pairs"
    model.save_preset(preset)
    return preset


def check_trained(model, directory, before: dict[str, np.ndarray], sentences, batch_size=32):
    """Check that weights moved, the loss is finite, and the optimizer counts these steps alone."""
    steps = math.ceil(sentences / batch_size)
    assert model.optimizer.iterations.numpy() == steps
    (line,) = map(json.loads, (directory / "log.jsonl").read_text().splitlines())
    assert line["step"] == steps and np.isfinite(line["loss"])
    after = backbone_weights(model)
    assert after.keys() == before.keys()
    moved = [np.abs(after[name] - before[name]).max() > 1e-5 for name in before]
    # Not the vision side of the last layer, which pooled outputs do not depend on.
    assert np.mean(moved) > 0.5
    assert all(np.isfinite(value).all() for value in after.values())


def backbone_weights(model) -> dict[str, np.ndarray]:
    # By the release's names: the order of Keras' weights depends on what is frozen.
    named = model_variables(getattr(model, "backbone", model))
    return {each.names[0]: each.variable.numpy() for each in named}


def test_fine_tuning_on_questions(finished, files, tmp_path):
    config = FinetuningConfig(init_from=str(finished / "preset"), epochs=1, **SETTINGS)
    before = backbone_weights(load_preset(finished / "preset"))
    model, transfer = finetune(files, (), config, directory=tmp_path)
    assert transfer.found == len(model.answers) and not transfer.missing
    check_trained(model, tmp_path, before, read_dataset_info(files, config).sentences)


@pytest.mark.slow
def test_fine_tuning_on_statements(pair_preset, pair_files, tmp_path):
    config = FinetuningConfig(
        task="statements", init_from=str(pair_preset), epochs=1, **{**SETTINGS, "batch_size": 6}
    )
    before = backbone_weights(load_preset(pair_preset))
    model, _ = finetune(pair_files, (), config, directory=tmp_path)
    check_trained(model, tmp_path, before, read_dataset_info(pair_files, config).sentences, 6)


@pytest.mark.slow
def test_pretraining(finished, files, tmp_path):
    preset = finished / "preset"
    config = PretrainingConfig(init_from=str(preset), stages=(StageConfig(1),), **SETTINGS)
    before = backbone_weights(load_preset(preset))
    model = pretrain(files, (), config, directory=tmp_path)
    assert model.answers == describe_preset(preset).answers
    check_trained(model, tmp_path, before, read_dataset_info(files, config).sentences)


@pytest.mark.slow
def test_pretraining_takes_over_weights_vocabulary_and_answers(finished, files, tmp_path):
    start = LxmertPretrainer.from_preset(finished / "preset")
    model = load_model(finished / "preset", files)
    assert (model.vocabulary, model.answers) == (start.vocabulary, start.answers)
    for ours, theirs in zip(model.get_weights(), start.get_weights(), strict=True):
        np.testing.assert_array_equal(ours, theirs)

    backbone = LxmertBackbone.from_preset(finished / "preset", answers=None)
    backbone.save_preset(tmp_path / "backbone")
    model = load_model(tmp_path / "backbone", files)
    assert model.vocabulary == start.vocabulary
    # Those of the data.
    assert sorted(model.answers) == sorted(start.answers)
    for ours, theirs in zip(model.backbone.get_weights(), backbone.get_weights(), strict=True):
        np.testing.assert_array_equal(ours, theirs)


def load_model(preset, files) -> LxmertPretrainer:
    config = PretrainingConfig(init_from=str(preset), **SETTINGS)
    recipe = PretrainingRecipe(config)
    info = read_dataset_info(files, config, recipe.needs_answers())
    return recipe.load_model(describe_preset(preset), info)
