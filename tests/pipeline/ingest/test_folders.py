"""Splits of the images that are in some folders, as NLVR's are."""

import dataclasses
import json
import zipfile

import numpy as np
import pytest
from PIL import Image

from lxmert_tf.config_file import config_from_mapping
from lxmert_tf.errors import InputError
from pipeline.ingest.config import IngestConfig, PartConfig, RegionFiles, SentenceFiles, SplitConfig
from pipeline.ingest.inputs import inputs_of
from pipeline.ingest.job import run_ingest
from tests.pipeline.ingest.job_files import rejects_in, scenes_in, write_questions, write_regions

# Presentations by folder, as in nlvr/train/images.
FOLDERS = {"0": ["72", "9"], "1": ["5"], "12": ["6"]}


@pytest.fixture
def train(tmp_path):
    """NLVR's train folder, with one example of each presentation."""
    pixels = np.random.default_rng(0).integers(0, 256, [10, 40, 3], np.uint8)
    lines = []
    for folder, presentations in FOLDERS.items():
        (tmp_path / "train" / "images" / folder).mkdir(parents=True)
        for number in presentations:
            row = {"sentence": "a box", "label": "true", "identifier": f"{number}-0"}
            lines.append(json.dumps(row) + "\n")
            for order in range(6):
                path = tmp_path / "train" / "images" / folder / f"train-{number}-0-{order}.png"
                Image.fromarray(pixels).save(path)
    (tmp_path / "train" / "train.json").write_text("".join(lines))
    return tmp_path / "train"


def config_of(train, folders, regions=None, **options):
    part = PartConfig(
        (RegionFiles((str(regions or train),)),),
        (SentenceFiles((str(train / "train.json"),), "nlvr"),),
    )
    records = SplitConfig("all", folders=folders, **options)
    return IngestConfig(records=records, parts={"all": part})


def presentations_in(folder):
    return {scene.images[0].id.split("-")[1] for scene in scenes_in(folder)}


@pytest.mark.parametrize("form", ["folder", "zip"])
def test_a_split_has_the_images_of_its_folders_and_their_sentences(train, tmp_path, form):
    regions = None
    if form == "zip":
        regions = tmp_path / "train.zip"
        with zipfile.ZipFile(regions, "w") as archive:
            for path in sorted(train.rglob("*.png")):
                archive.write(path, path.relative_to(tmp_path))
    summary = run_ingest(config_of(train, (0, "1?"), regions), tmp_path / "some")
    # What is in other folders is neither read nor rejected.
    assert summary["images"] == summary["sentences"] == {"read": 18, "written": 18, "rejected": 0}
    assert "unused_images" not in summary
    assert presentations_in(tmp_path / "some") == {"72", "9", "6"}
    run_ingest(config_of(train, ("1",), regions), tmp_path / "others")
    assert presentations_in(tmp_path / "others") == {"5"}


def test_a_sentence_without_an_image_in_any_folder_is_rejected(train, tmp_path):
    path = train / "images" / "0" / "train-9-0-3.png"
    path.unlink()
    config = dataclasses.replace(config_of(train, ("0",)), max_reject_fraction=0.1)
    run_ingest(config, tmp_path / "out")
    [reject] = rejects_in(tmp_path / "out")
    assert (reject["id"], reject["reason"]) == ("train-9-0-3", "its image is missing")


@pytest.mark.parametrize("inside", ["x", "y"])
def test_of_equal_names_in_two_folders_those_of_the_split_are_kept(tmp_path, inside):
    pixels = np.random.default_rng(0).integers(0, 256, [10, 40, 3], np.uint8)
    for name in ("x/1", "x/2", "y/1", "z/3"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        Image.fromarray(pixels).save(tmp_path / f"{name}.png")
    about = ["x/1", "x/1.png", "y/1", "y/1.png", "1", "z/3", "3", "x/2", "4"]
    lines = [json.dumps({"image": name, "sentence": "what?", "id": name}) + "\n" for name in about]
    (tmp_path / "q.jsonl").write_text("".join(lines))
    part = PartConfig(
        (RegionFiles((str(tmp_path),)),),
        (SentenceFiles((str(tmp_path / "q.jsonl"),), "json_lines"),),
    )
    records = SplitConfig("all", folders=(inside,))
    config = IngestConfig(records=records, parts={"all": part}, max_reject_fraction=0.5)
    summary = run_ingest(config, tmp_path / "out")
    kept = {"x": {"x/1", "x/1.png", "x/2"}, "y": {"y/1", "y/1.png"}}[inside]
    assert {s.id for scene in scenes_in(tmp_path / "out") for s in scene.sentences} == kept
    # What is only in other folders is left out, and not rejected.
    reasons = {reject["id"]: reject["reason"] for reject in rejects_in(tmp_path / "out")}
    missing, ambiguous = "its image is missing", "the name of its image is ambiguous"
    assert reasons == {"1": ambiguous, "4": missing}
    assert summary["sentences"] == {"read": len(kept) + 2, "written": len(kept), "rejected": 2}


def test_names_that_a_regex_selects(train, tmp_path):
    config = config_of(train, ("1",))
    config = dataclasses.replace(config, image_id_regex=r"-(\d+-\d+-\d+)(?:\.png)?$")
    assert run_ingest(config, tmp_path / "out")["sentences"]["written"] == 6


@pytest.mark.parametrize("folders", [("2",), ("0", "2*"), ("images",)])
def test_a_folder_without_images_is_refused(train, folders):
    with pytest.raises(InputError, match=f"no images are in a folder '{folders[-1][0]}"):
        inputs_of(config_of(train, folders))


def test_names_of_folders_in_a_file():
    def folders(value):
        values = {"from": "all", "folders": value}
        return config_from_mapping(SplitConfig, values, "nlvr.yaml").folders

    assert folders([7, "1?"]) == ("7", "1?")
    for value, reason in [
        ([7, 1.5], r"folders\[1\] is 1\.5; it must be a string"),
        ([True], r"folders\[0\] is True; it must be a string"),
        ("7*", r"folders is '7\*'; it must be a list"),
    ]:
        with pytest.raises(InputError, match=rf"nlvr\.yaml: {reason}"):
            folders(value)


def test_files_of_many_images_have_no_folders(tmp_path):
    regions = write_regions(tmp_path / "r.tsv", ["a"])
    questions = write_questions(tmp_path / "q.json", ["a"])
    part = PartConfig(
        (RegionFiles((str(regions),)),), (SentenceFiles((str(questions),), "vqa_release"),)
    )
    config = IngestConfig(records=SplitConfig("all", folders=("0",)), parts={"all": part})
    with pytest.raises(InputError, match=r"needs files of one image each, .*; .*r\.tsv has sev"):
        inputs_of(config)
    with pytest.raises(InputError, match="folders needs files; the data set easy_vqa has none"):
        inputs_of(IngestConfig("easy_vqa", SplitConfig("train", folders=("0",))))
