"""`lxmert attention`: the drawing that it leaves, and what it refuses."""

import subprocess
import sys

import pytest
from PIL import Image

SENTENCE = "is there a blue triangle in the image?"


@pytest.fixture
def command(tiny, picture):
    """The beginning of a command line."""
    return ("attention", "--model", tiny.preset, "--image", picture)


def test_the_drawing_is_left_and_named(lxmert, command, picture, tmp_path):
    outcome = lxmert(*command, "--output", "a.png", SENTENCE)
    assert outcome == (0, "a.png\n", "")
    assert {path.name for path in tmp_path.iterdir()} == {"a.png", picture.name}
    with Image.open(tmp_path / "a.png") as drawing:
        assert drawing.format == "PNG"
        assert min(drawing.size) > 900


def test_an_older_drawing_is_replaced(lxmert, command, tmp_path):
    (tmp_path / "a.png").write_bytes(b"older")
    for layer in (0, 1):
        argv = ("--layer", layer, "--head", 0, "--kind", "language_to_vision")
        assert lxmert(*command, "--output", "a.png", *argv, SENTENCE).status == 0
        drawing = (tmp_path / "a.png").read_bytes()
        assert drawing != b"older"
    # As -1 is the last.
    argv = ("--layer", -1, "--head", -2, "--kind", "language_to_vision")
    assert lxmert(*command, "--output", "b.png", *argv, SENTENCE).status == 0
    assert (tmp_path / "b.png").read_bytes() == drawing


def test_kinds_may_be_several(lxmert, command, tmp_path):
    heights = []
    for kinds in (["language"], ["language", "vision_to_language"]):
        argv = [part for kind in kinds for part in ("--kind", kind)]
        assert lxmert(*command, "--output", "a.png", *argv, SENTENCE).status == 0
        with Image.open(tmp_path / "a.png") as drawing:
            heights.append(drawing.height)
    assert heights[1] > heights[0] + 200


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["--layer", "1"], "layer 1 is out of range: language has 1 layers, from 0 to 0"),
        (
            ["--layer", "-3", "--kind", "language_to_vision"],
            "layer -3 is out of range: language_to_vision has 2 layers, from 0 to 1, or from -1",
        ),
        (["--head", "2"], "head 2 is out of range: language has 2 heads, from 0 to 1"),
    ],
)
def test_a_layer_or_head_that_is_not_there_is_refused(refused, command, argv, message):
    assert message in refused(*command, "--output", "a.png", *argv, SENTENCE)


@pytest.mark.parametrize("argv", [["--head", "all"], ["--layer", "last"], ["--kind", "cross"]])
def test_a_wrong_choice_is_told_how_to_be_right(lxmert, command, argv):
    outcome = lxmert(*command, "--output", "a.png", *argv, SENTENCE)
    assert outcome.status == 2
    assert argv[0] in outcome.stderr.splitlines()[-1]


@pytest.mark.parametrize(
    ("output", "message"),
    [
        ("a.jpg", "a.jpg: the drawing is a PNG; name it so, as a.png"),
        ("nowhere/a.png", "nowhere: no such directory to write into"),
        ("picture.png", "picture.png: is the picture itself; name another file"),
    ],
)
def test_an_output_that_cannot_be_is_refused(refused, command, output, message):
    assert message in refused(*command, "--output", output, SENTENCE)


def test_a_folder_as_output_is_refused(refused, command, tmp_path):
    (tmp_path / "folder.png").mkdir()
    line = refused(*command, "--output", "folder.png", SENTENCE)
    assert "folder.png: is a directory" in line


def test_an_empty_sentence_is_refused(refused, command):
    assert "sentence 1 is empty" in refused(*command, "--output", "a.png", " ")


def test_a_missing_preset_is_refused(refused, picture, tmp_path):
    model = tmp_path / "none"
    argv = ("--model", model, "--image", picture, "--output", "a.png", SENTENCE)
    assert str(model) in refused("attention", *argv)


def test_without_matplotlib_it_says_which_extra_brings_it(command, tmp_path):
    code = "import sys; sys.modules['matplotlib'] = None; from lxmert_tf.cli import main as cli; "
    code += "sys.exit(cli.main(sys.argv[1:]))"
    argv = [str(part) for part in (*command, "--output", tmp_path / "a.png", SENTENCE)]
    done = subprocess.run([sys.executable, "-c", code, *argv], capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr == (
        "lxmert attention: needs the package 'matplotlib'; "
        "pip install 'lxmert-tf[visual]' brings it\n"
    )
    assert not (tmp_path / "a.png").exists()
