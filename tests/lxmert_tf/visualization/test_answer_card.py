"""Cards with a question, its picture, and an answer."""

import dataclasses

import numpy as np
import pytest

from lxmert_tf.evaluation.confusion import AnsweredQuestion, ShownImage
from lxmert_tf.visualization.answer_card import PICTURE, RIGHT, WRONG, answer_card

IMAGE = ShownImage("7", 100, 200, [(0.25, 0.25, 0.75, 0.75)])
QUESTION = AnsweredQuestion("1", "what?", "", "red", "red", 0.9, 1.0, (IMAGE,))
GREEN = np.full([100, 200, 3], (0, 255, 0), np.uint8)


def colors(card):
    return {"#{:02x}{:02x}{:02x}".format(*pixel) for pixel in card.reshape(-1, 3)}


def test_a_card_has_the_picture_and_the_answer_in_the_color_of_its_truth():
    right = answer_card(QUESTION, [GREEN])
    wrong = answer_card(dataclasses.replace(QUESTION, given="blue"), [GREEN])
    assert right.shape == wrong.shape == (wrong.shape[0], PICTURE, 3)
    assert RIGHT in colors(right) and WRONG not in colors(right)
    assert WRONG in colors(wrong) and RIGHT not in colors(wrong)
    # The picture keeps its form: half as high as wide, in the middle of its square.
    rows = np.flatnonzero((right == (0, 255, 0)).all(axis=2).any(axis=1))
    assert (rows[0], rows[-1]) == (PICTURE // 4, 3 * PICTURE // 4 - 1)


def test_without_a_picture_the_boxes_are_drawn():
    card = answer_card(QUESTION, [None])
    assert "#64748b" in colors(card)
    empty = dataclasses.replace(QUESTION, images=(dataclasses.replace(IMAGE, boxes=[]),))
    assert "#64748b" not in colors(answer_card(empty, [None]))


@pytest.mark.parametrize("text", ["", "word " * 80, "w" * 300])
def test_cards_of_a_model_have_one_size(text):
    pair = dataclasses.replace(QUESTION, text=text, images=(IMAGE, IMAGE))
    card = answer_card(pair, [None, GREEN])
    assert card.shape[1] == 2 * PICTURE
    single = answer_card(dataclasses.replace(QUESTION, text=text), [GREEN])
    assert card.shape[0] == single.shape[0]
