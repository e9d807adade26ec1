"""`lxmert ingest` of files: regions and annotations in, records, rejects and a true summary out."""

import dataclasses
import gzip
import json
import os
import pathlib
import zipfile

import numpy as np
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from lxmert_tf.data.sidecars import INGEST_SUMMARY
from lxmert_tf.errors import GateError, InputError
from pipeline.beam import spill
from pipeline.ingest.config import RegionFiles
from pipeline.ingest.job import REJECTS_SUMMARY, run_ingest
from pipeline.ingest.parsers import text_rows
from pipeline.ingest.readers.region_tsv import LxmertTsv
from tests.pipeline.ingest import detections
from tests.pipeline.ingest.job_files import (
    config_of,
    contents,
    lxmert_row,
    rejects_in,
    scenes_in,
    write_questions,
    write_regions,
)

HEADER = "\t".join(LxmertTsv.columns).encode() + b"\n"


@pytest.fixture
def files(tmp_path):
    """Six images with two questions each."""
    ids = [f"i{n}" for n in range(6)]
    regions = write_regions(tmp_path / "regions.tsv", ids)
    return regions, write_questions(tmp_path / "questions.json", ids)


def test_every_image_and_every_sentence_comes_out_as_it_went_in(files, tmp_path):
    summary = run_ingest(
        config_of(*([f] for f in files), feature_dtype="float32"), tmp_path / "out"
    )
    assert summary["images"] == {"read": 6, "written": 6, "rejected": 0}
    assert summary["sentences"] == {"read": 12, "written": 12, "rejected": 0}
    assert summary["answers"] == {"read": 24, "written": 24, "rejected": 0}
    scenes = scenes_in(tmp_path / "out")
    assert len(scenes) == 6
    for scene in scenes:
        [image] = scene.images
        detections.small(image.id).check(image)
        assert [s.id for s in scene.sentences] == [f"{image.id}-0", f"{image.id}-1"]
        assert scene.sentences[0].answers == (("cat", 1.0), ("A dog.", pytest.approx(0.3)))
    # Half the size is the default.
    run_ingest(config_of(*([f] for f in files)), tmp_path / "half")
    features = scenes_in(tmp_path / "half")[0].images[0].regions.features
    assert features.dtype == np.float16


@pytest.mark.parametrize("form", ["gz", "zip", "several files"])
def test_compressed_and_divided_files_give_the_same_records(form, files, tmp_path):
    regions, questions = files
    run_ingest(config_of([regions], [questions]), tmp_path / "plain")
    lines = regions.read_bytes().splitlines(keepends=True)
    if form == "gz":
        other = [tmp_path / "regions.tsv.gz"]
        other[0].write_bytes(gzip.compress(regions.read_bytes()))
    elif form == "zip":
        other = [tmp_path / "regions.zip"]
        with zipfile.ZipFile(other[0], "w", zipfile.ZIP_DEFLATED) as archive:
            archive.write(regions, "folder/regions.tsv")
    else:
        (tmp_path / "parts").mkdir()
        for number, line in enumerate(lines):
            (tmp_path / "parts" / f"{number}.tsv").write_bytes(line)
        other = [tmp_path / "parts" / "*.tsv"]
    run_ingest(config_of(other, [questions]), tmp_path / "other")
    assert contents(tmp_path / "other") == contents(tmp_path / "plain")


def test_what_does_not_fit_into_memory_goes_through_files_to_the_same_bytes(tmp_path, monkeypatch):
    ids = [f"i{n}" for n in range(20)]
    regions = [write_regions(tmp_path / f"{n}.tsv", ids[n::4]) for n in range(4)]
    questions = write_questions(tmp_path / "questions.json", [*ids, "missing"], each=3)
    config = config_of(regions, [questions], shards=2, min_answer_count=2, max_reject_fraction=0.5)
    run_ingest(config, tmp_path / "in-memory")
    for name, value in (("MOST_HELD", 4), ("MOST_LOADED", 3), ("MOST_INLINE_BYTES", 0)):
        monkeypatch.setattr(spill, name, value)
    run_ingest(config, tmp_path / "spilled")
    assert contents(tmp_path / "spilled") == contents(tmp_path / "in-memory")


@pytest.mark.slow
def test_two_worker_processes_write_the_same_bytes(files, tmp_path):
    config = config_of(*([f] for f in files))
    run_ingest(config, tmp_path / "one")
    run_ingest(config, tmp_path / "two", workers=2)
    assert contents(tmp_path / "two") == contents(tmp_path / "one")


def test_errors_are_reported_with_their_lines_and_neighbors_are_read(files, tmp_path, monkeypatch):
    regions, questions = files
    run_ingest(config_of([regions], [questions]), tmp_path / "whole")
    lines = regions.read_bytes().splitlines(keepends=True)
    lines[2] = lines[2].replace(b"\t", b" ", 1)
    lines[4] = lines[4][:-9] + b"\n"
    # The header and blank lines count, too.
    regions.write_bytes(b"".join([HEADER, lines[0], b"\n \n", *lines[1:]]))
    # Pieces of about a line: the line numbers have to be added up.
    monkeypatch.setattr(text_rows, "PIECE_BYTES", len(lines[0]))
    config = config_of([regions], [questions], max_reject_fraction=1.0)
    summary = run_ingest(config, tmp_path / "out")
    assert summary["images"] == {"read": 6, "written": 4, "rejected": 2}
    assert summary["sentences"] == {"read": 12, "written": 8, "rejected": 4}
    rejects = rejects_in(tmp_path / "out")
    images = {r["line"]: r for r in rejects if r["kind"] == "image"}
    assert sorted(images) == [6, 8]
    assert {r["file"] for r in images.values()} == {str(regions)}
    assert images[8]["id"] == "i4" and images[8]["reason"]
    missing = [r for r in rejects if r["kind"] == "sentence"]
    assert {(r["image"], r["reason"]) for r in missing} == {
        ("i2", "its image is missing"),
        ("i4", "its image is missing"),
    }
    assert sum(summary["reasons"].values()) == len(rejects) == 6
    whole = {s.images[0].id: s for s in scenes_in(tmp_path / "whole")}
    for scene in scenes_in(tmp_path / "out"):
        assert scene.sentences == whole[scene.images[0].id].sentences


def test_a_duplicate_image_is_reported_with_its_line(files, tmp_path):
    regions, questions = files
    with regions.open("ab") as file:
        file.write(lxmert_row(detections.small("i1")))
    config = config_of([regions], [questions], max_reject_fraction=0.5)
    summary = run_ingest(config, tmp_path / "out")
    assert summary["images"] == {"read": 7, "written": 6, "rejected": 1}
    told = {(r["id"], r["line"], r["reason"]) for r in rejects_in(tmp_path / "out")}
    assert told == {("i1", 7, "duplicate image id")}


def test_images_without_a_sentence_are_counted_and_are_no_rejects(files, tmp_path, capsys):
    from lxmert_tf.cli import main as cli

    regions, _ = files
    some = write_questions(tmp_path / "some.json", ["i2", "i5"])
    # One percent of rejects is allowed, and four of six images are not asked about.
    command = ["ingest", "--regions", str(regions), "--sentences", str(some), "--output"]
    options = ["--sentences-format", "vqa_release"]
    assert cli.main([*command, str(tmp_path / "out"), *options]) == 0
    assert "images without a sentence, left out: 4" in capsys.readouterr().out
    summary = json.loads((tmp_path / "out" / INGEST_SUMMARY).read_text())
    assert summary["images"] == {"read": 6, "written": 2, "rejected": 0}
    assert (summary["unused_images"], summary["reasons"]) == (4, {})
    assert rejects_in(tmp_path / "out") == []


def test_images_without_any_sentence_fail_with_the_cause(files, tmp_path):
    regions, _ = files
    other = write_questions(tmp_path / "other.json", ["i5"])
    # A trial does not expect the images of all sentences.
    with pytest.raises(GateError, match=r"no sentence is about any of the images; see .*-rejected"):
        run_ingest(config_of([regions], [other], limit=3), tmp_path / "out")
    kept = json.loads((tmp_path / "out-rejected" / REJECTS_SUMMARY).read_text())
    assert kept["unused_images"] == 3


def test_above_the_limit_the_job_fails_says_why_and_leaves_the_rejects(files, tmp_path):
    regions, questions = files
    lines = regions.read_bytes().splitlines(keepends=True)
    regions.write_bytes(b"".join([b"nonsense\n", *lines[1:]]))
    work = tmp_path / "work"
    work.mkdir()
    with pytest.raises(GateError, match=r"images rejected: 1 of 6, more than the limit of 1\.00%"):
        run_ingest(config_of([regions], [questions]), work / "out")
    assert [path.name for path in work.iterdir()] == ["out-rejected"]
    assert not list((work / "out-rejected").glob("*tfrecord*"))
    assert len(rejects_in(work / "out-rejected")) == 3
    summary = json.loads((work / "out-rejected" / REJECTS_SUMMARY).read_text())
    assert summary["images"]["rejected"] == 1
    # The next failure replaces them, and a success removes them.
    regions.write_bytes(b"".join([b"nonsense\n", b"nonsense\n", *lines[2:]]))
    with pytest.raises(GateError, match="images rejected: 2 of 6"):
        run_ingest(config_of([regions], [questions]), work / "out")
    assert len(rejects_in(work / "out-rejected")) == 6
    regions.write_bytes(b"".join(lines))
    run_ingest(config_of([regions], [questions]), work / "out")
    assert [path.name for path in work.iterdir()] == ["out"]


def test_a_data_set_with_the_name_of_a_rejects_folder_is_left_alone(files, tmp_path):
    regions, questions = files
    run_ingest(config_of([regions], [questions]), tmp_path / "out-rejected")
    before = contents(tmp_path / "out-rejected")
    regions.write_bytes(b"nonsense\n")
    with pytest.raises(InputError, match="out-rejected: already exists and has no rejects-summary"):
        run_ingest(config_of([regions], [questions]), tmp_path / "out")
    write_regions(regions, [f"i{n}" for n in range(6)])
    assert contents(tmp_path / "out-rejected") == before


def test_an_answer_table_of_the_data_or_of_a_file_leaves_others_out(files, tmp_path):
    regions, questions = files
    rare = write_questions(tmp_path / "rare.json", ["i0"], each=1, label={"zebra": 1.0}, first=2)
    both = config_of([regions], [questions, rare], min_answer_count=2, normalize_answers=True)
    summary = run_ingest(both, tmp_path / "counted")
    assert (tmp_path / "counted" / "answers.txt").read_text() == "cat\ndog\n"
    assert summary["answers"] == {"read": 25, "written": 24, "rejected": 1}
    assert summary["sentences"]["rejected"] == 0
    [reject] = rejects_in(tmp_path / "counted")
    assert (reject["kind"], reject["file"]) == ("answer", str(rare))

    (tmp_path / "table.txt").write_text("dog\n")
    config = config_of([regions], [questions], answers=str(tmp_path / "table.txt"))
    summary = run_ingest(config, tmp_path / "given")
    # As it is spelled, "A dog." is not in the table.
    assert summary["answers"] == {"read": 24, "written": 0, "rejected": 24}
    with pytest.raises(GateError, match=r"no answer is given 99 times .*; see"):
        run_ingest(config_of([regions], [questions], min_answer_count=99), tmp_path / "none")
    assert len(rejects_in(tmp_path / "none-rejected")) == 24


def test_a_trial_takes_the_first_images_and_does_not_miss_the_others(files, tmp_path):
    summary = run_ingest(config_of(*([f] for f in files), limit=2), tmp_path / "out")
    assert summary["images"] == {"read": 2, "written": 2, "rejected": 0}
    assert summary["sentences"] == {"read": 4, "written": 4, "rejected": 0}
    assert sorted(s.images[0].id for s in scenes_in(tmp_path / "out")) == ["i0", "i1"]


@pytest.mark.slow
def test_rows_divide_a_file_as_the_release_does(tmp_path):
    ids = [f"i{n}" for n in range(6)]
    regions = write_regions(tmp_path / "val.tsv", ids)
    first = write_questions(tmp_path / "minival.json", ids[:2])
    others = write_questions(tmp_path / "nominival.json", ids[2:])
    for name, rows, questions in (("mini", (0, 2), first), ("nomini", (2, None), others)):
        config = config_of([regions], [questions], rows=rows)
        summary = run_ingest(config, tmp_path / name)
        assert summary["reasons"] == {}
    # The line of a broken row counts from the start of the file.
    lines = regions.read_bytes().splitlines(keepends=True)
    regions.write_bytes(b"".join([HEADER, *lines[:4], b"nonsense\n", lines[5]]))
    config = config_of([regions], [others], rows=(2, None), max_reject_fraction=1.0)
    run_ingest(config, tmp_path / "broken")
    assert [r["line"] for r in rejects_in(tmp_path / "broken") if r["kind"] == "image"] == [6]
    # Also if the rows before are read from the same file.
    packed = tmp_path / "val.tsv.gz"
    packed.write_bytes(gzip.compress(regions.read_bytes()))
    for path in (regions, packed):
        files = [RegionFiles((str(path),), rows=rows) for rows in ((2, None), (0, 2))]
        part = dataclasses.replace(config.parts["all"], regions=tuple(files))
        both = dataclasses.replace(config, parts={"all": part})
        run_ingest(both, tmp_path / path.suffix)
        rejects = rejects_in(tmp_path / path.suffix)
        assert [r["line"] for r in rejects if "separated" in r["reason"]] == [6]


def test_images_with_features_of_another_size_than_most_are_rejected(files, tmp_path):
    regions, questions = files
    with regions.open("ab") as file:
        file.write(lxmert_row(detections.small("wide", size=10)))
    more = write_questions(tmp_path / "more.json", ["wide"])
    with pytest.raises(GateError, match="its features have another size than those of most"):
        run_ingest(config_of([regions], [questions, more]), tmp_path / "out")
    config = config_of([regions], [questions, more], max_reject_fraction=0.2)
    summary = run_ingest(config, tmp_path / "out")
    assert summary["images"] == {"read": 7, "written": 6, "rejected": 1}
    assert {r["line"] for r in rejects_in(tmp_path / "out") if r["kind"] == "image"} == {7}


@pytest.mark.parametrize("most_held", [1, spill.MOST_HELD])
def test_statements_about_two_images_become_scenes_of_two(tmp_path, monkeypatch, most_held):
    monkeypatch.setattr(spill, "MOST_HELD", most_held)
    ids = [f"dev-{n}-0-img{side}" for n in range(3) for side in (0, 1)]
    regions = write_regions(tmp_path / "regions.tsv", ids[:5])
    statements = [
        {
            "identifier": f"dev-{n}-0-{number}",
            "img0": f"dev-{n}-0-img0",
            "img1": f"dev-{n}-0-img1",
            "label": number,
            "sent": "there are two dogs",
            "uid": f"u{n}",
        }
        for n in range(3)
        for number in (0, 1)
    ]
    (tmp_path / "nlvr2.json").write_text(json.dumps(statements))
    config = config_of(
        [regions], [tmp_path / "nlvr2.json"], "nlvr2_release", max_reject_fraction=1.0
    )
    summary = run_ingest(config, tmp_path / "out")
    assert summary["sentences"] == {"read": 6, "written": 4, "rejected": 2}
    # The left image of the third pair is in no scene, for want of the right one.
    assert summary["images"] == {"read": 5, "written": 4, "rejected": 1}
    for scene in scenes_in(tmp_path / "out"):
        assert [image.id[-4:] for image in scene.images] == ["img0", "img1"]
        for image in scene.images:
            np.testing.assert_allclose(
                image.regions.features, detections.small(image.id).features, rtol=1e-3
            )
        assert [s.answers for s in scene.sentences] == [(("False", 1.0),), (("True", 1.0),)]


def test_sentences_with_a_repeated_id_are_rejected(files, tmp_path):
    regions, questions = files
    items = json.loads(questions.read_text())
    items[3]["question_id"] = items[8]["question_id"] = items[0]["question_id"]
    questions.write_text(json.dumps(items))
    config = config_of([regions], [questions], max_reject_fraction=0.2)
    summary = run_ingest(config, tmp_path / "out")
    assert summary["sentences"] == {"read": 12, "written": 10, "rejected": 2}
    found = {(r["id"], r["line"], r["reason"]) for r in rejects_in(tmp_path / "out")}
    reason = "duplicate sentence id"
    assert found == {("i0-0", 4, reason), ("i0-0", 9, reason)}


def test_coco_numbers_match_coco_names_and_are_counted(tmp_path):
    regions = write_regions(tmp_path / "trainval.tsv", ["9", "262148"])
    names = ["COCO_val2014_000000000009", "COCO_train2014_000000262148.jpg"]
    questions = write_questions(tmp_path / "questions.json", names)
    summary = run_ingest(config_of([regions], [questions]), tmp_path / "out")
    assert summary["sentences"] == {"read": 4, "written": 4, "rejected": 0}
    assert summary["found_by_number"] == 2
    assert {s.images[0].id for s in scenes_in(tmp_path / "out")} == {"9", "262148"}


def test_names_that_do_not_match_are_reported_and_matched_by_a_regular_expression(tmp_path):
    from lxmert_tf.cli import main as cli

    regions = write_regions(tmp_path / "regions.tsv", ["frame_0007", "frame_0008"])
    questions = write_questions(tmp_path / "questions.json", ["7", "8"])
    config = config_of([regions], [questions])
    with pytest.raises(GateError, match=r"image 'frame_000[78]' and a sentence about '[78]'"):
        run_ingest(config, tmp_path / "out")
    assert len(rejects_in(tmp_path / "out-rejected")) == 4
    given = ["--regions", str(regions), "--sentences", str(questions), "--output"]
    options = ["--sentences-format", "vqa_release", "--image-id-regex", r"0*(\d+)$"]
    assert cli.main(["ingest", *given, str(tmp_path / "out"), *options]) == 0
    assert {s.images[0].id for s in scenes_in(tmp_path / "out")} == {"7", "8"}


def test_the_cause_of_rejects_is_reported(files, tmp_path):
    regions, questions = files
    items = json.loads(questions.read_text())
    questions.write_text(json.dumps([{**item, "sent": " "} for item in items]))
    cause = r"the most common reason \(12 of 12\): sent is empty; see "
    with pytest.raises(GateError, match=f"sentences rejected: 12 of 12, .*{cause}"):
        run_ingest(config_of([regions], [questions]), tmp_path / "out")
    # Also if any number of rejects is allowed.
    config = config_of([regions], [questions], max_reject_fraction=1.0)
    with pytest.raises(GateError, match=f"no records were written; {cause}"):
        run_ingest(config, tmp_path / "out")
    assert len(rejects_in(tmp_path / "out-rejected")) == 12


def test_a_rejects_folder_with_other_files_is_left_alone(files, tmp_path):
    (tmp_path / "out-rejected").mkdir()
    (tmp_path / "out-rejected" / "mine").write_text("mine")
    with pytest.raises(InputError, match="out-rejected: already exists"):
        run_ingest(config_of(*([f] for f in files)), tmp_path / "out")
    assert (tmp_path / "out-rejected" / "mine").read_text() == "mine"


def test_pictures_with_the_same_name_in_two_folders_are_two_images(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for number, name in enumerate(["train/1.png", "val/1.png", "val/2.png"]):
        path = tmp_path / "my photos [v2]" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (16, 12), (number, 0, 0)).save(path)
    # What systems and people leave among pictures.
    for name in (".DS_Store", "._1.png", "Thumbs.db", "README", "list.csv"):
        (tmp_path / "my photos [v2]" / "val" / name).write_bytes(b"\0\1")
    about = ["train/1.png", "val/1", "2.png", "1"]
    lines = [json.dumps({"image": name, "sentence": "a color"}) for name in about]
    (tmp_path / "captions.jsonl").write_text("\n".join(lines))
    config = config_of(["my photos [v2]/*/*"], ["*.jsonl"], "json_lines", max_reject_fraction=0.5)
    summary = run_ingest(config, tmp_path / "out")
    assert summary["images"] == {"read": 3, "written": 3, "rejected": 0}
    assert summary["ignored"] == ["my photos [v2]/val/list.csv"]
    found = {s.images[0].id: s.sentences[0].id for s in scenes_in(tmp_path / "out")}
    assert found == {"train/1": "captions-1", "val/1": "captions-2", "2": "captions-3"}
    [reject] = rejects_in(tmp_path / "out")
    assert (reject["image"], reject["reason"]) == ("1", "the name of its image is ambiguous")


def test_pictures_go_through_the_extractor_that_is_stored(tmp_path):
    import easy_vqa

    lines = []
    for number in range(2):
        picture = pathlib.Path(easy_vqa.get_test_image_paths()[number])
        (tmp_path / f"p{number}.png").write_bytes(picture.read_bytes())
        lines.append(json.dumps({"image": f"p{number}", "sentence": "a figure"}))
    (tmp_path / "captions.jsonl").write_text("\n".join(lines))
    extractor = {"name": "grid", "cells": 3, "crop_size": 4}
    config = config_of(
        [tmp_path / "*.png"], [tmp_path / "captions.jsonl"], "json_lines", extractor=extractor
    )
    summary = run_ingest(config, tmp_path / "out")
    assert summary["images"] == {"read": 2, "written": 2, "rejected": 0}
    assert json.loads((tmp_path / "out" / "extractor.json").read_text()) == extractor
    for scene in scenes_in(tmp_path / "out"):
        assert len(scene.images[0].regions) >= 9


def test_names_that_are_not_utf8_or_only_an_ending_spoil_no_neighbors(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names = [b"a.png", b".png", b"\xff.png", b"\xfe.csv"]
    for name in names:
        pathlib.Path(os.fsdecode(name)).write_bytes(b"")
    for name in names[:3]:
        Image.new("RGB", (8, 6), "red").save(os.fsdecode(name), "PNG")
    lines = [{"image": image, "sentence": "a red wall"} for image in ("a", ".png")]
    text = "".join(f"{json.dumps(line)}\n" for line in lines)
    pathlib.Path(os.fsdecode(b"\xfd.jsonl")).write_text(text)
    config = config_of(["*", ".png"], ["*.jsonl"], "json_lines", max_reject_fraction=0.5)
    summary = run_ingest(config, "out")
    assert summary["images"] == {"read": 3, "written": 2, "rejected": 1}
    assert summary["reasons"] == {"the image's id is not UTF-8": 1}
    assert summary["ignored"] == [r"\udcfd.jsonl", r"\udcfe.csv"]
    read = {s.images[0].id: s.sentences[0].id for s in scenes_in("out")}
    assert read == {"a": r"\udcfd-1", ".png": r"\udcfd-2"}


def test_a_config_makes_a_folder_a_split_out_of_several_parts(tmp_path, monkeypatch):
    from lxmert_tf.cli import main as cli

    monkeypatch.chdir(tmp_path)
    parts = {}
    for part in ("train", "nominival", "minival"):
        ids = [f"{part}{n}" for n in range(2)]
        parts[part] = {
            "regions": [{"files": [str(write_regions(tmp_path / f"{part}.tsv", ids))]}],
            "sentences": [
                {
                    "files": [str(write_questions(tmp_path / f"{part}.json", ids))],
                    "format": "vqa_release",
                }
            ],
        }
    splits = {"train": {"from": ["train", "nominival"]}, "validation": {"split": "minival"}}
    (tmp_path / "data.yaml").write_text(yaml.safe_dump({"parts": parts, "splits": splits}))
    assert cli.main(["ingest", "--config", "data.yaml", "--output", "out"]) == 0
    found = {
        split: sorted(s.images[0].id for s in scenes_in(tmp_path / "out" / split))
        for split in splits
    }
    assert found == {
        "train": ["nominival0", "nominival1", "train0", "train1"],
        "validation": ["minival0", "minival1"],
    }
    one = ["ingest", "--config", "data.yaml", "--split", "validation", "--output", "one"]
    assert cli.main(one) == 0
    assert contents(tmp_path / "one") == contents(tmp_path / "out" / "validation")


@pytest.mark.slow
@settings(max_examples=5)
@given(data=st.data())
def test_counts_add_up_for_any_broken_input(tmp_path_factory, data):
    ids = [f"i{n}" for n in range(4)]
    folder = tmp_path_factory.mktemp("fuzz")
    regions = write_regions(folder / "regions.tsv", ids)
    questions = write_questions(folder / "questions.json", ids)
    for path in (regions, questions):
        content = bytearray(path.read_bytes())
        for _ in range(data.draw(st.integers(0, 3))):
            place = data.draw(st.integers(0, len(content) - 1))
            content[place] = data.draw(st.integers(0, 255))
        path.write_bytes(bytes(content[: data.draw(st.integers(len(content) // 2, len(content)))]))
    try:
        summary = run_ingest(
            config_of([regions], [questions], max_reject_fraction=1.0), folder / "out"
        )
    except (GateError, InputError) as error:
        assert len(str(error).splitlines()) == 1
        return
    rejects = rejects_in(folder / "out")
    for kind in ("images", "sentences"):
        counts = summary[kind]
        told = [r for r in rejects if f"{r['kind']}s" == kind]
        assert counts["rejected"] == len(told)
        unused = summary.get("unused_images", 0) if kind == "images" else 0
        assert counts["read"] == counts["written"] + counts["rejected"] + unused
    scenes = scenes_in(folder / "out")
    assert summary["images"]["written"] == len(scenes)
    assert summary["sentences"]["written"] == sum(len(s.sentences) for s in scenes)
