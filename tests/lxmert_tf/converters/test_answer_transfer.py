"""An answer head for another table: what is copied, what starts at zero, what is said of it."""

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
from lxmert_tf.data.answer_table import read_answer_table
from lxmert_tf.errors import InputError
from tests.lxmert_tf.samples import config, model_inputs, one_line
from tests.reference import reference_file

KNOWN = ["2", "gray", "dog", "", "The Beatles", "beatles", "yes"]
# Each answer of the new table, and the one of the old that it should be.
WANTED = {
    "yes": "yes",
    "zebra": None,
    "Two": "2",
    "a dog.": "dog",
    "dog": "dog",
    "grey": "gray",
    "": "",
    # As it stands, although "beatles" is its normal spelling.
    "The Beatles": "The Beatles",
    # Of two with this spelling the first.
    "BEATLES": "The Beatles",
    "two dogs": None,
}
MISSING = ("zebra", "two dogs")
PIECES = [f"piece{i}" for i in range(50)]


def make(cls, **changes):
    sizes = config(language_layers=1, cross_layers=1, num_answers=len(KNOWN))
    model = cls(sizes, **{"vocabulary": PIECES, "extractor": {"name": "grid"}, **changes})
    # Fresh biases are zero and fresh norms the identity, which would hide what is not copied.
    random = np.random.default_rng(2)
    for variable in model.weights:
        variable.assign(random.normal(size=variable.shape))
    return model


def logits_of(model, inputs):
    outputs = model(inputs)
    return (outputs["answer_logits"] if isinstance(outputs, dict) else outputs).numpy()


def assert_transferred(source, target):
    """Known answers get the logits that they had, others zero: head and backbone are the same."""
    before, after = (logits_of(m, model_inputs()) for m in (source, target))
    expected = [
        np.zeros(len(before)) if known is None else before[:, KNOWN.index(known)]
        for known in WANTED.values()
    ]
    # Products of another width may add up in another order.
    np.testing.assert_allclose(after, np.stack(expected, axis=1), rtol=0, atol=1e-5)


@pytest.mark.parametrize("cls", [LxmertPretrainer, LxmertAnswerClassifier])
def test_known_answers_keep_their_logits_and_others_start_at_zero(cls, tmp_path):
    source = make(cls, answers=KNOWN)
    source.save_preset(tmp_path / "preset")
    target, transfer = answer_model_from_preset(tmp_path / "preset", list(WANTED))
    assert transfer == AnswerTransfer(found=8, missing=MISSING)
    assert_transferred(source, target)
    assert type(target) is LxmertAnswerClassifier
    assert (target.answers, target.vocabulary) == (list(WANTED), PIECES)
    assert target.extractor == {"name": "grid"}
    assert target.config == config(language_layers=1, cross_layers=1, num_answers=len(WANTED))


def test_a_head_is_copied_between_models_alone():
    source = make(LxmertPretrainer, answers=KNOWN)
    sizes = config(language_layers=1, cross_layers=1, num_answers=2)
    target = LxmertAnswerClassifier(sizes, answers=["zebra", "yes"])
    backbone = [v.numpy() for v in target.backbone.weights]
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


def test_heads_of_different_widths_are_refused():
    source = make(LxmertPretrainer, answers=KNOWN)
    target = LxmertAnswerClassifier(config(hidden_size=8, num_answers=1), answers=["yes"])
    with pytest.raises(ValueError, match=r"head is \(16, 32\), the target's \(8, 16\)"):
        transfer_answer_head(source, target)


@pytest.mark.parametrize(
    ("cls", "arguments"),
    [(LxmertBackbone, {"answers": KNOWN}), (LxmertPairClassifier, {}), (LxmertPretrainer, {})],
    ids=["no head", "a head on two images", "no answers"],
)
def test_without_a_head_and_answers_only_the_backbone_is_taken(cls, arguments, tmp_path):
    source = make(cls, **arguments)
    source.save_preset(tmp_path / "preset")
    target, transfer = answer_model_from_preset(tmp_path / "preset", list(WANTED))
    assert transfer is None
    expected = getattr(source, "backbone", source)(model_inputs())
    for name, value in target.backbone(model_inputs()).items():
        np.testing.assert_array_equal(value, expected[name], err_msg=name)
    assert set(target.answer_head.answers.bias.numpy()) == {0}


def test_arguments_replace_what_the_preset_says(tmp_path):
    make(LxmertAnswerClassifier, answers=KNOWN).save_preset(tmp_path / "preset")
    target, _ = answer_model_from_preset(
        tmp_path / "preset", ["yes"], dtype="mixed_bfloat16", extractor=None
    )
    assert (target.compute_dtype, target.extractor) == ("bfloat16", None)
    assert target.trainable_weights[0].dtype == "float32"
    with pytest.raises(InputError) as raised:
        answer_model_from_preset(tmp_path / "absent", ["yes"])
    assert "no such directory" in one_line(raised)


def test_the_copy_can_be_trained_on(tmp_path):
    make(LxmertAnswerClassifier, answers=KNOWN).save_preset(tmp_path / "preset")
    target, _ = answer_model_from_preset(tmp_path / "preset", ["yes", "zebra"])
    target.compile(keras.optimizers.SGD(0.1), "mse")
    target.fit(model_inputs(), np.ones([3, 2], np.float32), verbose=0)
    kernel = target.answer_head.answers.kernel.numpy()
    assert np.abs(kernel[:, 1]).max() > 0


@pytest.mark.parametrize(
    ("name", "found", "missing"),
    [
        ("vqa_trainval_label2ans.json", 3124, ("", "visilab", "5 star", "1 4", "1 world")),
        # The pre-training table has but 1736 of GQA's answers, under any spelling.
        ("gqa_trainval_label2ans.json", 1736, ("hair clip", "napkin dispenser", "snakes")),
    ],
)
def test_what_the_pre_training_table_knows_of_vqa_and_gqa(name, found, missing):
    known = read_answer_table(reference_file("all_ans.json"))
    wanted = read_answer_table(reference_file(name))
    sizes = {"hidden_size": 8, "language_layers": 0, "relationship_layers": 0, "cross_layers": 1}
    source = LxmertAnswerClassifier(config(**sizes, num_answers=len(known)), answers=known)
    target = LxmertAnswerClassifier(config(**sizes, num_answers=len(wanted)), answers=wanted)
    transfer = transfer_answer_head(source, target)
    assert transfer.found == found
    assert transfer.found + len(transfer.missing) == len(wanted)
    assert transfer.missing[: len(missing)] == missing
