"""`lxmert rank`: its output, and input that it refuses."""

import pytest

from lxmert_tf import LxmertPretrainer
from lxmert_tf.regions.image import read_image
from lxmert_tf.serving.ranker import Ranker

SENTENCES = ["a blue triangle", "there is no circle", "is a yellow rectangle in the image?"]


@pytest.fixture(scope="module")
def preset(tiny, tmp_path_factory):
    directory = tmp_path_factory.mktemp("rank") / "preset"
    LxmertPretrainer.from_preset(tiny.preset).save_preset(directory)
    return directory


def test_sentences_are_printed_with_their_probabilities_best_first(lxmert, preset, picture):
    outcome = lxmert("rank", "--model", preset, "--image", picture, *SENTENCES)
    assert (outcome.status, outcome.stderr) == (0, "")
    ranked = Ranker(preset).rank(read_image(picture), SENTENCES)
    assert outcome.stdout.splitlines() == [f"{p:6.1%}  {sentence}" for sentence, p in ranked]


def test_an_answer_model_is_refused(refused, tiny, picture):
    line = refused("rank", "--model", tiny.preset, "--image", picture, *SENTENCES)
    assert "has no matched head; use a preset of LxmertPretrainer" in line


def test_an_empty_sentence_is_refused(refused, preset, picture):
    line = refused("rank", "--model", preset, "--image", picture, "a circle", " ")
    assert "sentence 2 is empty" in line


def test_a_missing_preset_is_refused(refused, picture, tmp_path):
    line = refused("rank", "--model", tmp_path / "none", "--image", picture, "a circle")
    assert str(tmp_path / "none") in line


def test_a_missing_image_is_refused(refused, preset, tmp_path):
    line = refused("rank", "--model", preset, "--image", tmp_path / "none.png", "a circle")
    assert f"{tmp_path / 'none.png'}: No such file" in line
