"""Checkpoints of a training run: model and optimizer, and with its step the place in the data."""

import pathlib
import re
import shutil

import tensorflow as tf
from tensorflow import keras

from lxmert_tf.errors import InputError
from lxmert_tf.training.optimization import build_optimizer

STEP = "step"
# Where a checkpoint is until it is whole.
WRITING = ".writing"


class TrainingCheckpoints:
    """The last few checkpoints of a run: `step-N.index` and `step-N.data-...`.

    Everything random in a run is decided by its seed, the epoch and the step, so model and
    optimizer are all that a checkpoint needs. What is there is what the directory lists: there is
    no second file of names that could be lost or be behind.

    Args:
        directory: where they are.
        model: the model.
        optimizer: its optimizer; the variables are made if they are not yet.
        keep: how many stay.
    """

    def __init__(self, directory, model: keras.Model, optimizer, keep: int):
        self.directory = pathlib.Path(directory)
        self._optimizer = optimizer
        self._keep = keep
        # Outside of it, replicas would share the moments, and each would update them.
        with model.distribute_strategy.scope():
            build_optimizer(optimizer, model.trainable_variables)
        self._checkpoint = tf.train.Checkpoint(model=model, optimizer=optimizer)

    def step(self) -> int:
        """How many steps the optimizer has taken."""
        return int(self._optimizer.iterations.numpy())

    def saved_steps(self) -> list[int]:
        """The steps of the checkpoints that are there, ascending."""
        names = [path.stem for path in self.directory.glob(f"{STEP}-*.index")]
        return sorted(int(name.removeprefix(f"{STEP}-")) for name in names)

    def save(self) -> None:
        """Writes a checkpoint, whole or not at all; only then the oldest may go.

        Raises:
            InputError: it cannot be written, for example because the disk is full.
        """
        now = self.step()
        write_checkpoint(self._checkpoint, self._prefix(now))
        # Later ones could not be read, or the run would not be here.
        later = [step for step in self.saved_steps() if step > now]
        earlier = [step for step in self.saved_steps() if step <= now]
        for step in (*later, *earlier[: -self._keep]):
            delete_checkpoint(self._prefix(step))

    def restore(self) -> tuple[int, list[pathlib.Path]]:
        """Goes back to the newest checkpoint that can be read.

        Returns:
            its step (0 if there is no checkpoint), and the newer ones, which are damaged.

        Raises:
            InputError: there are checkpoints, and none can be read.
        """
        damaged = []
        for step in reversed(self.saved_steps()):
            if read_checkpoint(self._checkpoint, self._prefix(step)):
                return self.step(), damaged
            damaged.append(self._prefix(step))
        if damaged:
            raise InputError(
                f"{self.directory}: none of the {len(damaged)} checkpoints can be read, or the "
                "model is another one; start a new run in another directory"
            )
        return 0, []

    def _prefix(self, step: int) -> pathlib.Path:
        return self.directory / f"{STEP}-{step}"


def write_checkpoint(checkpoint: tf.train.Checkpoint, prefix: pathlib.Path) -> None:
    """Writes a checkpoint to `prefix`.index and .data-*; one whose index is there is whole.

    Raises:
        InputError: it cannot be written; one that was there before may be gone, others are not.
    """
    directory = prefix.parent / WRITING
    try:
        directory.mkdir(parents=True, exist_ok=True)
        checkpoint.write(str(directory / prefix.name))
        delete_checkpoint(prefix)
        for fresh in sorted(directory.glob(f"{prefix.name}.*")):
            # The index, which makes it one, comes last: "data" is before it.
            fresh.rename(prefix.with_name(fresh.name))
    except (tf.errors.OpError, OSError) as error:
        raise InputError(
            f"{prefix}: the checkpoint cannot be written: {reason_of(error)}"
        ) from error
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def read_checkpoint(checkpoint: tf.train.Checkpoint, prefix: pathlib.Path) -> bool:
    """Reads a checkpoint; False if it is damaged or of another model."""
    try:
        checkpoint.read(str(prefix)).assert_existing_objects_matched()
    except (tf.errors.OpError, ValueError, IndexError, AssertionError):
        # An IndexError is what TensorFlow makes of an index that ends too early.
        return False
    return True


def delete_checkpoint(prefix: pathlib.Path) -> None:
    """Deletes a checkpoint, if it is there; the index, which makes it one, first."""
    prefix.with_name(f"{prefix.name}.index").unlink(missing_ok=True)
    for data in prefix.parent.glob(f"{prefix.name}.data-*"):
        data.unlink(missing_ok=True)


def reason_of(error: tf.errors.OpError | OSError) -> str:
    """Why something could not be written, in one line."""
    if isinstance(error, OSError):
        return error.strerror or str(error)
    # TensorFlow says around it, and in further lines, where in its own code that was.
    return re.sub(r"\{\{.*?\}\} | \[Op:.*", "", str(error).strip().splitlines()[0])


class SaveCheckpoints(keras.callbacks.Callback):
    """Saves every so many steps and after each epoch.

    To be put behind what writes of an epoch: once it is saved, a resumed run begins behind it.

    Args:
        checkpoints: where.
        every: steps.
        steps_per_epoch: steps in an epoch.
    """

    def __init__(self, checkpoints: TrainingCheckpoints, every: int, steps_per_epoch: int):
        super().__init__()
        self._checkpoints = checkpoints
        self._every = every
        self._steps_per_epoch = steps_per_epoch
        self._saved = checkpoints.step()

    def on_train_batch_end(self, batch, logs=None):
        step = self._checkpoints.step()
        # At the last step of an epoch the validation is still to come.
        if step % self._steps_per_epoch and step // self._every > self._saved // self._every:
            self._save(step)

    def on_epoch_end(self, epoch, logs=None):
        step = self._checkpoints.step()
        if step > self._saved:
            self._save(step)

    def _save(self, step: int) -> None:
        self._checkpoints.save()
        self._saved = step
