"""The answers of a model in training to a few questions, as pictures."""

import dataclasses

import numpy as np

from lxmert_tf import LxmertAnswerClassifier, LxmertPairClassifier, LxmertPretrainer
from lxmert_tf.regions.picture_finder import PictureFinder
from lxmert_tf.training import sample_answers
from lxmert_tf.training.sample_answers import SAMPLES, sample_drawer
from lxmert_tf.visualization.answer_card import PICTURE
from tests.lxmert_tf.evaluation.test_evaluate import ANSWERS, SIZES, make
from tests.lxmert_tf.samples import write_records

# As wide as the features of the records.
FEATURES = dataclasses.replace(SIZES, region_feature_size=64)


def test_the_first_question_about_each_image_is_drawn_with_the_present_answer(files, monkeypatch):
    model = make(LxmertAnswerClassifier, config=FEATURES)
    drawn = []
    draw = sample_answers.answer_card

    def seen(question, pictures):
        drawn.append((question, pictures))
        return draw(question, pictures)

    monkeypatch.setattr(sample_answers, "answer_card", seen)
    samples = sample_drawer(model, files, 8, PictureFinder())
    cards = samples()
    assert cards.shape[0] == SAMPLES and cards.shape[2] == PICTURE and cards.dtype == np.uint8
    assert len({question.images[0].id for question, _ in drawn}) == SAMPLES
    # Pictures of easy-VQA, as they are in its package.
    assert all(pictures[0].shape == (64, 64, 3) for _, pictures in drawn)
    before = [question.given for question, _ in drawn]
    drawn.clear()
    wanted = next(answer for answer in ANSWERS if answer not in before)
    model.answer_head.answers.bias.assign([100.0 * (answer == wanted) for answer in model.answers])
    assert (samples() != cards).any()
    assert {question.given for question, _ in drawn} == {wanted}


def test_statements_have_two_pictures(pair_files):
    model = make(LxmertPairClassifier, config=FEATURES)
    cards = sample_drawer(model, pair_files, 8, PictureFinder())()
    assert cards.shape[2] == 2 * PICTURE
    assert 1 < len(cards) <= SAMPLES


def test_nothing_is_drawn_without_questions_or_answers(files, tmp_path):
    empty = write_records(tmp_path / "empty.tfrecord", [])
    assert sample_drawer(make(LxmertAnswerClassifier), [empty], 8, PictureFinder()) is None
    assert sample_drawer(make(LxmertAnswerClassifier), [], 8, PictureFinder()) is None
    assert sample_drawer(LxmertPretrainer(SIZES), files, 8, PictureFinder()) is None
