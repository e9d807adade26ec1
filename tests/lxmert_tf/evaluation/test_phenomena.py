"""The words that tell what a statement asks, and groups of lengths."""

import pytest

from lxmert_tf.evaluation.phenomena import LENGTH_GROUPS, find_phenomena, length_group


@pytest.mark.parametrize(
    ("statement", "phenomena"),
    [
        ("There is a Blue item.", ("color",)),
        ("There are at least 3 items", ("counting",)),
        ("There is a box with an item.", ("boxes",)),
        ("there isn't a tower", ("negation",)),
        ("there isn’t a tower", ("negation",)),
        ("the towers are not the same size", ("comparison", "negation")),
        ("there is a tower with a block at its base", ("coreference", "position")),
        ("there is a boxer", ("none of these",)),
        ("", ("none of these",)),
    ],
)
def test_a_word_tells_a_phenomenon(statement, phenomena):
    assert find_phenomena(statement) == phenomena


@pytest.mark.parametrize(
    ("words", "group"), [(1, 0), (7, 0), (8, 1), (9, 1), (10, 2), (13, 3), (14, 4), (99, 4)]
)
def test_groups_of_lengths_have_no_gap(words, group):
    assert length_group("word " * words + ".") == LENGTH_GROUPS[group]
    assert LENGTH_GROUPS[:2] == ("1 to 7 words", "8 to 9 words")
