"""Losses, gradients and twenty optimizer steps against the reference implementation's."""

import json

import numpy as np
import pytest
import tensorflow as tf

from lxmert_tf import LxmertConfig, LxmertPretrainer
from lxmert_tf.checkpoints.reference_names import pretrainer_variables
from lxmert_tf.tasks.pretraining_losses import LOSSES
from lxmert_tf.training.optimizer import BertAdamW
from lxmert_tf.training.schedule import WarmupLinearDecay
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

    def __init__(self):
        self.directory = golden.golden_directory("small")
        self.model = LxmertPretrainer(LxmertConfig.from_file(self.directory / "config.json"))
        self.variables = list(pretrainer_variables(self.model))
        golden.load_weights(self.variables, self.directory)
        # The reference's tables have padding_idx=0.
        self.model.backbone.language_encoder.embeddings.freeze_first_rows = True
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


def test_each_loss_equals_the_reference(reference):
    losses = reference.losses()
    assert set(losses) == set(LOSS_NAMES)
    for ours, theirs in LOSS_NAMES.items():
        expected = reference.outputs[f"loss_{theirs}"]
        np.testing.assert_allclose(losses[ours], expected, rtol=1e-5, err_msg=ours)
    total = sum(losses.values())
    np.testing.assert_allclose(total, reference.outputs["loss_total"], rtol=1e-6)


def test_each_gradient_equals_the_reference(reference):
    from safetensors.numpy import load_file

    with tf.GradientTape() as tape:
        total = tf.add_n(list(reference.losses().values()))
    gradients = tape.gradient(total, [named.variable for named in reference.variables])
    expected = load_file(reference.directory / "gradients.safetensors")
    compared = set()
    for named, gradient in zip(reference.variables, gradients):
        for name, value in named.split(tf.convert_to_tensor(gradient).numpy()).items():
            # Softmax ignores what a key's bias adds to all scores: its gradient is zero, and what
            # both sides have there is rounding, hence the absolute part.
            scale = np.abs(expected[name]).max()
            error = np.abs(value - expected[name]).max()
            assert error <= 1e-4 * scale + 1e-7, f"{name}: {error} of {scale}"
            compared.add(name)
    assert compared == set(expected) - {"cls.predictions.decoder.weight"}


def test_twenty_steps_of_the_optimizer_follow_the_reference(reference):
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


def test_by_default_the_first_rows_of_the_tables_are_trained():
    model = LxmertPretrainer(LxmertConfig.from_dict(golden.TINY))
    embeddings = model.backbone.language_encoder.embeddings
    ids = tf.zeros([1, 1], tf.int32)

    def gradient_of_position_zero():
        with tf.GradientTape() as tape:
            # The square, since a LayerNorm's outputs sum to a constant.
            total = tf.reduce_sum(embeddings(ids, ids)[..., 0] ** 2)
        return tf.convert_to_tensor(tape.gradient(total, embeddings.position_embeddings))[0]

    assert np.abs(gradient_of_position_zero()).max() > 0
    embeddings.freeze_first_rows = True
    assert np.abs(gradient_of_position_zero()).max() == 0
