"""Answers that mean the same get one spelling."""

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from lxmert_tf.data.answer_table import normalize_answer, read_answer_table
from tests.reference import reference_file

NUMBERS = ["one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"]
ARTICLES = ("a ", "an ", "the ")
# Answers as people type them: words that are neither articles nor full stops.
WORD = st.text("bcdfgijklmopqrsuvwxyz0123456789'-", min_size=1, max_size=8)
ANSWER = st.lists(WORD, min_size=1, max_size=3).map(" ".join)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", ""),
        (".", ""),
        ("Yes", "yes"),
        ("Yes.", "yes"),
        ("no .", "no"),
        # One stop, the last; an article only with a word after it; words inside stay.
        ("a.m..", "a.m."),
        ("a", "a"),
        ("The Man.", "man"),
        ("an apple", "apple"),
        ("another one", "another one"),
        ("theatre", "theatre"),
        ("a  dog", "dog"),
        ("man on a horse", "man on a horse"),
        ("GREY", "gray"),
        ("the grey", "gray"),
        ("grey cat", "grey cat"),
        ("two dogs", "two dogs"),
        ("The Two.", "2"),
        ("ten", "10"),
        ("eleven", "eleven"),
        # Each article once, in this order.
        ("a the cat", "cat"),
        ("the a cat", "a cat"),
    ],
)
def test_known_answers(text, expected):
    assert normalize_answer(text) == expected


def test_number_words_become_digits():
    assert [normalize_answer(word) for word in NUMBERS] == [str(i) for i in range(1, 11)]


@settings(derandomize=True, deadline=None)
@given(ANSWER, st.sampled_from(ARTICLES), st.booleans(), st.booleans())
def test_case_article_and_stop_make_no_difference(answer, article, stop, upper):
    other = article + answer + "." * stop
    assert normalize_answer(other.upper() if upper else other) == normalize_answer(answer)


@settings(derandomize=True, deadline=None)
@given(ANSWER)
def test_a_plain_answer_stays_as_it_is(answer):
    assume(answer not in (*NUMBERS, "grey"))
    assert normalize_answer(answer) == answer


@settings(derandomize=True, deadline=None)
@given(st.text())
def test_any_text_becomes_one_that_is_no_longer_and_lower_case(text):
    normal = normalize_answer(text)
    assert normal == normal.lower()
    assert len(normal) <= len(text.lower())


def test_the_table_of_the_release_is_in_this_spelling_already():
    answers = read_answer_table(reference_file("all_ans.json"))
    other = [answer for answer in answers if normalize_answer(answer) != answer]
    assert other == []
