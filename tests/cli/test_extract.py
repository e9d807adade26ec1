"""`lxmert extract` as users call it."""

import json

import pytest

from pipeline.commands import extract
from pipeline.extract import formats
from tests.pipeline.extract.pictures import draw


@pytest.fixture
def photos(tmp_path):
    for number in range(3):
        draw(tmp_path / "photos" / f"p{number}.png", seed=number)
    return "photos"


@pytest.fixture
def grid(tmp_path):
    (tmp_path / "grid.yaml").write_text("{name: grid, cells: 1}")
    return "grid.yaml"


def test_writes_a_region_file_and_says_what_it_did(lxmert, photos, grid, tmp_path):
    (tmp_path / "photos" / "p2.png").write_text("no picture")
    (tmp_path / "photos" / "notes.doc").write_text("notes")
    argv = ["extract", "--images", "photos/*", "--extractor", grid, "--output", "out.tsv"]
    outcome = lxmert(*argv)
    assert (outcome.status, outcome.stdout) == (1, "")
    [line] = outcome.stderr.splitlines()
    assert "pictures rejected: 1 of 3, more than the limit of 1.00% (--max-reject-fraction)" in line
    outcome = lxmert(*argv, "--max-reject-fraction", "0.5")
    assert (outcome.status, outcome.stderr) == (0, "")
    assert outcome.stdout.splitlines() == [
        "pictures read 3, written 2, rejected 1 (finished before: 2)",
        "rejected 1: not an image in a known format",
        "ignored files of other kinds: photos/notes.doc",
        "written to out.tsv",
    ]
    rows = (tmp_path / "out.tsv").read_text().splitlines()
    assert [row.split("\t")[0] for row in rows] == ["p0", "p1"]
    [reject] = (tmp_path / "out.tsv-rejects.jsonl").read_text().splitlines()
    assert json.loads(reject)["file"] == "photos/p2.png"


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        ([], "one of the arguments --detector --extractor is required"),
        (["--detector", "d", "--extractor", "e"], "not allowed with argument"),
        (["--extractor", "missing.yaml"], "missing.yaml: No such file"),
        (["--extractor", "grid.yaml", "--flavor", "hf"], "--flavor is for --detector"),
        (["--extractor", "grid.yaml", "--workers", "0"], "workers is 0"),
        (["--extractor", "grid.yaml", "--batch-size", "0"], "--batch-size is 0"),
        (["--extractor", "grid.yaml", "--format", "npz"], "invalid choice: 'npz'"),
        (["--extractor", "grid.yaml", "--images", "no/*.png"], "no files match no/*.png"),
        (["--extractor", "grid.yaml", "--images", "empty"], "empty: is a folder without pictures"),
    ],
)
def test_wrong_command_lines_are_refused_in_one_line(
    refused, photos, grid, tmp_path, argv, message
):
    (tmp_path / "empty").mkdir()
    images = [] if "--images" in argv else ["--images", photos]
    assert message in refused("extract", *images, *argv, "--output", "out.tsv")


def test_the_options_name_all_formats():
    assert tuple(formats.FORMATS) == extract.FORMATS


def test_a_file_in_place_of_pictures_is_rejected(lxmert, grid, tmp_path):
    outcome = lxmert("extract", "--images", grid, "--extractor", grid, "--output", "out.tsv")
    assert outcome.status == 1
    assert "not an image in a known format" in outcome.stderr
    assert {path.name for path in tmp_path.iterdir()} == {grid, "out.tsv-rejects.jsonl"}
