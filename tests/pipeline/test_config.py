"""Pipeline configurations: ours load, and wrong ones fail with one line."""

import fnmatch
import importlib.resources
import pathlib
import shutil

import pytest
import yaml

from lxmert_tf.errors import InputError
from pipeline.config import load_pipeline

CONFIGS = pathlib.Path(str(importlib.resources.files("lxmert_tf.configs")))
PIPELINES = sorted((CONFIGS / "pipeline").glob("*.yaml"))


@pytest.mark.parametrize("path", PIPELINES, ids=lambda path: path.name)
def test_our_own_configurations_load(path):
    loaded = load_pipeline(path)
    assert loaded.pipeline.name == path.stem
    assert set(loaded.pipeline.splits) >= {"train", "validation", "test"}


def test_first_training_starts_from_the_preset_of_the_pipeline(tmp_path):
    for folder in ("pipeline", "model", "pretraining", "task"):
        shutil.copytree(CONFIGS / folder, tmp_path / folder)
    assert load_pipeline(tmp_path / FILES).task.init_from == "build/presets/pretrained"
    path = tmp_path / PIPELINE
    path.write_text(path.read_text() + "init_from: some/preset\n")
    loaded = load_pipeline(path)
    assert (loaded.pretraining.init_from, loaded.task.init_from) == ("some/preset", None)


def test_training_and_validation_share_no_image_and_test_is_the_official_split():
    splits = load_pipeline(CONFIGS / "pipeline" / "easy_vqa.yaml").pipeline.splits
    train, validation, test = splits["train"], splits["validation"], splits["test"]
    assert (train.from_, validation.from_, test.from_) == ("train", "train", "test")
    assert train.percent[0] == validation.percent[1]
    assert (test.percent, test.limit) == ((0, 100), None)


@pytest.mark.parametrize("file", ["ingest/nlvr.yaml", "pipeline/nlvr.yaml"])
def test_each_folder_of_nlvr_is_in_training_or_in_validation(file):
    splits = yaml.safe_load((CONFIGS / file).read_text())["splits"]
    for folder in map(str, range(80)):
        split = [
            name
            for name in ("train", "validation")
            if any(fnmatch.fnmatchcase(folder, pattern) for pattern in splits[name]["folders"])
        ]
        assert split == ["validation" if folder[0] in "789" else "train"]


PIPELINE, MODEL, TASK = "pipeline/easy_vqa.yaml", "model/mini.yaml", "task/easy_vqa.yaml"
FILES = "pipeline/vqa.yaml"
PRETRAINED = "pretraining: ../pretraining/easy_vqa.yaml\ntask: ../task/easy_vqa.yaml"
PRETRAINING_SPLIT = (
    "task: ../task/easy_vqa.yaml\nsplits:\n  lessons: {from: train, layout: grouped}\n"
)
WRONG = [
    (PIPELINE, "least_accuracy:", "least_acuracy:", "unknown key 'least_acuracy'; did you mean 'l"),
    (PIPELINE, "may_drop: 0.005", "may_drop: some", "may_drop is 'some'"),
    (PIPELINE, "least_accuracy: 0.99", "least_accuracy: 99", "least_accuracy is 99"),
    (PIPELINE, "least_accuracy: 0.99", "least_accuracy: '0.99'", "least_accuracy is '0.99'"),
    (PIPELINE, "may_drop: 0.005", "may_drop: -1", "may_drop is -1"),
    (
        PIPELINE,
        "source: easy_vqa",
        "source: easy",
        "unknown source 'easy'; it must be one of",
    ),
    (PIPELINE, "{from: test,", "{from: dev,", "no split 'dev'; it must be one of train, test"),
    (PIPELINE, "{from: test,", "{form: test,", "unknown key 'splits.test.form'; did you mean 'f"),
    (PIPELINE, "layout: flat", "layout: flatt", "splits.test.layout is 'flatt'"),
    (PIPELINE, "percent: [0, 2]", "percent: [2, 0]", "percent is [2, 0]"),
    (
        PIPELINE,
        "  validation:",
        "  dev:",
        "splits are train, dev, test; validation must be among them",
    ),
    (PIPELINE, "name: grid", "name: gird", "unknown extractor 'gird'; it must be one of grid"),
    (PIPELINE, "cells: 2", "cels: 2", "'cels'"),
    (PIPELINE, "cells: 2", "cells: 0", "cells is 0; it must be at least 1"),
    (PIPELINE, "cells: 2", "cells: two", "cells is 'two'; it must be an integer"),
    (PIPELINE, "cells: 2", "cells: 2.5", "cells is 2.5; it must be an integer"),
    (PIPELINE, "cells: 2", "cells: 3", "makes up to 13 regions, but max_regions of the task is 8"),
    (PIPELINE, "name: easy_vqa", "name: ../easy", "name is '../easy'"),
    (PIPELINE, "name: easy_vqa", "", "the key 'name' is missing"),
    (PIPELINE, "splits:", "splits: [", "not valid YAML"),
    (PIPELINE, "source: easy_vqa", "", "name either a source or parts"),
    (PIPELINE, "layout: flat", "layout: grouped", "the Evaluator needs 'flat'"),
    (PIPELINE, "extractor:", "# extractor:", "the key 'extractor' is missing; images need one"),
    (PIPELINE, "task/easy_vqa", "task/nlvr2", "pretraining reads scenes of one image, the task"),
    (PIPELINE, PRETRAINED, "task: ../task/nlvr2.yaml", "of 2 images; those of easy_vqa have 1"),
    (FILES, "task/vqa", "task/nlvr2", "of 2 images; those of parts.minival (vqa_release) have 1"),
    (
        FILES,
        "json], format: vqa",
        "json], format: nlvr2",
        "of 1 image; those of parts.train (nlvr2",
    ),
    (
        PIPELINE,
        "may_drop:",
        "infra_validation: true\nmay_drop:",
        "infra_validation is True; it must be",
    ),
    (PIPELINE, "may_drop:", "infra_validation: [2.15]\nmay_drop:", "infra_validation[0] is 2.15"),
    (FILES, "name: vqa", "name: vqa\nimage_id_regex: '('", "image_id_regex '(' is invalid"),
    (FILES, "name: vqa", "name: vqa\nsource: easy_vqa", "name either a source or parts"),
    (
        PIPELINE,
        PRETRAINED + "\nsplits:\n",
        PRETRAINING_SPLIT,
        "with this pre-training they must be train",
    ),
    (FILES, "{from: minival,", "{from: minval,", "unknown part 'minval'; it must be one of train,"),
    (MODEL, "hidden_size: 64", "hidden_size: 62", "hidden_size 62 is not a multiple of"),
    (MODEL, "hidden_size: 64", "hidden_size: 64.5", "hidden_size is 64.5"),
    (MODEL, "hidden_size: 64", "hidden: 64", "unknown key 'hidden'"),
    (TASK, "epochs: 4", "epochs: 0", "epochs is 0; it must be at least 1"),
    (TASK, "precision: float32", "precision: float16", "precision is 'float16'"),
]


@pytest.mark.parametrize("file, right, wrong, reason", WRONG, ids=[w[2] or w[1] for w in WRONG])
def test_wrong_configuration_is_refused_with_file_and_key(tmp_path, file, right, wrong, reason):
    for folder in ("pipeline", "model", "pretraining", "task"):
        shutil.copytree(CONFIGS / folder, tmp_path / folder)
    path = tmp_path / file
    text = path.read_text()
    assert right in text
    path.write_text(text.replace(right, wrong, 1))
    with pytest.raises(InputError) as caught:
        load_pipeline(path if file == FILES else tmp_path / PIPELINE)
    message = str(caught.value)
    assert reason in message
    # Files are named relative to the pipeline's own.
    named = message.split(":")[0].split(" line ")[0]
    assert pathlib.Path(named).resolve() == path.resolve()
    assert "\n" not in message


def test_overrides_change_the_file_that_they_name():
    changes = ["least_accuracy=0.5", "splits.train.limit=7", "task.epochs=2", "model.hidden_size=8"]
    loaded = load_pipeline(CONFIGS / PIPELINE, [*changes, "pretraining.stages.0.epochs=3"])
    assert (loaded.pipeline.least_accuracy, loaded.pipeline.splits["train"].limit) == (0.5, 7)
    assert (loaded.task.epochs, loaded.model.hidden_size) == (2, 8)
    assert loaded.pretraining.stages[0].epochs == 3


@pytest.mark.parametrize(
    ("file", "change", "message"),
    [
        (PIPELINE, "task.epochs=0", "--set task.epochs=0: epochs is 0; it must be at least 1"),
        (PIPELINE, "model.hidden=2", "--set model.hidden=2: unknown key 'hidden'"),
        (PIPELINE, "least_accuracy=2", "--set least_accuracy=2: least_accuracy is 2"),
        (FILES, "pretraining.seed=1", "--set pretraining.seed=1: "),
    ],
)
def test_wrong_overrides_are_named(file, change, message):
    with pytest.raises(InputError) as caught:
        load_pipeline(CONFIGS / file, [change])
    assert str(caught.value).startswith(message)


@pytest.mark.parametrize(
    ("name", "challenge"),
    [("nlvr", "nlvr"), ("nlvr2", "nlvr2"), ("vqa", None), ("gqa", None), ("easy_vqa", None)],
)
def test_statements_are_scored_as_their_challenge_does(name, challenge):
    assert load_pipeline(CONFIGS / "pipeline" / f"{name}.yaml").challenge == challenge
