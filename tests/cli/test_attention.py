"""`lxmert attention`: its drawing, and the command lines that it refuses."""

import sys

import pytest
from PIL import Image

from lxmert_tf.cli import main as cli
from lxmert_tf.regions.image import read_image
from lxmert_tf.visualization.attention_maps import attention_maps
from lxmert_tf.visualization.attention_picture import draw_attention

SENTENCE = "is there a blue triangle in the image?"


@pytest.fixture
def command(tiny, picture):
    """The first arguments."""
    return ("attention", "--model", tiny.preset, "--image", picture)


def test_the_drawing_is_left_and_named(lxmert, command, picture, tmp_path):
    outcome = lxmert(*command, "--output", "a.png", SENTENCE)
    assert outcome == (0, "a.png\n", "")
    assert {path.name for path in tmp_path.iterdir()} == {"a.png", picture.name}
    with Image.open(tmp_path / "a.png") as drawing:
        assert drawing.format == "PNG"
        assert min(drawing.size) > 900


def test_options_select_the_panels_and_an_older_drawing_is_replaced(
    lxmert, command, tiny, picture, tmp_path
):
    (tmp_path / "a.png").write_bytes(b"older")
    kinds = ["vision_to_language", "language"]
    argv = [part for kind in kinds for part in ("--kind", kind)]
    outcome = lxmert(*command, "--output", "a.png", "--layer", 0, "--head", -1, *argv, SENTENCE)
    assert outcome.status == 0
    image = read_image(picture)
    maps = attention_maps(tiny.preset, image, SENTENCE)
    draw_attention(maps, image, SENTENCE, tmp_path / "b.png", kinds, layers=[0], heads=[-1])
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()


def test_a_page_is_left_that_needs_no_other_file(lxmert, command, tmp_path):
    outcome = lxmert(*command, "--output", "a.html", SENTENCE)
    assert outcome == (0, "a.html\n", "")
    page = (tmp_path / "a.html").read_text()
    assert f"<title>{SENTENCE}</title>" in page
    assert "<lxmert-explorer data=" in page


@pytest.mark.parametrize("option", [["--layer", "0"], ["--head", "0"], ["--kind", "language"]])
def test_a_page_has_all_layers_and_heads(refused, command, option):
    line = refused(*command, "--output", "a.html", *option, SENTENCE)
    assert "a.html: --layer, --head, and --kind are for .png and .svg" in line


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (
            ["--layer", "1"],
            "layer 1 is out of range: language has 1 layer: use 0",
        ),
        (
            ["--layer", "-3", "--kind", "language_to_vision"],
            "layer -3 is out of range: language_to_vision has 2 layers: use 0 to 1, or -1",
        ),
        (["--head", "2"], "head 2 is out of range: language has 2 heads: use 0 to 1"),
    ],
)
def test_an_unknown_layer_or_head_is_refused(refused, command, argv, message):
    assert message in refused(*command, "--output", "a.png", *argv, SENTENCE)


@pytest.mark.parametrize("argv", [["--head", "all"], ["--layer", "last"], ["--kind", "cross"]])
def test_a_wrong_choice_is_named(lxmert, command, argv):
    outcome = lxmert(*command, "--output", "a.png", *argv, SENTENCE)
    assert outcome.status == 2
    assert argv[0] in outcome.stderr.splitlines()[-1]


@pytest.mark.parametrize(
    ("output", "message"),
    [
        ("a.jpg", "a.jpg: output must end in .png, .svg, .html"),
        ("nowhere/a.png", "directory not found: nowhere"),
        ("picture.png", "picture.png: is the input image; name another file"),
    ],
)
def test_an_impossible_output_is_refused(refused, command, output, message):
    assert message in refused(*command, "--output", output, SENTENCE)


def test_a_folder_as_output_is_refused(refused, command, tmp_path):
    (tmp_path / "folder.png").mkdir()
    line = refused(*command, "--output", "folder.png", SENTENCE)
    assert "folder.png: is a directory" in line


def test_an_empty_sentence_is_refused(refused, command):
    assert "SENTENCE: the value is empty" in refused(*command, "--output", "a.png", " ")


def test_a_missing_preset_is_refused(refused, picture, tmp_path):
    model = tmp_path / "none"
    argv = ("--model", model, "--image", picture, "--output", "a.png", SENTENCE)
    assert str(model) in refused("attention", *argv)


def test_a_missing_package_is_named_with_its_extra(command, tmp_path, monkeypatch, capsys):
    for name in list(sys.modules):
        if name.split(".")[0] == "matplotlib":
            monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    monkeypatch.delitem(sys.modules, "lxmert_tf.visualization.attention_picture", raising=False)
    argv = [str(part) for part in (*command, "--output", tmp_path / "a.png", SENTENCE)]
    assert cli.main(argv) == 2
    assert capsys.readouterr().err == (
        "lxmert attention: needs the package 'matplotlib': pip install 'lxmert-tf[visual]'\n"
    )
    assert not (tmp_path / "a.png").exists()
