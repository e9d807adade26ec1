"""The table of expected and given answers, and the cards of questions."""

import re

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("gradio")

from lxmert_tf.app.answered_questions import NOT_FOUND, question_cards
from lxmert_tf.app.confusion_table import MOST_ANSWERS, OTHERS, ConfusionTable
from lxmert_tf.evaluation.confusion import AnsweredQuestion, Confusion, ShownImage
from lxmert_tf.regions.picture_finder import PictureFinder


def counted(counts):
    confusion = Confusion()
    confusion.counts.update(counts)
    return confusion


def numbers(table):
    """{choice: number} of the buttons of a table."""
    found = re.findall(r'data-choice="(\d+-\d+)">([\d,]+)</button>', table.html())
    return {choice: int(number.replace(",", "")) for choice, number in found}


def test_every_count_has_a_button_that_stands_for_its_cell():
    counts = {("yes", "yes"): 1200, ("yes", "no"): 3, ("no", "no"): 7, ("red", "no"): 1}
    table = ConfusionTable(counted(counts))
    assert table.names == ["yes", "no", "red"]
    found = numbers(table)
    assert sorted(found.values()) == sorted(counts.values())
    for choice, number in found.items():
        [cell] = table.cells(choice)
        assert counts[cell] == number
    assert 'aria-label="3 × expected yes, answered no"' in table.html()


def test_the_answers_that_are_least_mistaken_share_a_row():
    right = {(f"right {i}", f"right {i}"): 1000 for i in range(20)}
    wrong = {(f"wrong {i}", f"wrong {i + 1}"): 2 for i in range(MOST_ANSWERS - 1)}
    table = ConfusionTable(counted({**right, **wrong}))
    assert set(table.names) == {*(f"wrong {i}" for i in range(MOST_ANSWERS)), OTHERS}
    last = len(table.names) - 1
    assert numbers(table)[f"{last}-{last}"] == 20_000
    assert table.cells(f"{last}-{last}") == set(right)


@pytest.mark.parametrize("choice", ["", "worst", None, "9-9", "0-x", "-1-0", {"a": 1}, "00-0"])
def test_what_is_no_button_stands_for_nothing(choice):
    assert ConfusionTable(counted({("a", "b"): 1})).cells(choice) is None


def test_what_answers_and_questions_say_is_text_and_not_html(tmp_path):
    table = ConfusionTable(counted({("<b>", '"'): 1}))
    assert "<b>" not in table.html() and "&lt;b&gt;" in table.html()
    image = ShownImage("<i>", 1, 1, [])
    question = AnsweredQuestion("1", "<u>", "", "<s>", "<b>", 0.5, 0.0, (image,))
    cards = question_cards([question], PictureFinder())
    assert not re.search("<[uisb]>", cards)


def test_a_picture_is_shown_or_its_boxes_are_drawn(tmp_path):
    Image.fromarray(np.zeros([4, 4, 3], np.uint8)).save(tmp_path / "a.png")
    images = [ShownImage(name, 40, 80, [(0.0, 0.5, 0.5, 1.0)]) for name in "ab"]
    found, missing = (
        AnsweredQuestion("1", "what?", "", "yes", "no", 0.5, 0.0, (image,)) for image in images
    )
    pictures = PictureFinder(tmp_path)
    cards = question_cards([found], pictures)
    assert 'alt="Picture a"' in cards and "data:image/png" in cards and NOT_FOUND not in cards
    cards = question_cards([missing], pictures)
    assert 'aria-label="The boxes of 1 region of picture b"' in cards and NOT_FOUND in cards
    assert '<rect x="0.0" y="20.0" width="40.0" height="20.0"/>' in cards
