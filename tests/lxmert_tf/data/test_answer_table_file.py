"""Answer tables: each published form, written and read, and what is refused."""

import json

import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from lxmert_tf import LxmertAnswerClassifier, LxmertConfig
from lxmert_tf.data.answer_table import AnswerTable, read_answer_table
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


ANSWER = st.text(st.characters(blacklist_categories=["Cs"], blacklist_characters="\r\n"))


@settings(derandomize=True, deadline=None)
@given(st.sampled_from(sorted(FORMS)), st.lists(ANSWER, unique=True, min_size=1))
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
def test_what_is_no_table_is_refused(tmp_path, name, content, message):
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
def test_the_tables_of_the_release_are_read_and_survive_a_preset(tmp_path, name, count, known):
    answers = read_answer_table(reference_file(name))
    assert len(answers) == count
    assert set(known) <= set(answers)
    sizes = LxmertConfig.from_dict({**golden.TINY, "num_answers": count})
    LxmertAnswerClassifier(sizes, answers=answers).save_preset(tmp_path / "preset")
    assert load_preset(tmp_path / "preset").answers == answers
    # What a preset holds is a table as well.
    assert read_answer_table(tmp_path / "preset" / "answers.txt") == answers


def test_the_empty_answer_is_looked_up_like_any_other():
    texts = tf.ragged.constant([["", "yes"], ["no"]])
    assert AnswerTable(("yes", "")).ids(texts).to_list() == [[1, 0], [-1]]
