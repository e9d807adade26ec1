"""Scenes of two images to batches for a pair classifier."""

import dataclasses

import numpy as np
import pytest
import tensorflow as tf

from lxmert_tf import LxmertTextPreprocessor
from lxmert_tf.data.batches import (
    answer_batches,
    example_batches,
    naming_damaged_files,
    read_records,
    statement_batches,
    statement_labels,
)
from lxmert_tf.data.schema import encode_scene
from lxmert_tf.errors import InputError
from lxmert_tf.models.text_preprocessor import SPECIAL_PIECES
from tests.lxmert_tf.samples import easy_vqa_scenes, one_line, pair_scenes

# More than a block of scenes that are parsed together.
SCENES = pair_scenes(66)
SENTENCES = [sentence for scene in SCENES for sentence in scene.sentences]
MAX_REGIONS = 8
PREPROCESSOR = LxmertTextPreprocessor([*SPECIAL_PIECES, "the", "picture"], 9)


def write(path, scenes) -> str:
    with tf.io.TFRecordWriter(str(path)) as writer:
        for scene in scenes:
            writer.write(encode_scene(scene))
    return str(path)


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    return write(tmp_path_factory.mktemp("records") / "pairs.tfrecord", SCENES)


def read(file, *args, **kwargs):
    return example_batches(
        read_records([file]), 32, MAX_REGIONS, *args, images_per_scene=2, **kwargs
    )


@pytest.mark.parametrize("seed", [None, 3])
def test_every_statement_comes_once_with_both_its_pictures(file, seed):
    scene_of = {s.id: scene for scene in SCENES for s in scene.sentences}
    seen = []
    for batch in read(file, seed):
        assert not [name for name in batch if "object" in name or "attribute" in name]
        for i, name in enumerate(batch["id"].numpy()):
            scene = scene_of[name.decode()]
            seen.append(name.decode())
            ids = [image_id.decode() for image_id in batch["image_id"][i].numpy()]
            assert ids == [image.id for image in scene.images]
            for k, image in enumerate(scene.images):
                count = len(image.regions)
                assert batch["region_mask"][i, k].numpy().sum() == count
                features, boxes = batch["region_features"][i, k], batch["region_boxes"][i, k]
                np.testing.assert_array_equal(features[:count], image.regions.features)
                np.testing.assert_array_equal(boxes[:count], image.regions.boxes)
    expected = [sentence.id for sentence in SENTENCES]
    assert sorted(seen) == sorted(expected)
    assert (seen == expected) == (seed is None)


def test_statement_batches_are_what_fit_takes(file):
    batches = statement_batches(read(file), PREPROCESSOR)
    inputs, labels = next(iter(batches))
    assert {name: tuple(value.shape) for name, value in inputs.items()} == {
        "token_ids": (32, 9),
        "segment_ids": (32, 9),
        "padding_mask": (32, 9),
        "region_features": (32, 2, MAX_REGIONS, 256),
        "region_boxes": (32, 2, MAX_REGIONS, 4),
        "region_mask": (32, 2, MAX_REGIONS),
    }
    assert labels.dtype == tf.int32
    assert labels.numpy().tolist() == [int(s.answers[0][0] == "True") for s in SENTENCES[:32]]
    shape = batches.element_spec[0]["region_features"].shape.as_list()
    assert shape[:3] == [None, 2, MAX_REGIONS]


@pytest.mark.parametrize(
    ("answers", "label"),
    [(["True"], 1), (["TRUE"], 1), (["true"], 1), (["False"], 0), (["fAlSe"], 0)],
)
def test_labels_may_be_in_any_case(answers, label):
    pair = {"id": tf.constant(["s"]), "answers": tf.ragged.constant([answers])}
    assert statement_labels(pair).numpy().tolist() == [label]


@pytest.mark.parametrize(
    "answers", [(), (("yes", 1.0),), (("", 1.0),), (("True", 1.0), ("False", 1.0))]
)
def test_a_sentence_that_is_neither_true_nor_false_is_named(tmp_path, answers):
    scenes = list(SCENES[:4])
    wrong = dataclasses.replace(scenes[2].sentences[1], answers=answers)
    scenes[2] = dataclasses.replace(scenes[2], sentences=(scenes[2].sentences[0], wrong))
    file = write(tmp_path / "pairs.tfrecord", scenes)
    with pytest.raises(InputError) as raised:
        with naming_damaged_files([file]):
            list(statement_batches(read(file), PREPROCESSOR))
    assert "the sentence pair-2-1 must have one answer, True or False" in one_line(raised)
    assert one_line(raised).startswith(file)
    # Without labels it may be read all the same, as the hidden test is.
    assert sum(len(batch["id"]) for batch in read(file)) == 6


def test_scenes_of_one_image_are_refused_and_the_other_way_round(file, tmp_path):
    single = write(tmp_path / "single.tfrecord", easy_vqa_scenes(2))
    for name, images, message in ((single, 2, "scenes of 2 images"), (file, 1, "of one image")):
        with pytest.raises(InputError) as raised:
            with naming_damaged_files([name]):
                pairs = example_batches(read_records([name]), 4, 8, images_per_scene=images)
                list(answer_batches(pairs, PREPROCESSOR, ["yes"]))
        assert message in one_line(raised) and name in one_line(raised)
