"""Models as the page uses them, and the choice among them."""

import pathlib
import shutil

import numpy as np
import pytest
from PIL import Image

from lxmert_tf.app.model_choices import choices_by_task, choices_on_server
from lxmert_tf.app.open_model import open_model
from lxmert_tf.app.page_model import Task, connect
from lxmert_tf.errors import InputError
from lxmert_tf.regions.image import read_image
from lxmert_tf.serving import Predictor
from lxmert_tf.serving.errors import Unavailable
from lxmert_tf.serving.server.model_versions import ModelVersions
from lxmert_tf.visualization.attention_maps import attention_maps
from tests.serving.rest import NAME, running
from tests.serving.tiny import EXTRACTOR

QUESTIONS = ["what shape is in the image?", "is there a circle?"]


@pytest.fixture(scope="module")
def preset(tiny):
    return open_model(tiny.preset)


@pytest.fixture(scope="module")
def saved_model(tiny):
    return open_model(tiny.saved_model)


@pytest.fixture(scope="module")
def file(pictures):
    return pathlib.Path(pictures[0]).read_bytes()


def test_a_preset_and_a_saved_model_answer_as_the_predictor(
    preset, saved_model, tiny, file, pictures
):
    expected = Predictor.from_saved_model(tiny.saved_model).answer(
        read_image(pictures[0]), QUESTIONS
    )
    for model in (preset, saved_model):
        assert model.task is Task.ANSWER
        picture = model.read(file)
        assert len(picture.names) == len(picture.regions)
        rows = model.answer(picture, QUESTIONS)
        assert [[a for a, _ in row] for row in rows] == [[a for a, _ in row] for row in expected]
        scores = [[[score for _, score in row] for row in found] for found in (rows, expected)]
        np.testing.assert_allclose(*scores, rtol=0, atol=1e-5)


def test_a_preset_tells_its_attention(preset, tiny, file, pictures):
    assert preset.shows_attention
    found = preset.attention(preset.read(file), QUESTIONS[0])
    expected = attention_maps(tiny.preset, read_image(pictures[0]), QUESTIONS[0])
    assert found.pieces == expected.pieces
    for kind, layers in expected.layers.items():
        np.testing.assert_allclose(found.layers[kind], layers, rtol=0, atol=1e-6)


def test_a_saved_model_says_that_attention_needs_a_preset(saved_model, file):
    assert not saved_model.shows_attention
    with pytest.raises(InputError, match="can only be seen with a preset"):
        saved_model.attention(saved_model.read(file), QUESTIONS[0])


def test_a_large_picture_is_kept_in_the_size_of_the_page(preset, tmp_path):
    Image.new("RGB", (2000, 1000), "white").save(tmp_path / "large.png")
    assert preset.read((tmp_path / "large.png").read_bytes()).pixels.shape == (450, 900, 3)


def test_what_is_no_picture_is_refused(preset):
    with pytest.raises(InputError, match="not an image"):
        preset.read(b"a text")


def test_a_server_answers_as_its_model(saved_model, tiny, file):
    with running(ModelVersions(tiny.saved_model, {}, print)) as endpoint:
        model = connect(endpoint, NAME, EXTRACTOR)
        assert model.task is Task.ANSWER
        assert not model.shows_attention
        rows = model.answer(model.read(file), QUESTIONS)
    expected = saved_model.answer(saved_model.read(file), QUESTIONS)
    assert [[a for a, _ in row] for row in rows] == [[a for a, _ in row] for row in expected]


def test_a_server_that_is_down_leaves_the_task_open_and_is_reported():
    with pytest.raises(Unavailable, match="cannot connect"):
        connect("http://127.0.0.1:9", "easy_vqa")


def test_models_on_a_server_are_not_folders_here(preset, tmp_path, monkeypatch):
    (tmp_path / "tiny" / "1").mkdir(parents=True)
    (tmp_path / "tiny" / "1" / "saved_model.pb").touch()
    monkeypatch.chdir(tmp_path)
    models = choices_on_server(["tiny"], lambda name: preset)
    assert models[Task.ANSWER].names == ["tiny"]
    with pytest.raises(InputError, match="given twice"):
        choices_on_server(["tiny", "tiny"], lambda name: preset)


def test_a_warm_model_has_traced_what_visitors_use(tiny):
    model = open_model(tiny.preset)
    calls = []
    predictor = model._predictor
    call = predictor._call
    predictor._call = lambda name, inputs: calls.append(name) or call(name, inputs)
    model.warm_up()
    assert calls == ["encode_image", "answer_about_image"]


def test_each_version_of_a_folder_is_a_choice_and_loaded_when_it_is_chosen(tiny, tmp_path):
    for number in (9, 10):
        shutil.copytree(tiny.saved_model, tmp_path / str(number))
    (tmp_path / "9" / "saved_model.pb").write_bytes(b"damaged")
    models = choices_by_task([str(tmp_path)], open_model)[Task.ANSWER]
    name = tmp_path.name
    assert models.names == [f"{name}, version 10", f"{name}, version 9"]
    assert models[models.names[0]] is models[models.names[0]]
    with pytest.raises(InputError, match="9: cannot load the SavedModel"):
        models[models.names[1]]
    with pytest.raises(InputError, match="no model is called 'version 8'"):
        models["version 8"]


def test_models_are_named_for_their_folders(tiny, preset, tmp_path):
    def load(folder):
        return preset

    folders = [str(tiny.preset), str(tiny.saved_model)]
    assert choices_by_task(folders, load)[Task.ANSWER].names == ["preset", "saved_model"]
    (tmp_path / "preset").symlink_to(tiny.preset)
    folders = [str(tiny.preset), str(tmp_path / "preset")]
    assert choices_by_task(folders, load)[Task.ANSWER].names == folders
    with pytest.raises(InputError, match="is given twice"):
        choices_by_task(folders[:1] * 2, load)


def test_a_missing_model_is_refused_at_the_start(tmp_path):
    with pytest.raises(InputError, match="model not found"):
        choices_by_task([str(tmp_path / "none")], open_model)
