"""Counts of confused answers, and which examples of them are kept."""

import dataclasses
import json
import random

import pytest

from lxmert_tf.errors import InputError
from lxmert_tf.evaluation import confusion as confusion_module
from lxmert_tf.evaluation.confusion import (
    EXAMPLES_PER_CELL,
    AnsweredQuestion,
    Confusion,
    ShownImage,
    read_confusion,
)
from tests.lxmert_tf.samples import one_line

IMAGE = ShownImage("7", 20, 30, [(0.0, 0.1, 0.5, 0.6)])


def asked(number, expected, given, score, earned=None):
    earned = float(expected == given) if earned is None else earned
    text = f"question {number}"
    return AnsweredQuestion(f"{number}", text, "here", expected, given, score, earned, (IMAGE,))


def filled(questions):
    confusion = Confusion("model")
    for question in questions:
        confusion.add(question)
    return confusion


def test_the_worst_mistakes_earn_least_and_are_surest():
    questions = [
        asked(1, "yes", "no", 0.6),
        asked(2, "red", "blue", 0.9, earned=0.3),
        asked(3, "yes", "no", 0.8),
        asked(4, "yes", "yes", 0.99),
    ]
    confusion = filled(questions)
    assert [question.id for question in confusion.worst(5)] == ["3", "1", "2"]
    assert [question.id for question in confusion.worst(1)] == ["3"]
    assert confusion.counts == {("yes", "no"): 2, ("red", "blue"): 1, ("yes", "yes"): 1}
    shown = confusion.examples({("yes", "no"), ("yes", "yes")}, 9)
    assert [question.id for question in shown] == ["3", "1", "4"]


def test_of_right_answers_the_least_sure_are_kept():
    confusion = filled(asked(i, "yes", "yes", i / 100) for i in range(1, 40))
    shown = confusion.examples({("yes", "yes")}, 99)
    assert [question.id for question in shown] == [f"{i}" for i in range(1, EXAMPLES_PER_CELL + 1)]


def test_examples_are_bounded_and_do_not_depend_on_the_order(monkeypatch):
    monkeypatch.setattr(confusion_module, "MOST_WRONG", 10)
    draw = random.Random(3)
    questions = [
        asked(i, draw.choice("abcd"), draw.choice("efgh"), round(draw.random(), 4))
        for i in range(300)
    ]
    confusion = filled(questions)
    ranked = sorted(questions, key=lambda question: -question.score)
    kept, of_cell = [], {}
    for question in ranked:
        cell = question.expected, question.given
        of_cell[cell] = of_cell.get(cell, 0) + 1
        if of_cell[cell] <= EXAMPLES_PER_CELL:
            kept.append(question)
    assert confusion.worst(99) == kept[:10]
    assert sum(confusion.counts.values()) == 300
    draw.shuffle(questions)
    assert filled(questions).worst(99) == confusion.worst(99)


def test_what_is_written_is_read_again(tmp_path):
    confusion = filled([asked(1, "ja", "nö <b>", 0.5), asked(2, "ja", "ja", 0.5)])
    confusion.write(tmp_path / "predictions.json")
    read = read_confusion(tmp_path / "predictions.json")
    assert (read.model, read.counts, read.worst(9)) == (
        "model",
        confusion.counts,
        confusion.worst(9),
    )
    assert read.examples({("ja", "ja")}, 9) == confusion.examples({("ja", "ja")}, 9)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format": 2}, "format is 2"),
        ({"counts": [["a", "b", 0]]}, "must be counted once, at least 1"),
        ({"counts": [["a", "b", 1], ["a", "b", 1]]}, "must be counted once"),
        ({"examples": [{"id": "1"}]}, "is missing"),
    ],
)
def test_another_file_is_refused(tmp_path, change, message):
    path = tmp_path / "predictions.json"
    content = {"model": "m", "counts": [["a", "b", 1]], "examples": []}
    path.write_text(json.dumps(content | change))
    with pytest.raises(InputError) as raised:
        read_confusion(path)
    assert str(path) in one_line(raised) and message in one_line(raised)


def test_a_question_with_two_images_keeps_both(tmp_path):
    pair = dataclasses.replace(asked(1, "True", "False", 0.7), images=(IMAGE, IMAGE))
    filled([pair]).write(tmp_path / "predictions.json")
    assert read_confusion(tmp_path / "predictions.json").worst(1) == [pair]
