"""Pictures to records to answers, with extractors other than the grid."""

import dataclasses
import json

import numpy as np
import pytest
import yaml
from PIL import Image

from lxmert_tf import LxmertAnswerClassifier, make_extractor, read_image
from lxmert_tf.data.sidecars import read_extractor
from tests.lxmert_tf.regions.made_up_detector import CHANNELS, write_frozen_graph
from tests.pipeline.ingest.job_files import scenes_in, write_questions

QUESTION = "what shape is in the image?"
BACKBONE = {
    "name": "keras_applications",
    "backbone": "MobileNet",
    "weights": None,
    "cells": 2,
    "image_size": 32,
}


@pytest.fixture(params=["keras_applications", pytest.param("tf_detection", marks=pytest.mark.slow)])
def extractor(request, tmp_path):
    """(config, number of features)."""
    if request.param == "keras_applications":
        return BACKBONE, 1024
    model = write_frozen_graph(tmp_path / "frozen.pb")
    return {"name": "tf_detection", "model": model, "feature_map": "block/Relu"}, CHANNELS


def with_extractor(tiny, extractor: dict, size: int) -> LxmertAnswerClassifier:
    """A model with the vocabulary and answers of the tiny one."""
    source = LxmertAnswerClassifier.from_preset(tiny.preset)
    return LxmertAnswerClassifier(
        dataclasses.replace(source.config, region_feature_size=size),
        vocabulary=source.vocabulary,
        answers=source.answers,
        extractor=extractor,
    )


@pytest.mark.slow
def test_ingest_and_ask_make_the_same_regions(lxmert, tmp_path, tiny, pictures, extractor):
    config, size = extractor
    for number in range(2):
        Image.open(pictures[number]).save(tmp_path / f"{number}.png")
    part = {
        "regions": [{"files": ["*.png"]}],
        "sentences": [
            {
                "files": [str(write_questions(tmp_path / "questions.json", ["0", "1"]))],
                "format": "vqa_release",
            }
        ],
    }
    data = {"parts": {"all": part}, "splits": {"train": {"from": ["all"]}}, "extractor": config}
    (tmp_path / "data.yaml").write_text(yaml.safe_dump(data))
    outcome = lxmert("ingest", "--config", "data.yaml", "--split", "train", "--output", "records")
    assert outcome.status == 0, outcome
    scenes = sorted(scenes_in(tmp_path / "records"), key=lambda scene: scene.images[0].id)
    assert [scene.images[0].id for scene in scenes] == ["0", "1"]
    made = make_extractor(config)
    assert made.feature_size == size
    for scene in scenes:
        [image] = scene.images
        regions = made.extract(read_image(tmp_path / f"{image.id}.png"))
        np.testing.assert_allclose(image.regions.boxes, regions.boxes, atol=1e-6)
        np.testing.assert_allclose(image.regions.features, regions.features, rtol=2e-3, atol=1e-3)

    # The model knows its extractor from the records.
    stored = read_extractor([str(path) for path in (tmp_path / "records").glob("scenes-*")])
    assert stored == json.loads((tmp_path / "records" / "extractor.json").read_text()) == config
    model = with_extractor(tiny, stored, size)
    model.save_preset(tmp_path / "preset")
    outcome = lxmert("ask", "--model", "preset", "--image", "0.png", QUESTION)
    assert (outcome.status, outcome.stderr) == (0, "")
    assert outcome.stdout.startswith(QUESTION)


def test_a_model_without_its_file_says_so(refused, tmp_path, tiny, picture, tmp_path_factory):
    folder = tmp_path_factory.mktemp("moved")
    model = with_extractor(tiny, {**BACKBONE, "weights": "gone.h5"}, 1024)
    model.save_preset(folder / "preset")
    line = refused("ask", "--model", folder / "preset", "--image", picture, QUESTION)
    assert "gone.h5: no such file" in line
