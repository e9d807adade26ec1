"""NLVR's own files: a statement about each of the six orders of the boxes."""

import pytest

from lxmert_tf.data.scene import Sentence
from pipeline.ingest.interfaces import ReadSentence
from pipeline.ingest.readers.nlvr import Nlvr
from tests.pipeline.ingest.annotations import content_of, encode, problems, read, read_content


def read_dev(folder, content):
    path = folder / "dev.json"
    path.write_bytes(encode("nlvr", content))
    return read(Nlvr(), path)


def test_a_statement_is_about_the_six_images_of_its_split(tmp_path):
    items = read_dev(tmp_path, content_of("nlvr"))
    text = "There is a tower with exactly two blocks."
    assert items[:6] == [
        ReadSentence((name,), Sentence(name, text, "nlvr", answers=(("False", 1.0),)))
        for name in (f"dev-72-0-{order}" for order in range(6))
    ]
    assert items[6].image_ids == ("dev-72-1-0",)
    assert items[6].sentence.answers == (("True", 1.0),)


def test_what_a_published_file_may_lack(tmp_path):
    content = content_of("nlvr")
    for key in ("label", "directory", "evals", "structured_rep"):
        del content[0][key]
    items = read_dev(tmp_path, content)
    assert len(items) == 18
    assert items[0].sentence.answers == ()


@pytest.mark.parametrize("label", ["True", "yes", True, 1])
def test_wrong_labels(tmp_path, label):
    content = content_of("nlvr")
    content[1]["label"] = label
    [(line, _, reason)] = problems(read_content("nlvr", tmp_path, content))
    assert (line, reason) == (2, "label must be 'true' or 'false'")


@pytest.mark.parametrize("identifier", ["72", "72-", "72-0-0", "dev-72-0", "-"])
def test_identifiers_name_the_images(tmp_path, identifier):
    content = content_of("nlvr")
    content[1]["identifier"] = identifier
    found = problems(read_content("nlvr", tmp_path, content))
    assert found == [(2, identifier, "identifier is not of the form presentation-position")]
