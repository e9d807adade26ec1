"""Answer tables: their file formats, the spelling of answers, and look-ups."""

import json

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from lxmert_tf import LxmertAnswerClassifier, LxmertConfig
from lxmert_tf.data.answer_table import AnswerTable, normalize_answer, read_answer_table
from lxmert_tf.errors import InputError
from lxmert_tf.models.presets import load_preset
from tests import golden
from tests.lxmert_tf.samples import one_line
from tests.reference import reference_file

ANSWERS = ["yes", "", "two words", "10", "café", "\u2028", "a, b"]
FORMS = {
    "txt": lambda answers: "".join(f"{a}\n" for a in answers),
    "label2ans.json": lambda answers: json.dumps(answers),
    "all_ans.json": lambda answers: json.dumps([{"ans": a, "dsets": ["vqa"]} for a in answers]),
    # In another order than that of the numbers.
    "ans2label.json": lambda answers: json.dumps(
        dict(sorted({a: i for i, a in enumerate(answers)}.items()))
    ),
}


@pytest.mark.parametrize("name", FORMS)
def test_every_form_gives_the_answers_in_order(tmp_path, name):
    path = tmp_path / name
    path.write_text(FORMS[name](ANSWERS), encoding="utf-8")
    assert read_answer_table(path) == ANSWERS


ANY_ANSWER = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\r\n\0\ufeff"))


@settings(derandomize=True)
@given(st.sampled_from(sorted(FORMS)), st.lists(ANY_ANSWER, unique=True, min_size=1))
def test_any_table_comes_back(tmp_path_factory, name, answers):
    path = tmp_path_factory.getbasetemp() / name
    path.write_text(FORMS[name](answers), encoding="utf-8")
    if name == "txt" and answers == [""]:
        with pytest.raises(InputError, match="holds no answers"):
            read_answer_table(path)
    else:
        assert read_answer_table(path) == answers


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.txt", "", "holds no answers"),
        ("a.json", "[]", "holds no answers"),
        ("a.json", "{}", "holds no answers"),
        ("a.txt", "yes\nno\nyes\n", "duplicate answer 'yes'"),
        ("a.json", '["yes", "no", "yes"]', "duplicate answer 'yes'"),
        ("a.json", '[{"ans": "yes"}, {"ans": "yes"}]', "duplicate answer 'yes'"),
        ("a.json", '{"yes": 0, "yes": 1}', "duplicate key 'yes'"),
        ("a.json", '{"yes": 0, "no": 0}', "the answers' IDs must be 0 to 1, each once"),
        ("a.json", '{"yes": 1, "no": 2}', "the answers' IDs must be 0 to 1, each once"),
        ("a.json", '{"yes": 0, "no": true}', "IDs must be 0 to 1, each once"),
        ("a.json", '{"yes": 0, "no": "1"}', "IDs must be 0 to 1, each once"),
        ("a.json", '["yes", 1]', "[1] must be a string, or an object with a string"),
        ("a.json", '[{"answer": "yes"}]', "[0] must be a string, or an object with a string"),
        ("a.json", '["two\\nlines"]', "the answer 'two\\nlines' contains a line break"),
        ("a.json", '["two\\rlines"]', "the answer 'two\\rlines' contains a line break"),
        ("a.json", '"yes"', "must hold a list of answers, or an object that maps answers to IDs"),
        ("a.json", '["yes"', "not valid JSON"),
        ("a.json", "[" * 100_000, "not valid JSON"),
        ("a.json", '["\\ud800"]', "not valid JSON"),
        ("a.JSON", "yes\nno\n", "not valid JSON"),
    ],
)
def test_invalid_tables_are_refused(tmp_path, name, content, message):
    (tmp_path / name).write_text(content, encoding="utf-8")
    with pytest.raises(InputError) as raised:
        read_answer_table(tmp_path / name)
    assert one_line(raised).startswith(f"{tmp_path / name}: ")
    assert message in one_line(raised)


def test_a_file_that_is_absent_or_no_text_is_refused(tmp_path):
    (tmp_path / "a.txt").write_bytes(b"\xff")
    for name in ("a.txt", "absent.txt", "absent.json"):
        with pytest.raises(InputError) as raised:
            read_answer_table(tmp_path / name)
        assert str(tmp_path / name) in one_line(raised)


@pytest.mark.parametrize(
    ("name", "count", "known"),
    [
        ("all_ans.json", 9500, ('"stop"', "0")),
        ("vqa_trainval_label2ans.json", 3129, ("", "woods")),
        ("gqa_trainval_label2ans.json", 1842, ("cat food", "elephant")),
    ],
)
def test_tables_of_the_release_are_read(name, count, known):
    answers = read_answer_table(reference_file(name))
    assert len(answers) == count
    assert set(known) <= set(answers)


def test_table_with_the_empty_answer_survives_a_preset(tmp_path):
    answers = read_answer_table(reference_file("vqa_trainval_label2ans.json"))
    sizes = LxmertConfig.from_dict({**golden.TINY, "num_answers": len(answers)})
    LxmertAnswerClassifier(sizes, answers=answers).save_preset(tmp_path / "preset")
    assert load_preset(tmp_path / "preset").answers == answers
    # The file of a preset is a table as well.
    assert read_answer_table(tmp_path / "preset" / "answers.txt") == answers


def test_the_empty_answer_is_looked_up_like_any_other():
    texts = tf.ragged.constant([["", "yes"], ["no"]])
    assert AnswerTable(("yes", "")).ids(texts).to_list() == [[1, 0], [-1]]


def ragged(rows, dtype):
    return tf.RaggedTensor.from_row_lengths(
        tf.constant([value for row in rows for value in row], dtype), [len(row) for row in rows]
    )


def test_targets_are_the_soft_scores_of_the_answers():
    targets = AnswerTable(("yes", "no", "red")).targets(
        ragged([["no", "red"], ["purple"], [], ["yes", "unheard", "yes"]], tf.string),
        ragged([[1.0, 0.3], [1.0], [], [0.6, 1.0, 0.9]], tf.float32),
    )
    assert targets.dtype == tf.float32
    # Answers outside the table are ignored; of an answer given twice the higher score counts.
    expected = [[0, 1, 0.3], [0, 0, 0], [0, 0, 0], [0.9, 0, 0]]
    np.testing.assert_array_equal(targets, np.float32(expected))


def test_duplicate_answer_is_refused():
    with pytest.raises(InputError) as raised:
        AnswerTable(("yes", "no", "yes"))
    assert "duplicate answer 'yes'" in one_line(raised)


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


@settings(derandomize=True)
@given(ANSWER, st.sampled_from(ARTICLES), st.booleans(), st.booleans())
def test_case_article_and_stop_make_no_difference(answer, article, stop, upper):
    other = article + answer + "." * stop
    assert normalize_answer(other.upper() if upper else other) == normalize_answer(answer)


@settings(derandomize=True)
@given(ANSWER)
def test_a_plain_answer_stays_as_it_is(answer):
    assume(answer not in (*NUMBERS, "grey"))
    assert normalize_answer(answer) == answer


@settings(derandomize=True)
@given(st.text())
def test_any_text_becomes_one_that_is_no_longer_and_lower_case(text):
    normal = normalize_answer(text)
    assert normal == normal.lower()
    assert len(normal) <= len(text.lower())


def test_the_table_of_the_release_is_in_this_spelling_already():
    answers = read_answer_table(reference_file("all_ans.json"))
    other = [answer for answer in answers if normalize_answer(answer) != answer]
    assert other == []
