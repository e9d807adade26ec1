"""JSON lines of a user's own data."""

import pytest

from lxmert_tf.data.scene import Sentence
from pipeline.ingest.interfaces import ReadSentence
from pipeline.ingest.readers.json_lines import JsonLines
from tests.pipeline.ingest.annotations import (
    content_of,
    problems,
    read,
    read_content,
    sentences,
)


def test_lines(tmp_path):
    assert read_content("json_lines", tmp_path, content_of("json_lines")) == [
        ReadSentence(
            ("kitchen-1",),
            Sentence(
                "annotations-1",
                "what is there?",
                "json_lines",
                answers=(("a cup", 1), ("cup", 0.5)),
            ),
        ),
        ReadSentence(("17",), Sentence("mine", "A cup.", "json_lines", "what")),
        ReadSentence(
            ("kitchen-1",),
            Sentence("annotations-3", "how many?", "json_lines", "", "number", (("2", 1.0),)),
        ),
    ]


def test_pairs(tmp_path):
    items = read_content("json_lines_pairs", tmp_path, content_of("json_lines_pairs"))
    sentence = Sentence(
        "annotations-2", "both show a cup", "json_lines_pairs", answers=(("True", 1.0),)
    )
    assert items[1] == ReadSentence(("left", "1"), sentence)


def test_a_line_may_name_the_data_set_that_it_belongs_to(tmp_path):
    path = tmp_path / "own.jsonl"
    path.write_text('{"image": 1, "sentence": "a", "source": "nlvr"}\n')
    [item] = sentences(read(JsonLines(), path))
    assert item.sentence.source == "nlvr"


def test_ids_count_the_lines_of_the_file(tmp_path):
    path = tmp_path / "own.jsonl"
    path.write_text('\n{"image": 1, "sentence": "a"}\nx\n{"image": 1, "sentence": "b"}\n')
    items = read(JsonLines(), path)
    assert [item.sentence.id for item in sentences(items)] == ["own-2", "own-4"]
    assert problems(items) == [(3, "", "the line is not JSON")]


@pytest.mark.parametrize(
    ("answers", "expected"),
    [
        ("a cup", (("a cup", 1.0),)),
        (["cup", "mug", "cup"], (("cup", 1.0), ("mug", 1.0))),
        ({"cup": 1, "mug": 0.3}, (("cup", 1.0), ("mug", 0.3))),
        ([], ()),
        ({}, ()),
    ],
)
def test_answers(tmp_path, answers, expected):
    lines = [{"image": "a", "sentence": "what?", "answers": answers}]
    [item] = read_content("json_lines", tmp_path, lines)
    assert item.sentence.answers == expected


TEXTS_OR_SCORES = "answers must be a string, a list of strings, or an object of strings and scores"


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"answers": ""}, "answers is empty"),
        ({"answers": ["cup", ""]}, "answers is empty"),
        ({"answers": ["cup", 1]}, TEXTS_OR_SCORES),
        ({"answers": 1}, TEXTS_OR_SCORES),
        ({"answers": None}, TEXTS_OR_SCORES),
        ({"answers": {"cup": 1.01}}, "a value of answers must be at most 1"),
        ({"answers": {"cup": float("nan")}}, "a value of answers must be a finite number"),
        ({"anwsers": "cup"}, "a key that the format does not have"),
        ({"image": ["a", "b"]}, "image must be a string or an integer"),
    ],
)
def test_faults(tmp_path, fields, reason):
    lines = content_of("json_lines")
    lines[1] |= fields
    items = read_content("json_lines", tmp_path, lines)
    assert problems(items) == [(2, "mine", reason)]
    assert len(sentences(items)) == 2


@pytest.mark.parametrize("image", ["a", ["a"], ["a", "b", "c"], ["a", None], ["a", ""]])
def test_pairs_are_pairs(tmp_path, image):
    lines = content_of("json_lines_pairs")
    lines[1]["image"] = image
    [(line, _, reason)] = problems(read_content("json_lines_pairs", tmp_path, lines))
    assert line == 2
    assert reason.startswith("image ")
    assert not any(character.isdigit() for character in reason)
