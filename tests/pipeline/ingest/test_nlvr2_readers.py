"""NLVR2's own files and the release's."""

import pytest

from lxmert_tf.data.scene import Sentence
from pipeline.ingest.interfaces import ReadSentence
from tests.pipeline.ingest.annotations import content_of, problems, read_content


def test_the_release(tmp_path):
    false, true, _ = read_content("nlvr2_release", tmp_path, content_of("nlvr2_release"))
    text = "An image shows one leather pencil case."
    answers = (("False", 1.0),)
    sentence = Sentence("train-10171-0-0", text, "nlvr2", answers=answers)
    assert false == ReadSentence(("train-10171-0-img0", "train-10171-0-img1"), sentence)
    assert true.sentence.answers == (("True", 1.0),)


def test_the_official_files(tmp_path):
    false, true, _ = read_content("nlvr2_official", tmp_path, content_of("nlvr2_official"))
    text = "The right image shows a curving walkway of dark glass."
    sentence = Sentence("dev-850-0-0", text, "nlvr2", answers=(("False", 1.0),))
    assert false == ReadSentence(("dev-850-0-img0", "dev-850-0-img1"), sentence)
    assert true.image_ids == ("dev-850-1-img0", "dev-850-1-img1")
    assert true.sentence.answers == (("True", 1.0),)


@pytest.mark.parametrize("name", ["nlvr2_release", "nlvr2_official"])
def test_a_hidden_label_is_not_an_answer(tmp_path, name):
    content = content_of(name)
    del content[0]["label"]
    assert read_content(name, tmp_path, content)[0].sentence.answers == ()


@pytest.mark.parametrize(
    ("name", "label", "reason"),
    [
        ("nlvr2_release", 2, "label must be 0 or 1"),
        ("nlvr2_release", "True", "label must be 0 or 1"),
        ("nlvr2_official", "true", "label must be 'True' or 'False'"),
        ("nlvr2_official", True, "label must be 'True' or 'False'"),
    ],
)
def test_wrong_labels(tmp_path, name, label, reason):
    content = content_of(name)
    content[1]["label"] = label
    [(line, _, found)] = problems(read_content(name, tmp_path, content))
    assert (line, found) == (2, reason)


@pytest.mark.parametrize("identifier", ["dev-850-0", "dev-850-0-0-0", "dev--0-0", "-"])
def test_identifiers_name_the_images(tmp_path, identifier):
    content = content_of("nlvr2_official")
    content[1]["identifier"] = identifier
    items = read_content("nlvr2_official", tmp_path, content)
    reason = "identifier is not of the form split-set-pair-sentence"
    assert problems(items) == [(2, identifier, reason)]
