"""The back ends of `Predictor` answer alike, and it validates what it is given."""

import json
import pathlib
import shutil
import subprocess
import sys

import easy_vqa
import numpy as np
import pytest

from lxmert_tf.errors import InputError
from lxmert_tf.regions.grid import GridExtractor
from lxmert_tf.regions.image import read_image
from lxmert_tf.serving import Predictor
from lxmert_tf.serving.server.model_versions import ModelVersions
from tests.lxmert_tf.samples import one_line
from tests.serving.rest import NAME, running
from tests.serving.tiny import EXTRACTOR

QUESTIONS = ["what shape is in the image?", "is there a circle?"]


@pytest.fixture(scope="module")
def predictor(tiny):
    return Predictor.from_directory(tiny.saved_model)


def test_a_preset_a_saved_model_and_a_server_answer_alike(predictor, tiny, image):
    expected = predictor.answer(image, QUESTIONS)
    assert [len(answers) for answers in expected] == [5, 5]
    with running(ModelVersions(tiny.saved_model, {}, print)) as endpoint:
        server = Predictor.from_endpoint(endpoint, NAME, EXTRACTOR)
        found = [server.answer([image], QUESTIONS)]
    found.append(Predictor.from_directory(tiny.preset).answer(image, QUESTIONS))
    for answers in found:
        assert [[a for a, _ in row] for row in answers] == [[a for a, _ in row] for row in expected]
        scores = [[[score for _, score in row] for row in rows] for rows in (answers, expected)]
        np.testing.assert_allclose(*scores, rtol=0, atol=1e-5)


def test_every_question_about_every_image_is_answered_as_alone(predictor, image, monkeypatch):
    # More than one call, of which the last has fewer pairs and the others have two images.
    monkeypatch.setattr("lxmert_tf.serving.predictor.PAIRS_PER_CALL", 4)
    paths = easy_vqa.get_test_image_paths()
    count = len(predictor.extractor.extract(image))
    others = map(read_image, (paths[i] for i in range(1, 6)))
    # With another number of regions.
    other = next(o for o in others if len(predictor.extractor.extract(o)) != count)
    images = [image, other]
    encoded = [predictor.encode(pixels) for pixels in images]
    assert encoded[0].state.shape != encoded[1].state.shape
    questions = [*QUESTIONS, "what color?"]
    found = predictor.answer_pairs(encoded, predictor.encode_questions(questions))
    for pixels, answers in zip(images, found, strict=True):
        expected = predictor.answer(pixels, questions)
        assert [[a for a, _ in row] for row in answers] == [[a for a, _ in row] for row in expected]
        scores = [[[score for _, score in row] for row in rows] for rows in (answers, expected)]
        np.testing.assert_allclose(*scores, rtol=0, atol=1e-5)
    assert found[0] != found[1]
    assert predictor.answer_pairs(encoded, predictor.encode_questions([])) == [[], []]
    assert predictor.answer_pairs([], predictor.encode_questions(QUESTIONS)) == []


def test_an_image_may_be_the_contents_of_a_file(predictor, image):
    contents = pathlib.Path(easy_vqa.get_test_image_paths()[0]).read_bytes()
    assert predictor.answer(contents, QUESTIONS) == predictor.answer(image, QUESTIONS)


def test_no_questions_have_no_answers(predictor, image):
    assert predictor.answer(image, []) == []


@pytest.mark.parametrize(
    ("images", "questions", "message"),
    [
        (1, ["what?", " \n"], "question 2 is empty"),
        (0, ["what?"], "0 images; a model reads 1 or 2"),
        (2, ["what?"], "the model reads 1 image, not 2"),
        (3, ["what?"], "3 images; a model reads 1 or 2"),
    ],
)
def test_invalid_input_is_refused(predictor, image, images, questions, message):
    with pytest.raises(InputError) as caught:
        predictor.answer([image] * images, questions)
    assert message in one_line(caught)


def test_one_text_in_place_of_a_list_is_refused(predictor, image):
    with pytest.raises(InputError) as caught:
        predictor.answer(image, "is there a circle?")
    assert one_line(caught) == "questions must be a list, not one str"


@pytest.mark.parametrize("images", ["photo.jpg", pathlib.Path("photo.jpg"), ["photo.jpg"]])
def test_a_name_in_place_of_an_image_is_refused(predictor, images):
    with pytest.raises(InputError) as caught:
        predictor.answer(images, QUESTIONS)
    assert one_line(caught) == (
        "photo.jpg: an image must be pixels or the contents of a file, not its name; read it with "
        "read_image"
    )


def test_an_extractor_that_does_not_fit_is_refused_before_the_weights_are_read(tiny, tmp_path):
    preset = tmp_path / "preset"
    shutil.copytree(tiny.preset, preset)
    (preset / "weights.index").unlink()
    with pytest.raises(InputError, match="the model reads 64 features per region, but"):
        Predictor.from_directory(preset, GridExtractor())
    about = json.loads((preset / "preset.json").read_text())
    (preset / "preset.json").write_text(json.dumps({**about, "extractor": None}))
    with pytest.raises(InputError, match="no region extractor is stored"):
        Predictor.from_directory(preset)


def test_a_rest_endpoint_needs_neither_tensorflow_nor_grpc():
    code = """
import sys
from lxmert_tf.serving import Predictor
Predictor.from_endpoint("http://localhost:1", "m")
print([name for name in ("tensorflow", "grpc") if name in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("[]\n", "")
