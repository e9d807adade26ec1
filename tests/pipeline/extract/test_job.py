"""`run_extract`: each picture is in the output or a reject, and no finished work is done again."""

import gzip
import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import time
import zipfile

import pytest

from lxmert_tf.atomic_write import locked
from lxmert_tf.errors import GateError, InputError
from lxmert_tf.regions.extractor import RegionExtractor
from lxmert_tf.regions.image import read_image
from lxmert_tf.regions.registry import make_extractor
from pipeline.extract import parts
from pipeline.extract.job import ExtractConfig, parts_folder, run_extract
from pipeline.ingest.readers.pictures import read_pictures
from tests.pipeline.extract.pictures import (
    assert_same_regions,
    draw,
    draw_many,
    files_in,
    ingested,
)

GRID = {"name": "grid"}
# Output, format, whether the format has labels, and what `lxmert ingest` reads.
OUTPUTS = [
    ("out.tsv", None, True, "out.tsv"),
    ("out.tsv", "bottom_up_tsv", False, "out.tsv"),
    ("out_3.h5", None, False, "out_3.h5"),
    ("out", None, True, "out/**"),
    ("out", "openvqa_npz", True, "out/**"),
    ("out", "uniter_npz", True, "out/**"),
    ("out", "vilbert_npy", True, "out/**"),
]


def extract(images, output, form=None, workers=1, extractor=GRID, **options) -> dict:
    images = [images] if isinstance(images, str | os.PathLike) else images
    config = ExtractConfig(tuple(map(str, images)), extractor, form, **options)
    return run_extract(config, output, workers=workers)


@pytest.fixture(scope="module")
def photos(tmp_path_factory) -> pathlib.Path:
    folder = tmp_path_factory.mktemp("extract") / "photos [v2]"
    draw(folder / "photo [0].png")
    draw(folder / "train" / "1.jpg", width=31, height=57, seed=1)
    draw(folder / "val" / "1.jpg", width=101, height=33, seed=2)
    return folder


@pytest.mark.parametrize(("name", "form", "labels", "pattern"), OUTPUTS)
def test_records_of_the_output_have_the_regions_of_the_pictures(
    photos, tmp_path, name, form, labels, pattern
):
    summary = extract(photos, tmp_path / name, form)
    assert summary == {
        "images": {"read": 3, "written": 3, "rejected": 0, "reused": 0},
        "reasons": {},
    }
    images = ingested(tmp_path / pattern, tmp_path / "ingested")
    assert images.keys() == {"photo [0]", "train/1", "val/1"}
    for image_id, image in images.items():
        [path] = [path for path in photos.rglob("*.*") if image_id in str(path)]
        pixels = read_image(path)
        assert (image.height, image.width) == pixels.shape[:2]
        expected = make_extractor(GRID).extract(pixels)
        assert_same_regions(image.regions, expected, labels, boxes_within=1e-7)
    assert not parts_folder(tmp_path / name).exists()


@pytest.mark.parametrize(
    ("name", "workers"),
    [pytest.param("out.tsv", 2, marks=pytest.mark.slow), ("out_3.h5", 1), ("out", 1)],
)
def test_workers_and_batches_give_the_same_bytes(tmp_path, name, workers):
    photos = draw_many(tmp_path / "photos", 20)
    for folder, options in (("one", {}), ("two", {"workers": workers, "batch_size": 6})):
        (tmp_path / folder).mkdir()
        extract(photos, tmp_path / folder / name, **options)
    assert files_in(tmp_path / "one") == files_in(tmp_path / "two") != {}


def test_pictures_of_archives_and_files_are_read(photos, tmp_path):
    with zipfile.ZipFile(tmp_path / "photos.zip", "w") as archive:
        for number in (1, 2):
            path = draw(tmp_path / f"p0{number}.png", seed=number)
            archive.write(path, f"deep/p0{number}.png")
        archive.writestr("deep/list.tsv", "no picture")
    summary = extract(
        [tmp_path / "photos.zip", photos / "photo [0].png", tmp_path / "p0[1].png"],
        tmp_path / "out",
    )
    assert summary["images"]["written"] == 4
    assert summary["ignored"] == [f"{tmp_path / 'photos.zip'}!deep/list.tsv"]
    # One name is taken twice, so the folders are part of it.
    folder, deep = tmp_path.name, "deep"
    assert sorted(
        path.relative_to(tmp_path / "out").as_posix() for path in (tmp_path / "out").rglob("*.npz")
    ) == sorted([f"{deep}/p01.npz", "p02.npz", "photo [0].npz", f"{folder}/p01.npz"])


def test_broken_pictures_are_rejects_with_their_cause(tmp_path):
    photos = draw_many(tmp_path / "photos", 3)
    whole = (photos / "p01.png").read_bytes()
    (photos / "p01.png").write_bytes(whole[: len(whole) // 2])
    (photos / "p02.png").write_text("no picture")
    draw(photos / "p03.png", seed=3)
    output = tmp_path / "out.tsv"
    with pytest.raises(
        GateError, match=r"pictures rejected: 2 of 4, more than .*see .*out\.tsv-rejects"
    ):
        extract(photos, output, batch_size=4)
    assert not output.exists() and parts_folder(output).exists()
    summary = extract(photos, output, batch_size=4, max_reject_fraction=0.5)
    assert summary["images"] == {"read": 4, "written": 2, "rejected": 2, "reused": 2}
    assert summary["reasons"] == {"the file is cut short": 1, "not an image in a known format": 1}
    lines = (tmp_path / "out.tsv-rejects.jsonl").read_text().splitlines()
    assert [json.loads(line) for line in lines] == [
        {
            "kind": "image",
            "id": "p01",
            "file": f"{photos}/p01.png",
            "reason": "the file is cut short",
        },
        {
            "kind": "image",
            "id": "p02",
            "file": f"{photos}/p02.png",
            "reason": "not an image in a known format",
        },
    ]
    assert ingested(output, tmp_path / "ingested").keys() == {"p00", "p03"}
    output.unlink()
    draw(photos / "p01.png", seed=1)
    draw(photos / "p02.png", seed=2)
    extract(photos, output)
    # Nothing is rejected any more.
    assert not (tmp_path / "out.tsv-rejects.jsonl").exists()


def test_nothing_but_broken_pictures_is_a_failure(tmp_path):
    (tmp_path / "a.png").write_text("no picture")
    with pytest.raises(GateError, match=r"rejected: 1 of 1; .* \(1 of 1\): not an image"):
        extract(tmp_path / "a.png", tmp_path / "out.tsv", max_reject_fraction=1.0)


def test_a_name_that_text_cannot_hold_is_a_reject(tmp_path):
    draw(tmp_path / "photos" / "a\tb.png")
    draw(tmp_path / "photos" / 'say "p01".png')
    summary = extract(tmp_path / "photos", tmp_path / "out.tsv", max_reject_fraction=0.5)
    assert summary["images"]["written"] == 1
    assert [*summary["reasons"]] == [
        "its name has a tab or a line break, which a TSV file cannot hold"
    ]
    extract(tmp_path / "photos", tmp_path / "out")
    assert (tmp_path / "out" / "a\tb.npz").exists()


def test_files_whose_names_differ_in_an_unknown_ending_are_all_written(tmp_path):
    draw(tmp_path / "a.png").rename(tmp_path / "scan.001")
    draw(tmp_path / "a.png", seed=1).rename(tmp_path / "scan.002")
    draw(tmp_path / "a.png", seed=2)
    (tmp_path / "a.png.gz").write_bytes(gzip.compress((tmp_path / "a.png").read_bytes()))
    names = ("scan.001", "scan.002", "a.png", "a.png.gz")
    for output, form in (("out", None), ("out_0.h5", None), ("out.tsv", None)):
        summary = extract([tmp_path / name for name in names], tmp_path / output, form)
        assert summary["images"]["written"] == 4
    rows = (tmp_path / "out.tsv").read_text().splitlines()
    assert [row.split("\t")[0] for row in rows] == ["scan.001", "scan.002", "a", "a.png.gz"]
    assert len(json.loads((tmp_path / "out_info.json").read_text())) == 4
    assert len(list((tmp_path / "out").iterdir())) == 4


def test_names_of_one_output_file_are_refused_before_anything_is_computed(tmp_path, monkeypatch):
    draw(tmp_path / "q" / "a.png")
    monkeypatch.chdir(draw(tmp_path / "work" / "q" / "a.png").parent.parent)
    images = ["../q/a.png", "q/a.png"]
    with pytest.raises(InputError, match="would be written to one file"):
        extract(images, tmp_path / "out", extractor={"name": "grid", "cells": 1})
    assert not parts_folder(tmp_path / "out").exists()


def test_a_picture_without_a_name_is_a_reject_in_a_folder_of_files(tmp_path):
    images = [draw(tmp_path / "a.png")]
    for name in ("..png", "...png"):
        images.append(shutil.copy(images[0], tmp_path / name))
    summary = extract(images, tmp_path / "out", max_reject_fraction=0.9)
    assert summary["reasons"] == {"its name cannot be that of a file": 2}
    assert extract(images, tmp_path / "out.tsv")["images"]["written"] == 3


def test_a_folder_stands_for_the_pictures_below_it(tmp_path):
    photos = draw_many(tmp_path / "photos", 2)
    draw(photos / "__MACOSX" / "p09.png")
    with zipfile.ZipFile(photos / "more.zip", "w") as archive:
        archive.write(photos / "p01.png", "p08.png")
    assert extract(photos, tmp_path / "out.tsv")["images"]["written"] == 2
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="empty: is a folder without pictures"):
        extract(tmp_path / "empty", tmp_path / "again.tsv")


def test_the_ending_of_the_output_selects_the_format(photos, tmp_path):
    for name, form in (("out.h5", "lxmert_tsv"), ("out", "gqa_hdf5"), ("out.npz", None)):
        with pytest.raises(InputError, match=r"must (end in|be a folder)"):
            run_extract(ExtractConfig((str(photos),), GRID, form), tmp_path / name)
    run_extract(ExtractConfig((str(photos),), GRID), tmp_path / "out_0.h5")
    assert (tmp_path / "out_info.json").exists()


def keys(photos, extractor=GRID, batch_size=1) -> set[str]:
    pictures, _ = parts.find_pictures([str(photos)])
    return {part.key for part in parts.split_into_parts(pictures, extractor, batch_size)}


def test_a_picture_that_is_added_or_removed_changes_few_parts(tmp_path, monkeypatch):
    # The paths are relative, because they tell where parts end.
    monkeypatch.chdir(tmp_path)
    photos = draw_many(pathlib.Path("photos"), 64)
    pictures, _ = parts.find_pictures([str(photos)])
    for batch_size in (1, 3):
        split = parts.split_into_parts(pictures, GRID, batch_size)
        assert [picture for part in split for picture in part.pictures] == pictures
    before = keys(photos)
    (photos / "p00.png").unlink()
    assert len(keys(photos) - before) <= 1 < len(before)
    draw(photos / "p31a.png")
    assert len(keys(photos) - before) <= 3


def test_the_model_of_an_extractor_is_stamped_and_nothing_else(tmp_path, monkeypatch):
    photos = draw_many(tmp_path / "photos", 1)
    model = tmp_path / "model"
    (model / "variables").mkdir(parents=True)
    extractor = {"name": "grid", "flavor": "hf", "model": str(model)}
    monkeypatch.chdir(tmp_path)
    known = keys(photos, extractor)
    # Folders that are called like words of the configuration, and an extraction into the model's.
    for name in ("grid/a", "hf/a", "model/out.tsv-parts/a", "model/out.tsv-rejects.jsonl"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("a")
        assert keys(photos, extractor) == known
    for name in ("model/saved_model.pb", "model/variables/variables.index"):
        (tmp_path / name).write_text("a")
        assert keys(photos, extractor) != known
        known = keys(photos, extractor)


@pytest.mark.parametrize(
    "damaged",
    [
        "",
        "[]",
        "{}",
        '{"lengths": ["a"], "rejects": []}',
        '{"lengths": [], "rejects": [1]}',
        "\xff",
    ],
)
def test_a_damaged_part_is_computed_again(tmp_path, damaged):
    photos, output = draw_many(tmp_path / "photos", 1), tmp_path / "out.tsv"
    (photos / "p01.png").write_text("no picture")
    with pytest.raises(GateError):
        extract(photos, output)
    for path in parts_folder(output).glob("*.json"):
        path.write_text(damaged, encoding="latin-1")
    summary = extract(photos, output, max_reject_fraction=0.5)
    assert summary["images"] == {"read": 2, "written": 1, "rejected": 1, "reused": 0}


def test_only_what_changed_is_computed_again(tmp_path, monkeypatch):
    # Every picture is a part of its own.
    monkeypatch.setattr(parts, "_groups", lambda pictures, _: [(p,) for p in pictures])
    photos, output = draw_many(tmp_path / "photos", 6), tmp_path / "out.tsv"
    (photos / "p05.png").write_text("no picture")

    def computed(**options) -> int:
        """Run until the reject ends it; return how many pictures were computed anew."""
        folder = parts_folder(output)
        before = {(path.name, path.stat().st_mtime_ns) for path in folder.glob("*.json")}
        with pytest.raises(GateError):
            extract(photos, output, **options)
        after = {(path.name, path.stat().st_mtime_ns) for path in folder.glob("*.json")}
        new = [folder / name for name, _ in after - before]
        return sum(len(json.loads(path.read_text())["lengths"]) for path in new)

    assert computed() == 5
    assert computed() == 0
    draw(photos / "p00.png", width=50)
    assert computed() == 1
    (parts_folder(output) / ".a.json.1.partial").write_text("a")
    assert computed(extractor={"name": "grid", "cells": 3}) == 5
    # Parts of other settings are gone, and what a killed process left.
    assert len(list(parts_folder(output).glob("*.json"))) == 6
    assert not list(parts_folder(output).glob(".*.partial"))
    assert computed() == 5
    # A part that lost its regions is not finished.
    pictures, _ = parts.find_pictures([str(photos)])
    first, *_ = parts.split_into_parts(pictures, GRID, batch_size=1)
    regions = parts_folder(output) / f"{first.key}.regions"
    regions.write_bytes(regions.read_bytes()[:-1])
    draw(photos / "p05.png", seed=5)
    assert extract(photos, output)["images"]["reused"] == 4
    assert not parts_folder(output).exists()


def test_an_existing_output_is_refused_and_stays(photos, tmp_path):
    for name in ("out.tsv", "out_0.h5", "out_info.json"):
        (tmp_path / name).write_text("mine")
    with pytest.raises(InputError, match=r"out_info\.json: belongs to another output; choose"):
        extract(photos, tmp_path / "out_1.h5")
    with pytest.raises(InputError, match="workers is 0"):
        extract(photos, tmp_path / "new.tsv", workers=0)
    for name in ("out.tsv", "out_0.h5"):
        with pytest.raises(InputError, match="already exists; choose a new path or remove it"):
            extract(photos, tmp_path / name)
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "a.npz").write_text("mine")
    with pytest.raises(InputError, match="already exists"):
        extract(photos, tmp_path / "folder")
    assert {path.read_text() for path in tmp_path.rglob("*.*")} == {"mine"}
    assert len(list(tmp_path.iterdir())) == 4


def test_an_empty_folder_is_filled(photos, tmp_path):
    (tmp_path / "out").mkdir()
    assert extract(photos, tmp_path / "out")["images"]["written"] == 3
    assert len(list((tmp_path / "out").rglob("*.npz"))) == 3


@pytest.mark.parametrize("name", ["out", "out.tsv"])
def test_the_output_is_on_the_disk_before_its_name(photos, tmp_path, monkeypatch, name):
    fsync, written = os.fsync, []

    def record(opened):
        written.append((os.readlink(f"/proc/self/fd/{opened}"), (tmp_path / name).exists()))
        fsync(opened)

    monkeypatch.setattr(os, "fsync", record)
    extract(photos, tmp_path / name)
    early = {os.path.basename(path) for path, is_there in written if not is_there}
    assert early >= ({"1.npz", "photo [0].npz"} if name == "out" else {"out.tsv"})
    assert (str(tmp_path), True) in written


def test_what_is_no_picture_and_no_extractor_is_refused_and_leaves_nothing(photos, tmp_path):
    (tmp_path / "notes.json").write_text("{}")
    with pytest.raises(
        InputError, match=r"no pictures found, but other files such as .*notes\.json"
    ):
        extract(tmp_path / "*.json", tmp_path / "out.tsv")
    with pytest.raises(InputError, match="unknown extractor 'gird'"):
        extract(photos, tmp_path / "out.tsv", extractor={"name": "gird"})
    with pytest.raises(InputError, match="batch_size is 0"):
        extract(photos, tmp_path / "out.tsv", batch_size=0)
    assert [path.name for path in tmp_path.iterdir()] == ["notes.json"]


@pytest.mark.parametrize(
    ("error", "kind", "message"),
    [
        (
            MemoryError(),
            InputError,
            r"p00\.png, .*p01\.png: out of memory; choose a smaller --batch",
        ),
        (InputError("too bright"), InputError, r"p01\.png: too bright"),
        (KeyError("a"), RuntimeError, r"p01\.png: KeyError: 'a'"),
    ],
)
def test_an_extractor_that_fails_names_its_pictures(tmp_path, error, kind, message):
    class Failing(RegionExtractor):
        def extract(self, image):
            raise error

        def get_config(self):
            return {"name": "failing"}

    photos = draw_many(tmp_path / "photos", 2)
    pictures, _ = parts.find_pictures([str(photos)])
    with pytest.raises(kind, match=message):
        read_pictures(pictures, Failing())


def test_two_processes_do_not_write_one_output(photos, tmp_path):
    folder = parts_folder(tmp_path / "out.tsv")
    folder.mkdir()
    with locked(folder, "x"), pytest.raises(InputError, match="another process is writing it"):
        extract(photos, tmp_path / "out.tsv")


def start(photos, output, *options) -> subprocess.Popen:
    extractor = photos.parent / "extractor.json"
    extractor.write_text(json.dumps(GRID))
    command = [sys.executable, "-m", "lxmert_tf.cli", "extract", "--images", photos]
    command += ["--extractor", extractor, "--output", output, *options]
    return subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )


def wait_for_parts(output, process: subprocess.Popen, count: int) -> None:
    while len(list(parts_folder(output).glob("*.json"))) < count:
        assert process.poll() is None, process.communicate()
        time.sleep(0.01)


@pytest.mark.parametrize(
    ("number", "workers"),
    [
        pytest.param(signal.SIGKILL, 1, marks=pytest.mark.e2e),
        pytest.param(signal.SIGINT, 1, marks=pytest.mark.slow),
        pytest.param(signal.SIGKILL, 2, marks=pytest.mark.slow),
    ],
)
def test_an_interrupted_job_goes_on_and_gives_the_same_bytes(tmp_path, number, workers):
    photos, output = tmp_path / "photos", tmp_path / "out.tsv"
    source = draw(tmp_path / "source.png", width=600, height=450)
    photos.mkdir()
    for link in range(160):
        os.link(source, photos / f"p{link:03}.png")
    process = start(photos, output, "--workers", str(workers))
    wait_for_parts(output, process, 1)
    process.send_signal(number)
    stdout, stderr = process.communicate(timeout=60)
    assert stdout == ""
    if number == signal.SIGINT:
        kept = "finished pictures are kept; the same command goes on from there"
        assert stderr == f"{kept}\nlxmert extract: interrupted\n"
        assert process.returncode == 130
    done = len(list(parts_folder(output).glob("*.json")))
    assert not output.exists() and 1 <= done < len(keys(photos))
    summary = extract(photos, output)
    assert summary["images"]["written"] == 160
    assert summary["images"]["reused"] >= done
    extract(photos, tmp_path / "again.tsv")
    assert output.read_bytes() == (tmp_path / "again.tsv").read_bytes()
    names = {"photos", "source.png", "extractor.json", "out.tsv", "again.tsv"}
    assert {path.name for path in tmp_path.iterdir()} == names
