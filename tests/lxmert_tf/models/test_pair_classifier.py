"""Statements about two images: the same numbers as two runs of the backbone, and one reading."""

import numpy as np
import pytest
import tensorflow as tf
from tensorflow import keras

import lxmert_tf
from lxmert_tf import (
    LxmertAnswerClassifier,
    LxmertBackbone,
    LxmertPairClassifier,
    LxmertPretrainer,
)
from lxmert_tf.errors import InputError
from lxmert_tf.models.presets import load_preset
from tests.lxmert_tf.samples import CONFIG, config, model_inputs

B, T, R, H = 3, 7, 5, CONFIG.hidden_size
REGIONS = ("region_features", "region_boxes", "region_mask")


def pair_inputs():
    """Two images that differ in everything, also in how many regions are there."""
    left, right = model_inputs(), model_inputs(regions=(2, 5, 4), seed=1)
    return {**left, **{name: np.stack([left[name], right[name]], axis=1) for name in REGIONS}}


def of_image(inputs, number):
    return {**inputs, **{name: inputs[name][:, number] for name in REGIONS}}


@pytest.fixture(scope="module")
def model():
    keras.utils.set_random_seed(1)
    return LxmertPairClassifier(CONFIG)


def head_in_numpy(model, pooled):
    """The release's `logit_fc` on [B, 2H], in float64."""
    dense, norm, answers = (
        [w.astype(np.float64) for w in layer.get_weights()]
        for layer in (
            model.answer_head.transform,
            model.answer_head.transform_norm,
            model.answer_head.answers,
        )
    )
    hidden = pooled.astype(np.float64) @ dense[0] + dense[1]
    hidden = np.asarray(tf.nn.gelu(hidden, approximate=False))
    hidden = (hidden - hidden.mean(-1, keepdims=True)) / hidden.std(-1, keepdims=True)
    return (hidden * norm[0] + norm[1]) @ answers[0] + answers[1]


def test_logits_equal_those_of_two_runs_of_the_backbone(model):
    inputs = pair_inputs()
    pooled = [model.backbone(of_image(inputs, i))["pooled_output"].numpy() for i in (0, 1)]
    expected = head_in_numpy(model, np.concatenate(pooled, axis=-1))
    logits = model(inputs)
    assert (logits.shape, logits.dtype) == ((B, 2), tf.float32)
    np.testing.assert_allclose(logits, expected, rtol=0, atol=1e-5)
    # The release runs [B * 2] sentences and images and reshapes what is pooled.
    interleaved = {
        name: inputs[name].reshape(2 * B, *inputs[name].shape[2:])
        if name in REGIONS
        else np.repeat(inputs[name], 2, axis=0)
        for name in inputs
    }
    pooled = model.backbone(interleaved)["pooled_output"].numpy().reshape(B, 2 * H)
    np.testing.assert_allclose(logits, head_in_numpy(model, pooled), rtol=0, atol=1e-5)
    # Which image is the first matters.
    swapped = {**inputs, **{name: inputs[name][:, ::-1] for name in REGIONS}}
    assert np.abs(model(swapped) - logits).max() > 0.01


def test_the_sentence_is_read_once(model, monkeypatch):
    read = []
    encode_text = LxmertBackbone.encode_text

    def counted(self, token_ids, *args, **kwargs):
        read.append(token_ids.shape)
        return encode_text(self, token_ids, *args, **kwargs)

    monkeypatch.setattr(LxmertBackbone, "encode_text", counted)
    model(pair_inputs())
    assert read == [(B, T)]


def test_attentions_are_those_of_each_image(model):
    inputs = pair_inputs()
    outputs = model(inputs, output_attentions=True)
    assert set(outputs) == {"answer_logits", "attentions"}
    # Without attentions less is computed, in sums of another order.
    np.testing.assert_allclose(outputs["answer_logits"], model(inputs), rtol=0, atol=1e-5)
    for i in (0, 1):
        expected = model.backbone(of_image(inputs, i), output_attentions=True)["attentions"]
        assert set(expected) == set(outputs["attentions"])
        for kind, layers in expected.items():
            for ours, theirs in zip(outputs["attentions"][kind], layers, strict=True):
                ours = ours if kind == "language" else ours[:, i]
                np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-6, err_msg=kind)


def test_left_out_inputs_are_zeros_and_ones(model):
    inputs = pair_inputs()
    filled = {
        **inputs,
        "segment_ids": np.zeros_like(inputs["segment_ids"]),
        "region_mask": np.ones_like(inputs["region_mask"]),
    }
    short = {k: v for k, v in inputs.items() if k not in ("segment_ids", "region_mask")}
    np.testing.assert_array_equal(model(short), model(filled))
    assert np.abs(model(short) - model(inputs)).max() > 1e-3


@pytest.mark.parametrize("name", ["token_ids", "padding_mask", "region_features", "region_boxes"])
def test_a_missing_input_is_named(model, name):
    inputs = {key: value for key, value in pair_inputs().items() if key != name}
    with pytest.raises(ValueError, match=f"inputs lack {name}; given are"):
        model(inputs)


@pytest.mark.parametrize("images", [None, 1, 3])
def test_another_number_of_images_is_refused(model, images):
    inputs = model_inputs()
    if images:
        inputs |= {name: np.stack([inputs[name]] * images, axis=1) for name in REGIONS}
    with pytest.raises(ValueError, match=r"they must be \[B, 2, R, 4\]"):
        model(inputs)


def test_a_graph_for_all_sizes_computes_what_the_eager_model_does(model):
    inputs = pair_inputs()
    spec = {
        name: tf.TensorSpec(
            [None, 2, None, *value.shape[3:]] if name in REGIONS else [None, None], value.dtype
        )
        for name, value in inputs.items()
    }
    compiled = tf.function(model, input_signature=[spec])
    np.testing.assert_allclose(compiled(inputs), model(inputs), rtol=0, atol=1e-5)
    one = {name: value[:1] for name, value in inputs.items()}
    np.testing.assert_allclose(compiled(one), model(one), rtol=0, atol=1e-5)


@pytest.mark.slow
def test_fit_learns_to_judge_statements():
    keras.utils.set_random_seed(1)
    model = LxmertPairClassifier(config(language_layers=0, relationship_layers=0, cross_layers=1))
    inputs, labels = pair_inputs(), np.int32([1, 0, 1])
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(0.01), loss, ["accuracy"])
    logits = model(inputs).numpy().astype(np.float64)
    by_hand = np.mean(np.log(np.exp(logits).sum(-1)) - logits[np.arange(B), labels])
    before = model.evaluate(inputs, labels, verbose=0, return_dict=True)
    assert before["loss"] == pytest.approx(by_hand, rel=1e-5)
    frozen = [v.numpy() for v in model.non_trainable_variables]
    model.fit(inputs, labels, epochs=20, verbose=0)
    after = model.evaluate(inputs, labels, verbose=0, return_dict=True)
    assert after["loss"] < 0.5 * before["loss"] and after["accuracy"] == 1
    # The last layer's vision side, which no output depends on.
    assert {"vision_" in v.name for v in model.non_trainable_variables} == {True}
    for value, variable in zip(frozen, model.non_trainable_variables, strict=True):
        np.testing.assert_array_equal(value, variable)


def test_every_trainable_weight_gets_a_gradient(model):
    with tf.GradientTape() as tape:
        loss = tf.reduce_mean((model(pair_inputs(), training=True) - 0.3) ** 4)
    gradients = tape.gradient(loss, model.trainable_variables)
    dead = [
        variable.name
        for variable, gradient in zip(model.trainable_variables, gradients)
        if gradient is None or not tf.reduce_any(tf.convert_to_tensor(gradient) != 0)
    ]
    assert dead == []


def test_its_answers_are_false_and_true(model):
    assert model.answers == ["False", "True"]
    assert model.config == config(num_answers=2)
    for wrong in (["True", "False"], ["no", "yes"], []):
        with pytest.raises(ValueError, match="False and True, in this order"):
            LxmertPairClassifier(CONFIG, answers=wrong)


def test_a_preset_brings_the_model_back(model, tmp_path):
    model.save_preset(tmp_path / "preset")
    for load in (LxmertPairClassifier.from_preset, load_preset):
        back = load(tmp_path / "preset")
        assert type(back) is lxmert_tf.LxmertPairClassifier
        assert (back.config, back.answers) == (model.config, model.answers)
        np.testing.assert_array_equal(back(pair_inputs()), model(pair_inputs()))


@pytest.mark.parametrize(
    ("cls", "arguments"),
    [
        (LxmertPretrainer, {"answers": [str(i) for i in range(CONFIG.num_answers)]}),
        pytest.param(LxmertAnswerClassifier, {}, marks=pytest.mark.slow),
        pytest.param(LxmertBackbone, {}, marks=pytest.mark.slow),
    ],
)
def test_a_preset_of_another_class_gives_its_backbone_whatever_its_answers(
    cls, arguments, tmp_path
):
    source = cls(CONFIG, **arguments)
    source.save_preset(tmp_path / "preset")
    target = LxmertPairClassifier.from_preset(tmp_path / "preset")
    assert target.answers == ["False", "True"]
    backbone = getattr(source, "backbone", source)
    # Classifiers compute the first token alone, in sums of another order.
    expected = backbone(model_inputs())["pooled_output"]
    pooled = target.backbone(model_inputs())["pooled_output"]
    np.testing.assert_allclose(pooled, expected, rtol=0, atol=1e-5)
    with pytest.raises(InputError, match="False and True, in this order"):
        LxmertPairClassifier.from_preset(tmp_path / "preset", answers=["no", "yes"])
