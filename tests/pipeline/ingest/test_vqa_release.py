"""The release's VQA and GQA files."""

import pytest

from lxmert_tf.data.scene import Sentence
from pipeline.ingest.interfaces import ReadSentence
from tests.pipeline.ingest.annotations import content_of, problems, read_content, sentences


def test_questions(tmp_path):
    first, second, test = read_content("vqa_release", tmp_path, content_of("vqa_release"))
    assert first == ReadSentence(
        ("COCO_train2014_000000458752",),
        Sentence(
            id="458752000",
            text="What is this photo taken looking through?",
            source="vqa",
            question_type="what is this",
            answer_type="other",
            answers=(("net", 1.0), ("netting", 0.3)),
        ),
    )
    assert second.sentence.answers == test.sentence.answers == ()
    assert test.sentence.question_type == ""


def test_gqa_has_the_same_layout(tmp_path):
    first, *_ = read_content("gqa_release", tmp_path, content_of("gqa_release"))
    answers = (("pipe", 1.0),)
    sentence = Sentence("07333400", "What is on the white wall?", "gqa", answers=answers)
    assert first == ReadSentence(("230",), sentence)


def test_the_empty_answer_counts(tmp_path):
    content = content_of("vqa_release")
    content[0]["label"] = {"": 0.3}
    first, *_ = read_content("vqa_release", tmp_path, content)
    assert first.sentence.answers == (("", 0.3),)


@pytest.mark.parametrize(
    ("label", "reason"),
    [
        (None, "label must be an object"),
        (["yes"], "label must be an object"),
        ({"yes": 1.5}, "a value of label must be at most 1"),
        ({"no": -0.1}, "a value of label must be at least 0"),
        ({"yes": float("nan")}, "a value of label must be a finite number"),
        ({"yes": float("inf")}, "a value of label must be a finite number"),
        ({"yes": True}, "a value of label must be a number"),
        ({"yes": "1"}, "a value of label must be a number"),
        ({"yes\nno": 1}, "label has a control character in it"),
        (
            {"\ud800": 1},
            "label is not Unicode: bytes that are not UTF-8, or half of a surrogate pair",
        ),
    ],
)
def test_wrong_labels(tmp_path, label, reason):
    content = content_of("vqa_release")
    content[1]["label"] = label
    items = read_content("vqa_release", tmp_path, content)
    assert problems(items) == [(2, "458752001", reason)]
    assert len(sentences(items)) == 2


@pytest.mark.parametrize(
    ("question_id", "shown", "reason"),
    [
        ("", "", "question_id is empty"),
        (-1.0, "", "question_id must be a string or an integer"),
        (True, "", "question_id must be a string or an integer"),
        ("a\tb", "a\tb", "question_id has a control character in it"),
        (
            "\udc80",
            "\\udc80",
            "question_id is not Unicode: bytes that are not UTF-8, or half of a surrogate pair",
        ),
    ],
)
def test_wrong_ids(tmp_path, question_id, shown, reason):
    content = content_of("vqa_release")
    content[1]["question_id"] = question_id
    assert problems(read_content("vqa_release", tmp_path, content)) == [(2, shown, reason)]


def test_long_ids_are_shown_in_part(tmp_path):
    content = content_of("vqa_release")
    content[1] |= {"question_id": "7" * 1000, "sent": None}
    [(_, shown, _)] = problems(read_content("vqa_release", tmp_path, content))
    assert shown == "7" * 100


def test_one_reason_for_one_fault(tmp_path):
    content = [
        {"question_id": number, "img_id": f"image {number}", "sent": text, "label": {text: 2}}
        for number, text in enumerate(("dog", "a cat", "two birds"))
    ]
    [reason] = {reason for _, _, reason in problems(read_content("vqa_release", tmp_path, content))}
    assert reason == "a value of label must be at most 1"
