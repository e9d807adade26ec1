"""Records, runs, and presets that the tests of training share."""

import json

import pytest

from lxmert_tf import LxmertConfig
from lxmert_tf.data.batches import find_records
from lxmert_tf.regions.grid import GridExtractor
from lxmert_tf.training.config import PretrainingConfig, StageConfig
from lxmert_tf.training.pretrain import pretrain
from tests import golden
from tests.lxmert_tf.samples import easy_vqa_scenes, pair_scenes, write_records

MODEL = LxmertConfig.from_dict({**golden.TINY, "num_objects": 5, "num_attributes": 12})
# Answers are not trained in the first stage. Twelve pictures have about 120 questions, so that an
# epoch has eight steps.
PRETRAINING = PretrainingConfig(
    vocabulary_size=120,
    max_regions=8,
    batch_size=16,
    stages=(StageConfig(1, {"answers": 0.0}), StageConfig(1)),
    peak_learning_rate=1e-3,
    checkpoint_steps=3,
    checkpoints=10,
)


def write_folder(folder, scenes) -> list[str]:
    """Write scenes to two files, with the summary that ingestion leaves beside them."""
    folder.mkdir(exist_ok=True)
    for number in range(2):
        write_records(folder / f"scenes-{number}.tfrecord", scenes[number::2])
    written = sum(len(scene.sentences) for scene in scenes)
    (folder / "ingest-summary.json").write_text(json.dumps({"sentences": {"written": written}}))
    return find_records(folder)


@pytest.fixture(scope="session")
def files(tmp_path_factory) -> list[str]:
    """Records of pictures with their questions."""
    extractor = GridExtractor(cells=2, max_components=4, crop_size=4)
    return write_folder(tmp_path_factory.mktemp("records"), easy_vqa_scenes(12, extractor))


@pytest.fixture(scope="session")
def pair_files(tmp_path_factory) -> list[str]:
    """Records of two pictures each with statements."""
    extractor = GridExtractor(cells=2, max_components=4, crop_size=4)
    return write_folder(tmp_path_factory.mktemp("pairs"), pair_scenes(6, extractor))


@pytest.fixture(scope="session")
def finished(files, tmp_path_factory):
    """The directory of a pre-training run that was not interrupted."""
    directory = tmp_path_factory.mktemp("runs") / "finished"
    pretrain(files, (), PRETRAINING, MODEL, directory=directory)
    return directory
