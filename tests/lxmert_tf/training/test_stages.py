"""The records and steps of each stage."""

import pytest

from lxmert_tf.errors import InputError
from lxmert_tf.training.config import StageConfig
from lxmert_tf.training.stages import group_by_split, plan_stages
from lxmert_tf.training.trainer import is_last_of_epoch

FILES = ["records/easy/a.tfrecord", "records/hard/a.tfrecord", "records/hard/b.tfrecord"]
SENTENCES = {"easy": 5, "hard": 12}


def test_the_folder_of_a_file_names_its_split():
    groups = group_by_split(["gs://bucket/Split-train/data-0.gz", "b/train/x", "b/other/x"])
    assert groups == {
        "train": ["gs://bucket/Split-train/data-0.gz", "b/train/x"],
        "other": ["b/other/x"],
    }


def test_stages_read_their_split_or_all_records():
    stages = [StageConfig(2, split="easy"), StageConfig(1, split="hard"), StageConfig(3)]
    easy, hard, both = plan_stages(stages, FILES, SENTENCES, batch_size=4)
    assert (easy.files, hard.files, both.files) == (FILES[:1], FILES[1:], FILES)
    assert [plan.steps_per_epoch for plan in (easy, hard, both)] == [2, 3, 5]
    assert [(plan.first_epoch, plan.first_step) for plan in (easy, hard, both)] == [
        (0, 0),
        (2, 4),
        (3, 7),
    ]
    assert (both.last_epoch, both.last_step) == (6, 22)
    assert both.locate(13) == (4, 1)


def test_the_last_steps_of_epochs_are_found_in_all_stages():
    stages = plan_stages(
        [StageConfig(2, split="easy"), StageConfig(2, split="hard")], FILES, SENTENCES, 4
    )
    assert [step for step in range(1, 11) if is_last_of_epoch(stages, step)] == [2, 4, 7, 10]


def test_a_split_without_records_is_refused():
    with pytest.raises(InputError) as caught:
        plan_stages([StageConfig(1), StageConfig(1, split="ease")], FILES, SENTENCES, 4)
    assert str(caught.value) == (
        "stage 2: no training records are in a folder named 'ease'; the folders are easy, hard"
    )
