"""GQA's own files."""

import pytest

from lxmert_tf.data.scene import Sentence
from pipeline.ingest.interfaces import ReadSentence
from tests.pipeline.ingest.annotations import content_of, problems, read_content


def test_questions(tmp_path):
    first, *_ = read_content("gqa_official", tmp_path, content_of("gqa_official"))
    sentence = Sentence("02930150", "Is the sky dark?", "gqa", "verify", "binary", (("yes", 1.0),))
    assert first == ReadSentence(("2354786",), sentence)


@pytest.mark.parametrize(
    ("structural", "answer_type"),
    [("query", "open"), ("choose", "binary"), ("compare", "binary"), ("logical", "binary")],
)
def test_open_questions_are_those_of_the_official_evaluation(tmp_path, structural, answer_type):
    content = content_of("gqa_official")
    content["02930150"]["types"]["structural"] = structural
    first, *_ = read_content("gqa_official", tmp_path, content)
    assert (first.sentence.question_type, first.sentence.answer_type) == (structural, answer_type)


def test_test_questions_have_neither_answers_nor_types(tmp_path):
    content = {"20": {"isBalanced": True, "imageId": "n161313", "question": "Is it red?"}}
    [item] = read_content("gqa_official", tmp_path, content)
    assert item == ReadSentence(("n161313",), Sentence("20", "Is it red?", "gqa"))


@pytest.mark.parametrize(
    ("key", "value", "reason"),
    [
        ("answer", "", "answer is empty"),
        ("answer", 3, "answer must be a string"),
        ("types", "verify", "types must be an object"),
        ("types", {}, "types lacks a part"),
        ("types", {"structural": 1}, "a value of types must be a string"),
    ],
)
def test_faults(tmp_path, key, value, reason):
    content = content_of("gqa_official")
    content["02930151"][key] = value
    items = read_content("gqa_official", tmp_path, content)
    assert problems(items) == [(2, "02930151", reason)]


def test_an_id_that_is_none(tmp_path):
    content = content_of("gqa_official")
    content[""] = content.pop("02930151")
    items = read_content("gqa_official", tmp_path, content)
    assert problems(items) == [(3, "", "id is empty")]
