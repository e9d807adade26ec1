"""Checkpoints of a training run: model and optimizer, whose step gives the position in the data."""

import pathlib
import re
import shutil

import tensorflow as tf
from tensorflow import keras

from lxmert_tf.durable import rename_durably
from lxmert_tf.errors import InputError
from lxmert_tf.models.task import build_optimizer

STEP = "step"
# Folder of a checkpoint until it is complete.
WRITING = ".writing"


class TrainingCheckpoints:
    """The last few checkpoints of a run: `step-N.index` and `step-N.data-...`.

    The directory listing alone says which checkpoints there are; no second file with their names
    could be lost or out of date.

    Args:
        directory: Where they are.
        model: Model to save and restore.
        optimizer: Its optimizer; its variables are made if they do not exist yet.
        keep: Number of checkpoints to keep.
    """

    def __init__(self, directory, model: keras.Model, optimizer, keep: int):
        self.directory = pathlib.Path(directory)
        self._optimizer = optimizer
        self._keep = keep
        # Outside of the scope, replicas would share the moments, and each would update them.
        with model.distribute_strategy.scope():
            build_optimizer(optimizer, model.trainable_variables)
        self._checkpoint = tf.train.Checkpoint(model=model, optimizer=optimizer)

    def step(self) -> int:
        """Return the number of steps that the optimizer has taken."""
        return int(self._optimizer.iterations.numpy())

    def saved_steps(self) -> list[int]:
        """Return the steps of the checkpoints in the directory, ascending."""
        names = [path.stem for path in self.directory.glob(f"{STEP}-*.index")]
        return sorted(int(name.removeprefix(f"{STEP}-")) for name in names)

    def oldest_step(self) -> int:
        """Return the step of the oldest checkpoint, or 0 if there is none."""
        return min(self.saved_steps(), default=0)

    def save(self) -> None:
        """Write a checkpoint, completely or not at all, and then delete the oldest.

        Raises:
            InputError: It cannot be written, for example because the disk is full.
        """
        now = self.step()
        write_checkpoint(self._checkpoint, self._prefix(now))
        # Later ones are damaged, or the run would have resumed from them.
        later = [step for step in self.saved_steps() if step > now]
        earlier = [step for step in self.saved_steps() if step <= now]
        for step in (*later, *earlier[: -self._keep]):
            delete_checkpoint(self._prefix(step))

    def restore(self) -> tuple[int, list[pathlib.Path]]:
        """Restore the newest checkpoint that can be read.

        Returns:
            Its step (0 if there is no checkpoint), and the newer ones, which are damaged.

        Raises:
            InputError: There are checkpoints, and none can be read.
        """
        damaged: list[pathlib.Path] = []
        for step in reversed(self.saved_steps()):
            if read_checkpoint(self._checkpoint, self._prefix(step)):
                return self.step(), damaged
            damaged.append(self._prefix(step))
        if damaged:
            raise InputError(
                f"{self.directory}: no checkpoint can be read ({len(damaged)} tried), or they are "
                "of another model; start a new run in another directory"
            )
        return 0, []

    def _prefix(self, step: int) -> pathlib.Path:
        return self.directory / f"{STEP}-{step}"


def write_checkpoint(checkpoint: tf.train.Checkpoint, prefix: pathlib.Path) -> None:
    """Write a checkpoint to `prefix`.index and .data-*; the index appears last.

    Raises:
        InputError: It cannot be written. An earlier checkpoint of the same name may be gone.
    """
    directory = prefix.parent / WRITING
    try:
        directory.mkdir(parents=True, exist_ok=True)
        checkpoint.write(str(directory / prefix.name))
        delete_checkpoint(prefix)
        # In alphabetical order "data" precedes "index", which makes the checkpoint complete.
        for fresh in sorted(directory.glob(f"{prefix.name}.*")):
            rename_durably(fresh, prefix.with_name(fresh.name))
    except (tf.errors.OpError, OSError) as error:
        raise InputError(f"{prefix}: cannot write the checkpoint: {reason_of(error)}") from error
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def read_checkpoint(checkpoint: tf.train.Checkpoint, prefix: pathlib.Path) -> bool:
    """Read a checkpoint; return False if it is damaged or of another model."""
    try:
        checkpoint.read(str(prefix)).assert_existing_objects_matched()
    except (tf.errors.OpError, ValueError, IndexError, AssertionError):
        # TensorFlow raises an IndexError for an index that ends too early.
        return False
    return True


def delete_checkpoint(prefix: pathlib.Path) -> None:
    """Delete a checkpoint if it is there; the index, which makes it complete, first."""
    prefix.with_name(f"{prefix.name}.index").unlink(missing_ok=True)
    for data in prefix.parent.glob(f"{prefix.name}.data-*"):
        data.unlink(missing_ok=True)


def reason_of(error: tf.errors.OpError | OSError) -> str:
    """Return in one line why something could not be written."""
    if isinstance(error, OSError):
        return error.strerror or str(error)
    # TensorFlow adds where in its own code that was.
    return re.sub(r"\{\{.*?\}\} | \[Op:.*", "", str(error).strip().splitlines()[0])
