"""Tests of what NLVR's statements mean."""

import random

import numpy as np
import pytest

from pipeline.statements.grammar import Grammar
from pipeline.statements.nlvr_rules import SCATTERED, TOWERS, nlvr_rules
from tests.pipeline.statements.drawn_scenes import OBJECTS, STACKS

GRAMMAR = Grammar(nlvr_rules())


@pytest.mark.parametrize(
    "sentence, is_true",
    [
        ("there is a black circle", True),
        ("there is a blue triangle", False),
        ("there are exactly two yellow items", True),
        ("there are at least 3 yellow items", False),
        ("there is no circle touching any edge", True),
        ("there is a yellow triangle touching the base", True),
        ("there is a circle closely touching a corner", False),
        ("there is exactly one blue square closely touching a corner", True),
        ("there are 3 items not touching the edge", True),
        ("none of the black objects are touching the edge", True),
        ("all squares are touching the wall", True),
        ("all yellow objects are touching the base", False),
        ("there is a box with only blue items", True),
        ("there is a box with only yellow items", False),
        ("there is a box with a black circle and two yellow items", True),
        ("there is a box with 3 items of which 2 are yellow", True),
        ("there is a box with 3 items of which one is yellow", False),
        ("there is a box with only black and yellow items", True),
        ("there are two boxes with a yellow item", False),
        ("one of the grey box contains exactly two objects", True),
        ("each box has at least one circle", False),
        ("there is a box with only one item that is not a triangle", False),
        ("there is a box with items of 2 different colors", True),
        ("there is a small black circle", True),
        ("there is a big black circle", False),
        ("the box with the least number of items contains a triangle", True),
        ("the box with the most number of items contains a black triangle", False),
        ("there are two boxes with the same number of items", False),
        ("there is a box with exactly 3 items including a black circle", True),
    ],
)
def test_statements_about_objects(sentence, is_true):
    assert _truths(SCATTERED, sentence, OBJECTS) == {is_true}


@pytest.mark.parametrize(
    "sentence, is_true",
    [
        ("there is a tower with a yellow block at the top", True),
        ("there is exactly one tower with a blue block at the base", True),
        ("there are two towers with a yellow block at the top", True),
        ("there are two towers with a yellow block at the base", False),
        ("there is a tower with exactly two blocks", True),
        ("there is a tower with four blocks", False),
        ("there is a blue block over a black block", True),
        ("there is a black block over a blue block", False),
        ("there is a black block below a blue block", True),
        ("there is a blue tower", True),
        ("there is a black tower", False),
        ("there is a black block as the base of a tower with at least three blocks", True),
        ("there is a black block as the base of a tower with at most two blocks", False),
        ("there are 3 blue blocks", True),
        ("there are 2 blue blocks", True),
        ("there are exactly 2 blue blocks", False),
        ("there is a tower with two blue blocks stacked together", True),
        ("there is a tower with three blue blocks stacked together", False),
        ("the tower with three blocks has a blue block in the middle", True),
        ("the second block from the base of a tower is blue", True),
        ("the second block from the base of a tower is yellow", False),
        ("two towers have the same top color", True),
        ("two towers have the same base color", False),
        ("all the 3 towers have different base colors", True),
        ("there is a box with 3 items and a yellow item on top", True),
        ("there is a box with only one item and it is yellow", True),
        ("there is a tower with only one block that is not yellow", False),
    ],
)
def test_statements_about_towers(sentence, is_true):
    assert _truths(TOWERS, sentence, STACKS) == {is_true}


@pytest.mark.parametrize("symbol, images", [(SCATTERED, OBJECTS), (TOWERS, STACKS)])
def test_every_statement_can_be_checked(symbol, images):
    generator = random.Random(0)
    for _ in range(300):
        sentence, meaning = GRAMMAR.draw(symbol, generator)
        truth = np.asarray(meaning(images))
        assert truth.shape == (1,), sentence
        assert truth.dtype == bool, sentence


def _truths(symbol, sentence, images):
    return {bool(meaning(images)[0]) for meaning in GRAMMAR.parse(symbol, sentence)}
