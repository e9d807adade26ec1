"""Checkpoints: whole or absent, and an older one goes only when a newer one is whole."""

import contextlib
import pathlib
import resource

import numpy as np
import pytest
import tensorflow as tf
from tensorflow import keras

from lxmert_tf.errors import InputError
from lxmert_tf.training.callbacks import SaveCheckpoints
from lxmert_tf.training.checkpointing import WRITING, TrainingCheckpoints
from lxmert_tf.training.optimization import BertAdamW


class Trained:
    """A layer of 64 x 64 weights that all have the value of the last step."""

    def __init__(self, directory, keep: int = 2):
        self.model = keras.Sequential([keras.layers.Dense(64, use_bias=False)])
        self.model.build([None, 64])
        self.optimizer = BertAdamW()
        self.checkpoints = TrainingCheckpoints(directory, self.model, self.optimizer, keep)

    def go_to(self, step: int) -> None:
        self.optimizer.iterations.assign(step)
        self.model.set_weights([np.full([64, 64], step, np.float32)])

    def save(self, *steps: int) -> None:
        for step in steps:
            self.go_to(step)
            self.checkpoints.save()

    def weight(self) -> float:
        (weights,) = self.model.get_weights()
        assert weights.min() == weights.max()
        return float(weights.min())


@contextlib.contextmanager
def files_of_at_most(size: int):
    """As on a disk that is full: no file can grow beyond `size` bytes."""
    _, most = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, most))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))


def damage(directory: pathlib.Path, step: int, kind: str = "data") -> None:
    (path,) = directory.glob(f"step-{step}.{kind}*")
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0xFF
    path.write_bytes(content)


def test_the_last_few_stay(tmp_path):
    trained = Trained(tmp_path)
    trained.save(1, 2, 9, 10)
    assert trained.checkpoints.saved_steps() == [9, 10]
    assert {path.name.split(".")[0] for path in tmp_path.iterdir()} == {"step-9", "step-10"}
    again = Trained(tmp_path)
    assert again.checkpoints.restore() == (10, [])
    assert again.weight() == 10


def test_a_full_disk_leaves_the_older_ones(tmp_path):
    trained = Trained(tmp_path, keep=1)
    trained.save(1)
    with files_of_at_most(20_000):
        with pytest.raises(InputError, match=r"step-2: cannot write the checkpoint: /.+ large$"):
            trained.save(2)
    assert trained.checkpoints.saved_steps() == [1]
    assert not (tmp_path / WRITING).exists()
    assert Trained(tmp_path).checkpoints.restore() == (1, [])
    trained.save(2)
    assert Trained(tmp_path).checkpoints.restore() == (2, [])


@pytest.mark.parametrize("kind", ["data", "index"])
def test_a_damaged_one_is_passed_over_and_goes_with_the_next(tmp_path, kind):
    Trained(tmp_path, keep=3).save(1, 2, 3)
    damage(tmp_path, 3, kind)
    again = Trained(tmp_path, keep=1)
    assert again.checkpoints.restore() == (2, [tmp_path / "step-3"])
    assert again.weight() == 2
    assert again.checkpoints.saved_steps() == [1, 2, 3]
    # Step 3 again, with fewer to be kept: the new one stays, not the damaged one.
    again.save(3)
    assert Trained(tmp_path).checkpoints.restore() == (3, [])


def test_a_damaged_later_one_does_not_take_the_place_of_a_new_one(tmp_path):
    Trained(tmp_path, keep=3).save(1, 9)
    damage(tmp_path, 9)
    again = Trained(tmp_path, keep=1)
    again.checkpoints.restore()
    again.save(2)
    assert again.checkpoints.saved_steps() == [2]


def test_data_without_an_index_is_not_a_checkpoint(tmp_path):
    Trained(tmp_path).save(1, 2)
    (tmp_path / "step-2.index").unlink()
    trained = Trained(tmp_path)
    assert trained.checkpoints.restore() == (1, [])
    trained.save(2)
    assert Trained(tmp_path).checkpoints.restore() == (2, [])


def test_a_directory_that_cannot_be_written_is_reported(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="step-1: cannot write the checkpoint: Not a dir"):
        Trained(tmp_path / "file" / "checkpoints").save(1)


def test_the_last_step_of_an_epoch_is_saved_when_the_epoch_is_over(tmp_path):
    trained = Trained(tmp_path, keep=9)
    callback = SaveCheckpoints(trained.checkpoints, 2, is_last_of_epoch=lambda step: step % 4 == 0)
    for step in (1, 2, 3, 4):
        trained.go_to(step)
        callback.on_train_batch_end(step)
    assert trained.checkpoints.saved_steps() == [2]
    callback.on_epoch_end(0)
    assert trained.checkpoints.saved_steps() == [2, 4]


def test_checkpoints_of_tensorflows_checkpoint_manager_are_read(tmp_path):
    model = Trained(tmp_path)
    model.go_to(5)
    checkpoint = tf.train.Checkpoint(model=model.model, optimizer=model.optimizer)
    keeper = tf.train.CheckpointManager(checkpoint, str(tmp_path), 2, checkpoint_name="step")
    keeper.save(checkpoint_number=5)
    assert Trained(tmp_path).checkpoints.restore() == (5, [])
