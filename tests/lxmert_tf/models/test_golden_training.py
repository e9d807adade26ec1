"""Losses, gradients and optimizer steps against the reference implementation's."""

import dataclasses
import json
import pathlib
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf

from lxmert_tf import LxmertConfig, LxmertPretrainer
from lxmert_tf.converters.weight_names import model_variables
from lxmert_tf.models.pretrainer_losses import LOSSES
from lxmert_tf.training.optimization import BertAdamW, WarmupLinearDecay
from tests import golden

LOSS_NAMES = {
    "masked_lm": "masked_lm",
    "matched": "matched",
    "objects": "obj",
    "attributes": "attr",
    "region_features": "feat",
    "answers": "answer",
}
TARGETS = {
    "masked_lm_labels": "lm_labels",
    "matched_labels": "matched_labels",
    "answer_labels": "answer_labels",
    "object_labels": "obj_labels",
    "object_confidences": "obj_weights",
    "attribute_labels": "attr_labels",
    "attribute_confidences": "attr_weights",
    "region_feature_targets": "feat_target",
    "region_feature_mask": "feat_mask",
}


class Reference:
    """The golden model with its batch."""

    def __init__(self, size: str = "small"):
        self.directory = golden.golden_directory(size)
        config = LxmertConfig.from_file(self.directory / "config.json")
        # Off, as in the reference's numbers: also in steps that train.
        config = dataclasses.replace(config, hidden_dropout=0.0, attention_dropout=0.0)
        self.model = LxmertPretrainer(config)
        self.variables = list(model_variables(self.model))
        golden.load_weights(self.variables, self.directory)
        # The reference's tables have padding_idx=0.
        self.model.backbone.language_embeddings.freeze_first_rows = True
        self.inputs = golden.model_inputs(self.directory)
        arrays = np.load(self.directory / "inputs.npz")
        self.targets = {ours: tf.constant(arrays[theirs]) for ours, theirs in TARGETS.items()}
        self.outputs = np.load(self.directory / "outputs.npz")

    def losses(self):
        outputs = self.model(self.inputs)
        return {name: loss(outputs, self.targets).mean() for name, loss in LOSSES.items()}


@pytest.fixture
def reference():
    return Reference()


@pytest.fixture(params=["small", golden.PUBLISHED])
def reference_of_any_size(request):
    return Reference(request.param)


def test_each_loss_equals_the_reference(reference_of_any_size):
    reference = reference_of_any_size
    losses = reference.losses()
    assert set(losses) == set(LOSS_NAMES)
    for ours, theirs in LOSS_NAMES.items():
        expected = reference.outputs[f"loss_{theirs}"]
        np.testing.assert_allclose(losses[ours], expected, rtol=1e-5, err_msg=ours)
    total = sum(losses.values())
    np.testing.assert_allclose(total, reference.outputs["loss_total"], rtol=1e-6)


def test_each_gradient_equals_the_reference(reference_of_any_size):
    from safetensors.numpy import load_file

    reference = reference_of_any_size
    with tf.GradientTape() as tape:
        total = tf.add_n(list(reference.losses().values()))
    gradients = tape.gradient(total, [named.variable for named in reference.variables])
    expected = load_file(reference.directory / "gradients.safetensors")
    norms = gradient_norms(reference.directory, expected)
    compared = set()
    for named, gradient in zip(reference.variables, gradients):
        for name, value in named.split(tf.convert_to_tensor(gradient).numpy()).items():
            compared.add(name)
            np.testing.assert_allclose(
                np.linalg.norm(value), norms[name], rtol=1e-4, atol=1e-6, err_msg=name
            )
            if name not in expected:
                continue
            # Softmax ignores what a key's bias adds to all scores: its gradient is zero, and what
            # both sides have there is rounding, hence the absolute part.
            scale = np.abs(expected[name]).max()
            error = np.abs(value - expected[name]).max()
            assert error <= 1e-4 * scale + 1e-7, f"{name}: {error} of {scale}"
    assert compared == set(norms) - {"cls.predictions.decoder.weight"}


def gradient_norms(directory, gradients) -> dict[str, float]:
    """Of every gradient; at the published size large ones are known by their norms alone."""
    path = directory / "gradient_norms.json"
    if path.exists():
        return json.loads(path.read_text(encoding="utf-8"))
    return {name: float(np.linalg.norm(value)) for name, value in gradients.items()}


def test_each_step_of_the_optimizer_follows_the_reference(reference_of_any_size):
    reference = reference_of_any_size
    settings = json.loads((reference.directory / "optimizer.json").read_text(encoding="utf-8"))
    schedule = WarmupLinearDecay(settings["lr"], settings["t_total"], settings["warmup"])
    optimizer = BertAdamW(
        schedule,
        decay=settings["weight_decay"],
        clip_norm=settings["clip_norm"],
        beta_1=settings["beta1"],
        beta_2=settings["beta2"],
        epsilon=settings["eps"],
    )
    variables = reference.model.trainable_variables

    @tf.function
    def step():
        with tf.GradientTape() as tape:
            total = tf.add_n(list(reference.losses().values()))
        optimizer.apply_gradients(zip(tape.gradient(total, variables), variables))
        return total

    losses = [float(step()) for _ in range(settings["t_total"])]
    np.testing.assert_allclose(losses, reference.outputs["bertadam_losses"], rtol=1e-4)


@pytest.mark.slow
def test_keras_fit_takes_the_same_steps(reference):
    settings = json.loads((reference.directory / "optimizer.json").read_text(encoding="utf-8"))
    schedule = WarmupLinearDecay(settings["lr"], settings["t_total"], settings["warmup"])
    reference.model.compile(BertAdamW(schedule, decay=settings["weight_decay"]))
    batch = tf.data.Dataset.from_tensors((reference.inputs, reference.targets))
    history = [
        reference.model.fit(batch, verbose=0).history["loss"][0] for _ in range(settings["t_total"])
    ]
    np.testing.assert_allclose(history, reference.outputs["bertadam_losses"], rtol=1e-4)


def test_a_loss_of_weight_zero_is_off_and_others_are_weighted(reference):
    batch = tf.data.Dataset.from_tensors((reference.inputs, reference.targets))
    weights = {"masked_lm": 2.0, "answers": 0.0, "objects": 0.0, "attributes": 0.0}
    reference.model.compile("sgd", loss_weights=weights)
    told = reference.model.evaluate(batch, verbose=0, return_dict=True)
    expected = {name: float(value) for name, value in reference.losses().items()}
    total = 2 * expected["masked_lm"] + expected["matched"] + expected["region_features"]
    np.testing.assert_allclose(told["loss"], total, rtol=1e-6)
    assert not [name for name in told if name.startswith(("answers", "objects", "attributes"))]
    with pytest.raises(ValueError, match="'masked_ml'"):
        reference.model.compile("sgd", loss_weights={"masked_ml": 1.0})


@pytest.mark.slow
def test_two_replicas_take_the_steps_of_one():
    """Eight examples whose numbers of masked words differ between the halves."""
    golden.golden_directory("small")
    code = """
import sys
import numpy as np
import tensorflow as tf

count = int(sys.argv[1])
[cpu] = tf.config.list_physical_devices("CPU")
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * count)
from lxmert_tf.training.optimization import BertAdamW
from lxmert_tf.training.strategy import mirrored_strategy
from tests.lxmert_tf.models.test_golden_training import Reference

with mirrored_strategy().scope():
    reference = Reference()
    reference.model.compile(BertAdamW(1e-4))
rows = [0, 1, 2, 3, 4, 0, 2, 4]
take = lambda arrays: {name: np.take(value, rows, axis=0) for name, value in arrays.items()}
pairs = (take(reference.inputs), take(reference.targets))
batch = tf.data.Dataset.from_tensor_slices(pairs).batch(8)
history = [reference.model.fit(batch, verbose=0).history for _ in range(4)]
print([[round(values[0], 5) for values in step.values()] for step in history])
"""
    told = [
        json.loads(
            subprocess.run(
                [sys.executable, "-c", code, str(count)],
                capture_output=True,
                text=True,
                check=True,
                cwd=pathlib.Path(__file__).parents[3],
            ).stdout.splitlines()[-1]
        )
        for count in (1, 2)
    ]
    np.testing.assert_allclose(told[0], told[1], rtol=1e-5, atol=2e-5)


def test_by_default_the_first_rows_of_the_tables_are_trained():
    model = LxmertPretrainer(LxmertConfig.from_dict(golden.TINY))
    embeddings = model.backbone.language_embeddings
    ids = tf.zeros([1, 1], tf.int32)

    def gradient_of_position_zero():
        with tf.GradientTape() as tape:
            # The square, since a LayerNorm's outputs sum to a constant.
            total = tf.reduce_sum(embeddings(ids, ids)[..., 0] ** 2)
        return tf.convert_to_tensor(tape.gradient(total, embeddings.position_embeddings))[0]

    assert np.abs(gradient_of_position_zero()).max() > 0
    embeddings.freeze_first_rows = True
    assert np.abs(gradient_of_position_zero()).max() == 0
