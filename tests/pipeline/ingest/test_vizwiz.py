"""VizWiz: one question about each image, with ten answers."""

from lxmert_tf.data.scene import Sentence
from pipeline.ingest.interfaces import ReadSentence
from tests.pipeline.ingest.annotations import content_of, problems, read_content


def test_image_and_question_have_the_name_of_the_file(tmp_path):
    content = content_of("vizwiz")
    first, *_ = read_content("vizwiz", tmp_path, content)
    answers = (("unanswerable", 1.0), ("soda", 0.6))
    sentence = Sentence(
        "VizWiz_val_00000000", content[0]["question"], "vizwiz", "", "unanswerable", answers
    )
    assert first == ReadSentence(("VizWiz_val_00000000",), sentence)


def test_questions_of_the_test_split_have_no_answers(tmp_path):
    content = content_of("vizwiz")
    del content[0]["answers"]
    first, *_ = read_content("vizwiz", tmp_path, content)
    assert first.sentence.answers == ()


def test_too_few_answers_are_a_fault(tmp_path):
    content = content_of("vizwiz")
    content[1]["answers"].pop()
    items = read_content("vizwiz", tmp_path, content)
    assert problems(items) == [
        (2, "VizWiz_val_00000001.jpg", "answers must be those of ten people")
    ]
