"""A small answer model for real images, on disk, shared by the tests of serving and commands."""

import contextlib
import dataclasses
import fcntl
import os
import pathlib
import re
import string

import numpy as np
import tensorflow as tf
from tensorflow import keras

from lxmert_tf import LxmertAnswerClassifier, LxmertConfig
from lxmert_tf.data import schema
from lxmert_tf.data.scene import Scene
from lxmert_tf.data.sidecars import write_extractor
from lxmert_tf.models.special_pieces import SPECIAL_PIECES
from lxmert_tf.regions.registry import make_extractor
from lxmert_tf.serving.export import export_version
from tests.lxmert_tf.samples import easy_vqa_scenes

IMAGES = 6
EXTRACTOR = {"name": "grid", "cells": 2, "max_components": 4, "crop_size": 4}
# Untrained, with weights large enough that images and questions change its answers.
SIZES = LxmertConfig(
    hidden_size=16,
    num_attention_heads=2,
    intermediate_size=32,
    language_layers=1,
    relationship_layers=1,
    cross_layers=2,
    region_feature_size=64,
    max_position_embeddings=32,
    initializer_range=0.2,
)


@dataclasses.dataclass(frozen=True)
class Tiny:
    """One model as a preset and as a SavedModel, and records of easy-VQA's first images."""

    folder: pathlib.Path

    @property
    def flat(self) -> pathlib.Path:
        return self.folder / "flat"

    @property
    def grouped(self) -> pathlib.Path:
        return self.folder / "grouped"

    @property
    def preset(self) -> pathlib.Path:
        return self.folder / "preset"

    @property
    def saved_model(self) -> pathlib.Path:
        return self.folder / "saved_model"


def make_tiny(tmp_path_factory) -> Tiny:
    """Return the files, which are written once, even if xdist runs several processes."""
    root = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        root = root.parent
    tiny, done = Tiny(root / "tiny"), root / "tiny-is-done"
    with _locked(root / "tiny-lock"):
        if not done.exists():
            write_tiny(tiny)
            done.touch()
    return tiny


def write_tiny(tiny: Tiny) -> None:
    """Write the files into a new folder."""
    grouped = [_as_ingested(scene) for scene in easy_vqa_scenes(IMAGES, make_extractor(EXTRACTOR))]
    flat = [flat_scene for scene in grouped for flat_scene in scene.flat()]
    for folder, scenes in ((tiny.grouped, grouped), (tiny.flat, flat)):
        folder.mkdir(parents=True)
        write_extractor(folder, EXTRACTOR)
        with tf.io.TFRecordWriter(str(folder / "scenes.tfrecord")) as writer:
            for scene in scenes:
                writer.write(schema.encode_scene(scene))
    vocabulary = _vocabulary(scene.sentences[0].text for scene in flat)
    answers = sorted({answer for scene in flat for answer, _ in scene.sentences[0].answers})
    config = dataclasses.replace(SIZES, vocab_size=len(vocabulary), num_answers=len(answers))
    # With this seed not all questions get the same answer.
    keras.utils.set_random_seed(2)
    model = LxmertAnswerClassifier(
        config, vocabulary=vocabulary, answers=answers, extractor=EXTRACTOR
    )
    model.save_preset(tiny.preset)
    export_version(model, tiny.saved_model)


def _as_ingested(scene: Scene) -> Scene:
    """Return a scene with features in float16 and question types: first words, such as "what"."""
    [image] = scene.images
    regions = dataclasses.replace(image.regions, features=image.regions.features.astype(np.float16))
    return Scene(
        (dataclasses.replace(image, regions=regions),),
        tuple(
            dataclasses.replace(sentence, question_type=sentence.text.split()[0])
            for sentence in scene.sentences
        ),
    )


def _vocabulary(sentences) -> list[str]:
    """Return the words of sentences, and letters to spell others."""
    words = {word for text in sentences for word in re.findall(r"\w+|[^\w\s]", text.lower())}
    letters = string.ascii_lowercase
    pieces = sorted(words | set(letters)) + [f"##{letter}" for letter in letters]
    return [*SPECIAL_PIECES, *pieces]


@contextlib.contextmanager
def _locked(path: pathlib.Path):
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
