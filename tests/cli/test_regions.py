"""`lxmert regions`: its drawing, and the command lines that it refuses."""

import xml.etree.ElementTree as ElementTree

import pytest
from PIL import Image

from lxmert_tf.cli import main as cli
from lxmert_tf.regions.image import read_image
from lxmert_tf.regions.registry import make_extractor
from lxmert_tf.visualization.region_names import region_names


@pytest.fixture
def extractor(tmp_path):
    path = tmp_path / "extractor.yaml"
    path.write_text("name: grid\ncells: 1\n")
    return path


@pytest.fixture
def command(picture, extractor):
    """The first arguments."""
    return ("regions", "--image", picture, "--extractor", extractor)


def test_each_region_has_its_number_and_name(lxmert, command, picture, tmp_path):
    assert lxmert(*command, "--output", "regions.svg") == (0, "regions.svg\n", "")
    drawing = (tmp_path / "regions.svg").read_text()
    ElementTree.fromstring(drawing)
    # matplotlib leaves a text in a comment beside its outlines.
    grid = make_extractor({"name": "grid", "cells": 1})
    names = region_names(grid, grid.extract(read_image(picture)))
    assert any(names)
    for number, name in enumerate(names, start=1):
        assert f"<!-- {number} -->" in drawing
        assert (f"<!-- {number}  {name} " in drawing) == bool(name)


def test_an_older_drawing_is_replaced(lxmert, command, tmp_path):
    (tmp_path / "regions.png").write_bytes(b"older")
    assert lxmert(*command, "--output", "regions.png").status == 0
    with Image.open(tmp_path / "regions.png") as drawing:
        assert drawing.format == "PNG"
        assert min(drawing.size) > 600


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["--output", "a.html"], "a.html: output must end in .png, .svg"),
        (["--output", "none/a.png"], "none"),
        (["--output", "a.png", "--flavor", "hf"], "--flavor is for --detector"),
    ],
)
def test_bad_options_are_refused(refused, command, argv, message):
    assert message in refused(*command, *argv)


def test_the_image_is_not_replaced(refused, command, picture):
    content = picture.read_bytes()
    assert "is the input image" in refused(*command, "--output", picture)
    assert picture.read_bytes() == content


def test_an_extractor_that_is_unknown_is_refused(refused, command, extractor, tmp_path):
    extractor.write_text("name: frid")
    assert "frid" in refused(*command, "--output", "a.png")
    assert not (tmp_path / "a.png").exists()


def test_what_finds_the_regions_is_required(picture, capsys):
    with pytest.raises(SystemExit):
        cli.main(["regions", "--image", str(picture), "--output", "a.png"])
    assert "--detector --extractor is required" in capsys.readouterr().err
