"""`lxmert ask` on every form of a model, and on invalid input."""

import re
import shutil
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from lxmert_tf import LxmertAnswerClassifier
from lxmert_tf.serving import Predictor
from lxmert_tf.serving.layout import find_model

QUESTION = "what shape is in the image?"


def table_of(stdout):
    """Return [(question, [(answer, score as printed)])] of the command's output."""
    asked = []
    for line in stdout.splitlines():
        answer = re.fullmatch(r"  ( {0,2}\d{1,3}\.\d%)  (.+)", line)
        if answer:
            asked[-1][1].append((answer[2], answer[1].strip()))
        else:
            asked.append((line, []))
    return asked


def test_a_fresh_process_asks_the_highest_version_and_writes_nothing_on_stderr(
    tiny, tmp_path, picture
):
    versions = tmp_path / "versions"
    # 10 is above 9 as a number, not as a name; 11 is not a model, as when a copy is under way.
    shutil.copytree(tiny.saved_model, versions / "10")
    (versions / "9").mkdir()
    (versions / "9" / "saved_model.pb").write_bytes(b"not to be read")
    (versions / "11").mkdir()
    assert find_model(versions) == versions / "10"
    questions = [QUESTION, "is there a circle?"]
    command = [sys.executable, "-m", "lxmert_tf.cli", "ask", "--model", versions]
    command += ["--image", picture, "--top", "2", *questions]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    image = np.asarray(Image.open(picture).convert("RGB"))
    rows = Predictor.from_saved_model(tiny.saved_model).answer(image, questions)
    assert table_of(done.stdout) == [
        (question, [(answer, f"{score:.1%}") for answer, score in row[:2]])
        for question, row in zip(questions, rows)
    ]


@pytest.mark.slow
def test_a_preset_that_answers_nothing_is_refused(refused, tiny, picture, tmp_path_factory):
    folder = tmp_path_factory.mktemp("preset")
    backbone = LxmertAnswerClassifier.from_preset(tiny.preset).backbone
    backbone.save_preset(folder)
    line = refused("ask", "--model", folder, "--image", picture, QUESTION)
    assert f"{folder}: a LxmertBackbone gives no answers; fine-tune it first" in line


def test_a_text_file_is_refused(refused, tiny, tmp_path):
    path = tmp_path / "words.png"
    path.write_text("a blue circle\n")
    line = refused("ask", "--model", tiny.preset, "--image", path, QUESTION)
    assert f"{path}: not an image" in line


def test_truncated_image_is_refused(refused, tiny, picture):
    picture.write_bytes(picture.read_bytes()[:-40])
    line = refused("ask", "--model", tiny.preset, "--image", picture, QUESTION)
    assert f"{picture}: the file is cut short" in line


@pytest.mark.parametrize("name", ["nowhere.png", ""])
def test_missing_image_is_refused(refused, tiny, tmp_path, name):
    # A folder is no image either.
    path = tmp_path / name
    line = refused("ask", "--model", tiny.preset, "--image", path, QUESTION)
    assert str(path) in line
    assert re.search("No such file|Is a directory", line)


@pytest.mark.parametrize("question", ["", " \t\n"])
def test_question_without_words_is_refused_with_its_number(refused, tiny, picture, question):
    line = refused("ask", "--model", tiny.preset, "--image", picture, QUESTION, question)
    assert "question 2 is empty" in line
    # Before the model is loaded, which takes long.
    line = refused("ask", "--model", tiny.preset / "none", "--image", picture, question)
    assert "question 1 is empty" in line


def test_missing_model_is_refused(refused, picture, tmp_path):
    line = refused("ask", "--model", tmp_path / "nowhere", "--image", picture, QUESTION)
    assert f"model not found: {tmp_path / 'nowhere'}" in line


def test_folder_without_a_model_is_refused(refused, picture, tmp_path):
    line = refused("ask", "--model", tmp_path, "--image", picture, QUESTION)
    assert f"{tmp_path}: no SavedModel, OpenVINO model, or preset" in line


@pytest.mark.parametrize("damage", ["garbage", "cut short", "no weights"])
def test_damaged_saved_model_is_refused(refused, tiny, picture, tmp_path, damage):
    model = tmp_path / "model"
    shutil.copytree(tiny.saved_model, model)
    graph = model / "saved_model.pb"
    if damage == "garbage":
        graph.write_bytes(b"\xff" * 1000)
    elif damage == "cut short":
        graph.write_bytes(graph.read_bytes()[:-1000])
    else:
        shutil.rmtree(model / "variables")
    line = refused("ask", "--model", model, "--image", picture, QUESTION)
    assert f"{model}: cannot load the SavedModel" in line


def test_saved_model_of_something_else_is_refused(refused, picture, tmp_path):
    import tensorflow as tf

    model = tmp_path / "other"
    tf.saved_model.save(tf.Module(), str(model))
    line = refused("ask", "--model", model, "--image", picture, QUESTION)
    assert f"{model}: no signature" in line


def test_model_that_does_not_name_its_extractor_is_refused(refused, tiny, picture, tmp_path):
    model = tmp_path / "model"
    shutil.copytree(tiny.saved_model, model)
    shutil.rmtree(model / "assets.extra")
    line = refused("ask", "--model", model, "--image", picture, QUESTION)
    assert "no region extractor is stored" in line


def test_preset_without_weights_is_refused(refused, tiny, picture, tmp_path):
    preset = tmp_path / "preset"
    shutil.copytree(tiny.preset, preset)
    (preset / "weights.index").unlink()
    line = refused("ask", "--model", preset, "--image", picture, QUESTION)
    assert f"{preset / 'weights'}: the weights cannot be loaded" in line


@pytest.mark.parametrize("top", ["0", "-1", "many"])
def test_top_must_be_a_positive_number(lxmert, tiny, picture, top):
    outcome = lxmert("ask", "--model", tiny.preset, "--image", picture, "--top", top, QUESTION)
    assert outcome.status == 2
    assert "argument --top" in outcome.stderr


def test_top_gives_as_many_answers_as_the_model_has(lxmert, tiny, picture):
    names = len(LxmertAnswerClassifier.from_preset(tiny.preset).answers)
    ask = ("ask", "--image", picture, "--top", str(names + 1), QUESTION)
    outcome = lxmert(*ask, "--model", tiny.preset)
    [(_, answers)] = table_of(outcome.stdout)
    assert len(answers) == names
    assert f"{tiny.preset}: gives {names} answers to a question" in outcome.stderr


def test_an_endpoint_needs_its_protocol(refused, picture):
    line = refused("ask", "--endpoint", "localhost:1", "--model", "m", "--image", picture, QUESTION)
    assert "name the protocol, http://localhost:1 (REST) or grpc://localhost:1" in line
