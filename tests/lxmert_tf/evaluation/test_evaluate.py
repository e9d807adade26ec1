"""Predictions and accuracy on records, against asking the model about each sentence by hand."""

import dataclasses
import warnings

import numpy as np
import pytest
import tensorflow as tf
from tensorflow import keras

from lxmert_tf import (
    LxmertAnswerClassifier,
    LxmertPairClassifier,
    LxmertPretrainer,
    LxmertTextPreprocessor,
)
from lxmert_tf.errors import InputError
from lxmert_tf.evaluation.confusion import NO_ANSWER, Confusion
from lxmert_tf.evaluation.evaluate import evaluate_answers, predict_answers
from lxmert_tf.models.special_pieces import SPECIAL_PIECES
from tests.lxmert_tf.samples import config, easy_vqa_scenes, one_line, pair_scenes, write_records

SCENES = {LxmertAnswerClassifier: easy_vqa_scenes(5), LxmertPairClassifier: pair_scenes(6)}
WORDS = ["what", "is", "the", "color", "shape", "a", "picture", "left", "right", "other", "red"]
VOCABULARY = [*SPECIAL_PIECES, *WORDS]
ANSWERS = sorted(
    {a for s in SCENES[LxmertAnswerClassifier] for q in s.sentences for a, _ in q.answers}
)
SIZES = config(
    vocab_size=len(VOCABULARY),
    num_answers=len(ANSWERS),
    region_feature_size=256,
    language_layers=1,
    relationship_layers=0,
    cross_layers=1,
)


def make(cls, **changes):
    keras.utils.set_random_seed(1)
    answers = {} if cls is LxmertPairClassifier else {"answers": ANSWERS}
    return cls(**{"config": SIZES, "vocabulary": VOCABULARY, **answers, **changes})


@pytest.fixture(scope="module", params=SCENES, ids=lambda cls: cls.__name__)
def model(request):
    return make(request.param)


@pytest.fixture
def eager():
    """Run functions eagerly; tracing a model takes longer than these few examples."""
    tf.config.run_functions_eagerly(True)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*does not apply to tf.data functions")
        yield
    tf.config.run_functions_eagerly(False)


@pytest.fixture
def scenes(model):
    return SCENES[type(model)]


@pytest.fixture(scope="module")
def by_hand(model):
    """{sentence ID: the model's answer}, asked one by one."""
    scenes = SCENES[type(model)]
    logits = {s.id: ask(model, scene, s) for scene in scenes for s in scene.sentences}
    # Fresh weights favor one answer; with this bias each is the best of some sentences.
    middle = np.median(list(logits.values()), axis=0)
    model.answer_head.answers.bias.assign_sub(middle)
    return {name: model.answers[int(np.argmax(row - middle))] for name, row in logits.items()}


def ask(model, scene, sentence) -> np.ndarray:
    """The logits for one sentence about the images of one scene, without padding."""
    regions = [image.regions for image in scene.images]
    most = max(map(len, regions))

    def padded(rows):
        return np.pad(rows, [(0, most - len(rows)), (0, 0)]).astype(np.float32)

    inputs = {
        "region_features": np.stack([padded(r.features) for r in regions]),
        "region_boxes": np.stack([padded(r.boxes) for r in regions]),
        "region_mask": np.stack([np.arange(most) < len(r) for r in regions]),
    }
    if model.images_per_scene > 1:
        inputs = {name: value[np.newaxis] for name, value in inputs.items()}
    text = LxmertTextPreprocessor(VOCABULARY)(tf.constant([sentence.text]))
    return model({**text, **inputs}).numpy()[0]


def without_answers(scene):
    sentences = tuple(dataclasses.replace(s, answers=()) for s in scene.sentences)
    return dataclasses.replace(scene, sentences=sentences)


def test_predictions_are_the_models_answers_in_the_order_of_the_records(
    model, scenes, by_hand, tmp_path
):
    first = write_records(tmp_path / "a", scenes[:2])
    # Predictions need no answers in the records.
    second = write_records(tmp_path / "b", map(without_answers, scenes[2:]))
    predictions = predict_answers(model, [first, second], max_regions=8, batch_size=7)
    assert list(predictions.items()) == list(by_hand.items())
    assert len(set(predictions.values())) > 1


def test_equal_questions_and_consecutive_images_are_encoded_once(eager, tmp_path, monkeypatch):
    model, scenes = make(LxmertAnswerClassifier), SCENES[LxmertAnswerClassifier]
    encode_image, encoded = model.encode_image, []
    encode_question, read = model.encode_question, []

    def spy(region_features, region_boxes, region_mask):
        encoded.append(len(region_features))
        return encode_image(region_features, region_boxes, region_mask)

    def spy_on_text(text_inputs):
        read.append(len(text_inputs["token_ids"]))
        return encode_question(text_inputs)

    monkeypatch.setattr(model, "encode_image", spy)
    monkeypatch.setattr(model, "encode_question", spy_on_text)
    flat = [single for scene in scenes for single in scene.flat()]
    predictions = []
    for name, records in (("grouped", scenes), ("flat", flat)):
        predictions.append(predict_answers(model, [write_records(tmp_path / name, records)], 8))
    assert predictions[0] == predictions[1]
    assert encoded == [len(scenes), len(scenes)]
    texts = [sentence.text for scene in scenes for sentence in scene.sentences]
    assert len(set(texts)) < len(texts)
    assert read == [len(set(texts))] * 2


def test_accuracy_is_that_of_counting_by_hand(eager, model, scenes, by_hand, tmp_path):
    file = write_records(tmp_path / "records", scenes)
    earned: dict[str, list[float]] = {}
    for scene in scenes:
        for sentence in scene.sentences:
            score = dict(sentence.answers).get(by_hand[sentence.id], 0.0)
            for kind in ("all", sentence.question_type or "(none)"):
                earned.setdefault(kind, []).append(score)
    accuracy = evaluate_answers(model, [file], max_regions=8, batch_size=7)
    assert list(accuracy) == [*sorted(set(earned) - {"all"}), "all"]
    for kind, (share, count) in accuracy.items():
        assert (count, share) == (len(earned[kind]), pytest.approx(np.mean(earned[kind])))
    # Neither all right nor all wrong, as a constant would be.
    assert 0 < accuracy["all"][0] < 1


def test_each_question_is_told_with_its_answer_and_its_images(
    eager, model, scenes, by_hand, tmp_path
):
    file = write_records(tmp_path / "records", scenes)
    confusion = Confusion("model")
    accuracy = evaluate_answers(model, [file], 8, batch_size=7, confusion=confusion)
    assert sum(confusion.counts.values()) == accuracy["all"][1] == len(by_hand)
    right = sum(count for (expected, given), count in confusion.counts.items() if expected == given)
    assert right / len(by_hand) == pytest.approx(accuracy["all"][0])
    sentences = {s.id: (s, scene) for scene in scenes for s in scene.sentences}
    shown = confusion.examples(set(confusion.counts), 999)
    assert len({question.is_right for question in shown}) == 2
    for question in shown:
        sentence, scene = sentences[question.id]
        assert (question.text, question.source) == (sentence.text, sentence.source)
        assert question.given == by_hand[question.id]
        assert question.expected == sentence.answers[0][0]
        assert question.earned == float(question.is_right) and 0 < question.score < 1
        sizes = [(image.id, image.height, image.width) for image in scene.images]
        assert [(image.id, image.height, image.width) for image in question.images] == sizes
        for image, source in zip(question.images, scene.images):
            np.testing.assert_allclose(image.boxes, source.regions.boxes, atol=1e-4)


def test_the_score_is_the_one_that_is_served(eager, model, scenes, tmp_path):
    file = write_records(tmp_path / "records", scenes[:1])
    confusion = Confusion("model")
    evaluate_answers(model, [file], 8, confusion=confusion)
    for question in confusion.examples(set(confusion.counts), 99):
        sentence = next(s for s in scenes[0].sentences if s.id == question.id)
        logits = ask(model, scenes[0], sentence)
        if isinstance(model, LxmertPairClassifier):
            expected = np.exp(logits.max()) / np.exp(logits).sum()
        else:
            expected = 1 / (1 + np.exp(-logits.max()))
        assert question.score == pytest.approx(expected, abs=1e-3)


def test_the_expected_answer_is_the_given_one_unless_another_earns_more(eager, tmp_path):
    model = make(LxmertAnswerClassifier)
    [scene] = easy_vqa_scenes(1)
    sentence = scene.sentences[0]
    said = model.answers[int(np.argmax(ask(model, scene, sentence)))]
    cases = {
        "tie": ((("other", 1.0), (said, 1.0)), said, 1.0),
        "less": (((said, 0.25), ("other", 1.0)), "other", 0.25),
        "wrong": ((("some", 0.5), ("other", 1.0)), "other", 0.0),
        "unanswered": ((), NO_ANSWER, 0.0),
    }
    sentences = tuple(
        dataclasses.replace(sentence, id=name, answers=answers)
        for name, (answers, _, _) in cases.items()
    )
    file = write_records(tmp_path / "records", [dataclasses.replace(scene, sentences=sentences)])
    confusion = Confusion("model")
    evaluate_answers(model, [file], 8, confusion=confusion)
    shown = confusion.examples(set(confusion.counts), 9)
    found = {question.id: (question.expected, question.earned) for question in shown}
    assert found == {name: case[1:] for name, case in cases.items()}


def test_soft_scores_count_and_the_higher_of_two(eager, tmp_path):
    model = make(LxmertAnswerClassifier)
    [scene] = easy_vqa_scenes(1)
    sentence = scene.sentences[0]
    said = model.answers[int(np.argmax(ask(model, scene, sentence)))]
    kinds = {
        "partly": (((said, 0.25), ("other", 1.0)), 0.25),
        "twice": (((said, 0.25), (said, 0.75)), 0.75),
        "wrong": ((("other", 1.0),), 0.0),
        "unanswered": ((), 0.0),
    }
    sentences = tuple(
        dataclasses.replace(sentence, question_type=kind, answers=answers)
        for kind, (answers, _) in kinds.items()
    )
    file = write_records(tmp_path / "records", [dataclasses.replace(scene, sentences=sentences)])
    expected = {kind: (score, 1) for kind, (_, score) in kinds.items()}
    assert evaluate_answers(model, [file], 8) == {**expected, "all": (0.25, 4)}


def relabeled(scenes, answers):
    """The same scenes, the third with other answers to its first sentence."""
    first, *others = scenes[2].sentences
    sentences = (dataclasses.replace(first, answers=answers), *others)
    return [*scenes[:2], dataclasses.replace(scenes[2], sentences=sentences), *scenes[3:]]


def test_labels_of_statements_may_be_in_any_case_but_must_be_there(eager, tmp_path):
    model, scenes = make(LxmertPairClassifier), SCENES[LxmertPairClassifier]
    file = write_records(tmp_path / "records", scenes)
    [(label, _)] = scenes[2].sentences[0].answers
    upper = write_records(tmp_path / "upper", relabeled(scenes, ((label.upper(), 1.0),)))
    assert evaluate_answers(model, [upper], 8) == evaluate_answers(model, [file], 8)
    without = write_records(tmp_path / "without", relabeled(scenes, ()))
    with pytest.raises(InputError) as raised:
        evaluate_answers(model, [without], 8)
    assert "the sentence pair-2-0 must have one answer, True or False" in one_line(raised)


def test_duplicate_id_is_named(eager, model, scenes, tmp_path):
    files = [write_records(tmp_path / "a", scenes[:3]), write_records(tmp_path / "b", scenes[1:4])]
    with pytest.raises(InputError) as raised:
        predict_answers(model, files, 8)
    assert one_line(raised).startswith(f"{files[0]} (of 2 files): ")
    assert f"the first is {scenes[1].sentences[0].id!r}" in one_line(raised)


@pytest.mark.parametrize("measure", [evaluate_answers, predict_answers])
def test_bad_records_are_refused(eager, model, scenes, tmp_path, measure):
    other = SCENES[
        LxmertAnswerClassifier if type(model) is LxmertPairClassifier else LxmertPairClassifier
    ]
    for name, content, message in (
        ("empty", [], "no questions"),
        ("other", other, "a record has another number"),
        ("cut", scenes, "damaged or cut short"),
    ):
        file = write_records(tmp_path / name, content)
        if name == "cut":
            data = (tmp_path / name).read_bytes()
            (tmp_path / name).write_bytes(data[:-9])
        with pytest.raises(InputError) as raised:
            measure(model, [file], 8)
        assert message in one_line(raised) and file in one_line(raised)


def test_regions_of_another_width_than_the_models_are_refused(tmp_path):
    model = make(LxmertAnswerClassifier, config=dataclasses.replace(SIZES, region_feature_size=768))
    file = write_records(tmp_path / "records", SCENES[LxmertAnswerClassifier][:1])
    for measure in (evaluate_answers, predict_answers):
        with pytest.raises(InputError) as raised:
            measure(model, [file], 8)
        message = f"{file}: its regions have 256 features, those of the model 768; ingest with"
        assert one_line(raised).startswith(message)


@pytest.mark.parametrize("measure", [evaluate_answers, predict_answers])
def test_a_model_that_cannot_answer_is_refused(tmp_path, measure):
    file = write_records(tmp_path / "records", SCENES[LxmertAnswerClassifier])
    for model, message in (
        (make(LxmertPretrainer), "a LxmertPretrainer answers no questions; fine-tune it first"),
        (make(LxmertAnswerClassifier, answers=None), "the answers of the model have no names"),
        (make(LxmertPairClassifier, vocabulary=None), "the model has no vocabulary"),
    ):
        with pytest.raises(InputError) as raised:
            measure(model, [file], 8)
        assert message in one_line(raised)
