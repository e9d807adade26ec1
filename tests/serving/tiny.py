"""A small answer model over real pictures, on disk: what the tests of serving and commands ask."""

import contextlib
import dataclasses
import fcntl
import os
import pathlib

from tensorflow import keras

from lxmert_tf import LxmertAnswerClassifier, LxmertConfig
from lxmert_tf.data.batches import find_records
from lxmert_tf.serving.export import export_answer_model
from lxmert_tf.training.config import FinetuningConfig
from lxmert_tf.training.dataset_info import read_dataset_info
from pipeline.ingest.config import IngestConfig, SplitConfig
from pipeline.ingest.job import run_ingest

IMAGES = 6
EXTRACTOR = {"name": "grid", "cells": 2, "max_components": 4, "crop_size": 4}
# Untrained, with weights large enough that pictures and questions matter to its answers.
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
    """The same model as a preset and as a SavedModel, and records of easy-VQA's first pictures."""

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
    """Makes it once, also where xdist runs several processes."""
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
    """Writes all of it; the folder must be new."""
    for layout in ("flat", "grouped"):
        records = SplitConfig("test", layout, limit=IMAGES)
        run_ingest(IngestConfig("easy_vqa", records, EXTRACTOR), tiny.folder / layout)
    words = read_dataset_info(find_records(tiny.grouped), FinetuningConfig(vocabulary_size=200))
    config = dataclasses.replace(
        SIZES, vocab_size=len(words.vocabulary), num_answers=len(words.answers)
    )
    # A seed with which the questions do not all get the same answer.
    keras.utils.set_random_seed(2)
    model = LxmertAnswerClassifier(
        config, vocabulary=words.vocabulary, answers=words.answers, extractor=EXTRACTOR
    )
    model.save_preset(tiny.preset)
    export_answer_model(model, tiny.saved_model)


@contextlib.contextmanager
def _locked(path: pathlib.Path):
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
