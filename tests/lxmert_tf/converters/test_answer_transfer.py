"""Transfer of an answer head to another table: what is copied, what starts at zero, the result."""

import functools

import numpy as np
import pytest
from tensorflow import keras

from lxmert_tf import (
    LxmertAnswerClassifier,
    LxmertBackbone,
    LxmertPairClassifier,
    LxmertPretrainer,
)
from lxmert_tf.converters.answer_transfer import (
    AnswerTransfer,
    answer_model_from_preset,
    transfer_answer_head,
)
from lxmert_tf.converters.weight_names import model_variables
from lxmert_tf.data.answer_table import read_answer_table
from lxmert_tf.errors import InputError
from tests.lxmert_tf.samples import config, model_inputs, one_line
from tests.reference import reference_file

KNOWN = ["2", "gray", "dog", "", "The Beatles", "beatles", "yes"]
# Answers of the new table, each with the equal one of the old table.
WANTED = {
    "yes": "yes",
    "zebra": None,
    "Two": "2",
    "a dog.": "dog",
    "dog": "dog",
    "grey": "gray",
    "": "",
    # The exact match wins over "beatles", its normal form.
    "The Beatles": "The Beatles",
    # The first of two with this normal form.
    "BEATLES": "The Beatles",
    "two dogs": None,
}
MISSING = ("zebra", "two dogs")
PIECES = [f"piece{i}" for i in range(50)]


def sizes(**changes):
    return config(language_layers=1, cross_layers=1, **{"num_answers": len(KNOWN), **changes})


@pytest.fixture(scope="module")
def source():
    """A function that returns a model with random weights."""

    @functools.cache
    def build(cls, has_answers=True):
        arguments = {"answers": KNOWN} if has_answers else {}
        model = cls(sizes(), vocabulary=PIECES, extractor={"name": "grid"}, **arguments)
        # Initial biases are zero and initial norms the identity, which hides what is not copied.
        random = np.random.default_rng(2)
        model.set_weights([random.normal(size=variable.shape) for variable in model.weights])
        return model

    return build


@pytest.fixture(scope="module")
def preset(source, tmp_path_factory):
    """A function that returns the preset of the model that `source` returns."""

    @functools.cache
    def save(cls, has_answers=True):
        directory = tmp_path_factory.mktemp("presets") / "preset"
        source(cls, has_answers).save_preset(directory)
        return directory

    return save


def logits_of(model, inputs):
    outputs = model(inputs)
    return (outputs["answer_logits"] if isinstance(outputs, dict) else outputs).numpy()


def assert_transferred(source, target):
    """Check that known answers have the same logits as before and that the others have zeros."""
    before, after = (logits_of(m, model_inputs()) for m in (source, target))
    expected = [
        np.zeros(len(before)) if known is None else before[:, KNOWN.index(known)]
        for known in WANTED.values()
    ]
    # Matrix products of another width may sum in another order.
    np.testing.assert_allclose(after, np.stack(expected, axis=1), rtol=0, atol=1e-5)


@pytest.mark.parametrize("cls", [LxmertPretrainer, LxmertAnswerClassifier])
def test_known_answers_keep_their_logits_and_others_start_at_zero(source, preset, cls):
    target, transfer = answer_model_from_preset(preset(cls), list(WANTED))
    assert transfer == AnswerTransfer(found=8, missing=MISSING)
    assert_transferred(source(cls), target)
    assert type(target) is LxmertAnswerClassifier
    assert (target.answers, target.vocabulary) == (list(WANTED), PIECES)
    assert target.extractor == {"name": "grid"}
    assert target.config == sizes(num_answers=len(WANTED))


def test_a_head_is_copied_between_models_alone(source):
    target = LxmertAnswerClassifier(sizes(num_answers=2), answers=["zebra", "yes"])
    backbone = [v.numpy() for v in target.backbone.weights]
    source = source(LxmertPretrainer)
    assert transfer_answer_head(source, target) == AnswerTransfer(1, ("zebra",))
    head, theirs = target.answer_head, source.answer_head
    for own, their in zip(
        [*head.transform.weights, *head.transform_norm.weights],
        [*theirs.transform.weights, *theirs.transform_norm.weights],
        strict=True,
    ):
        np.testing.assert_array_equal(own, their)
    kernel, bias = head.answers.get_weights()
    np.testing.assert_array_equal(kernel[:, 1], theirs.answers.kernel.numpy()[:, 6])
    assert bias[1] == theirs.answers.bias.numpy()[6]
    assert not kernel[:, 0].any() and bias[0] == 0
    for value, variable in zip(backbone, target.backbone.weights, strict=True):
        np.testing.assert_array_equal(value, variable)


def test_heads_of_different_widths_or_without_answers_are_refused(source):
    target = LxmertAnswerClassifier(config(hidden_size=8, num_answers=1), answers=["yes"])
    with pytest.raises(ValueError, match=r"head is \(16, 32\), the target's \(8, 16\)"):
        transfer_answer_head(source(LxmertPretrainer), target)
    with pytest.raises(ValueError, match="both models must have answers"):
        transfer_answer_head(source(LxmertPretrainer, has_answers=False), target)


@pytest.mark.parametrize(
    ("cls", "has_answers"),
    [(LxmertBackbone, True), (LxmertPairClassifier, False), (LxmertPretrainer, False)],
    ids=["no head", "a head on two images", "no answers"],
)
def test_without_a_head_and_answers_only_the_backbone_is_used(source, preset, cls, has_answers):
    target, transfer = answer_model_from_preset(preset(cls, has_answers), list(WANTED))
    assert transfer is None
    model = source(cls, has_answers)
    for theirs, ours in zip(
        model_variables(getattr(model, "backbone", model)),
        model_variables(target.backbone),
        strict=True,
    ):
        np.testing.assert_array_equal(ours.variable, theirs.variable, err_msg=str(ours.names))
    assert set(target.answer_head.answers.bias.numpy()) == {0}


def test_arguments_override_those_of_the_preset(preset, tmp_path):
    target, _ = answer_model_from_preset(
        preset(LxmertAnswerClassifier), ["yes"], dtype="mixed_bfloat16", extractor=None
    )
    assert (target.compute_dtype, target.extractor) == ("bfloat16", None)
    assert target.trainable_weights[0].dtype == "float32"
    with pytest.raises(InputError) as raised:
        answer_model_from_preset(tmp_path / "absent", ["yes"])
    assert "absent" in one_line(raised)


def test_the_copy_can_be_trained(preset):
    target, _ = answer_model_from_preset(preset(LxmertAnswerClassifier), ["yes", "zebra"])
    target.compile(keras.optimizers.SGD(0.1), "mse", run_eagerly=True)
    target.fit(model_inputs(), np.ones([3, 2], np.float32), verbose=0)
    kernel = target.answer_head.answers.kernel.numpy()
    assert np.abs(kernel[:, 1]).max() > 0


SMALLEST = {"hidden_size": 8, "language_layers": 0, "relationship_layers": 0, "cross_layers": 1}


@pytest.fixture(scope="module")
def published():
    """A model with the answers of the published pre-training."""
    known = read_answer_table(reference_file("all_ans.json"))
    return LxmertAnswerClassifier(config(**SMALLEST, num_answers=len(known)), answers=known)


@pytest.mark.parametrize(
    ("name", "found", "missing"),
    [
        ("vqa_trainval_label2ans.json", 3124, ("", "visilab", "5 star", "1 4", "1 world")),
        ("gqa_trainval_label2ans.json", 1736, ("hair clip", "napkin dispenser", "snakes")),
    ],
)
def test_answers_of_vqa_and_gqa_that_the_pretraining_table_knows(published, name, found, missing):
    wanted = read_answer_table(reference_file(name))
    target = LxmertAnswerClassifier(config(**SMALLEST, num_answers=len(wanted)), answers=wanted)
    transfer = transfer_answer_head(published, target)
    assert transfer.found == found
    assert transfer.found + len(transfer.missing) == len(wanted)
    assert transfer.missing[: len(missing)] == missing
