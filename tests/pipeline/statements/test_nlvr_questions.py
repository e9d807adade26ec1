"""Tests of questions about NLVR's images, and of simple statements."""

import random

import numpy as np
import pytest

from pipeline.statements.grammar import Grammar
from pipeline.statements.nlvr_questions import kinds_of_lesson, sentence_rules
from tests.pipeline.statements.drawn_scenes import OBJECTS, STACKS

GRAMMAR = Grammar(sentence_rules())


@pytest.mark.parametrize(
    "symbol, sentence, image, answer",
    [
        ("plain_number_in_box", "how many yellow items in the left box", OBJECTS, 2),
        ("plain_number_in_box", "how many yellow items in the right box", OBJECTS, 0),
        ("number_in_box", "how many medium blue circles in the middle box", OBJECTS, 1),
        ("plain_number_of_objects", "how many triangles", OBJECTS, 2),
        ("number_in_contact", "how many items are touching the edge", OBJECTS, 3),
        ("number_of_boxes", "how many boxes with only blue items", OBJECTS, 1),
        ("plain_number_of_boxes", "how many boxes with a triangle", OBJECTS, 2),
        ("number_in_tower", "how many blue blocks in the middle box", STACKS, 2),
        ("number_of_blocks", "how many blue blocks", STACKS, 3),
        ("number_of_towers", "how many towers with a blue block at the base", STACKS, 1),
        ("plain_number_of_towers", "how many towers with at least two blocks", STACKS, 2),
        ("color_in_tower", "what color is the top of the tower in the left box", STACKS, 1),
        ("color_in_tower", "what color is the base of the tower in the middle box", STACKS, 2),
        ("plain_scattered", "there are two boxes with a triangle", OBJECTS, 1),
        ("plain_scattered", "there is no box with only black items", OBJECTS, 0),
        ("plain_towers", "there is no tower with only yellow blocks", STACKS, 0),
        ("existing_object", "there is a big blue square", OBJECTS, 0),
        ("existing_block", "there is no black block", STACKS, 0),
    ],
)
def test_the_answer_to_a_sentence(symbol, sentence, image, answer):
    assert {int(meaning(image)[0]) for meaning in GRAMMAR.parse(symbol, sentence)} == {answer}


def test_a_missing_block_has_no_color():
    [meaning] = GRAMMAR.parse(
        "color_in_tower", "what color is the second block of the tower in the right box"
    )
    assert meaning(STACKS)[0] < 0


@pytest.mark.parametrize("kind", kinds_of_lesson(3), ids=lambda kind: kind.scattered or kind.towers)
def test_every_sentence_of_a_lesson_has_one_of_its_answers(kind):
    generator = random.Random(0)
    for symbol, image in ((kind.scattered, OBJECTS), (kind.towers, STACKS)):
        for _ in range(40 if symbol else 0):
            sentence, meaning = GRAMMAR.draw(symbol, generator)
            answer = np.asarray(meaning(image))
            assert answer.shape == (1,), sentence
            assert answer[0] < len(kind.answers), sentence
