"""Checkpoints of a training run: model and optimizer, and with its step the place in the data."""

import pathlib

import tensorflow as tf
from tensorflow import keras

from lxmert_tf.errors import InputError


class TrainingCheckpoints:
    """The last few checkpoints of a run.

    Everything random in a run is decided by its seed, the epoch and the step, so model and
    optimizer are all that a checkpoint needs.

    Args:
        directory: where they are.
        model: the model.
        optimizer: its optimizer; the variables are made if they are not yet.
        keep: how many stay.
    """

    def __init__(self, directory, model: keras.Model, optimizer, keep: int):
        self.directory = pathlib.Path(directory)
        self._optimizer = optimizer
        build_optimizer(optimizer, model.trainable_variables)
        self._checkpoint = tf.train.Checkpoint(model=model, optimizer=optimizer)
        self._manager = tf.train.CheckpointManager(
            self._checkpoint, str(self.directory), max_to_keep=keep, checkpoint_name="step"
        )

    def step(self) -> int:
        """How many steps the optimizer has taken."""
        return int(self._optimizer.iterations.numpy())

    def save(self) -> None:
        """Writes a checkpoint, whole or not at all; then the oldest may go.

        Raises:
            InputError: it cannot be written, for example because the disk is full.
        """
        try:
            self._manager.save(checkpoint_number=self.step())
        except tf.errors.OpError as error:
            reason = str(error).strip().splitlines()[0]
            raise InputError(f"{self.directory}: cannot write a checkpoint: {reason}") from error

    def restore(self) -> tuple[int, list[str]]:
        """Goes back to the newest checkpoint that can be read.

        Returns:
            its step (0 if there is no checkpoint), and the newer ones, which are damaged.

        Raises:
            InputError: there are checkpoints, and none can be read.
        """
        damaged = []
        for path in reversed(self._manager.checkpoints):
            try:
                self._checkpoint.restore(path).assert_existing_objects_matched()
            except (tf.errors.OpError, ValueError, IndexError, AssertionError):
                # An IndexError is what TensorFlow makes of an index that ends too early.
                damaged.append(path)
            else:
                return self.step(), damaged
        if damaged:
            raise InputError(
                f"{self.directory}: none of the {len(damaged)} checkpoints can be read, or the "
                "model is another one; start a new run in another directory"
            )
        return 0, []


def build_optimizer(optimizer, variables) -> None:
    """Makes an optimizer's variables before its first step, those of idle heads too."""
    if isinstance(optimizer, keras.optimizers.legacy.Optimizer):
        # What its first step would do; there is no public way to ask for it.
        optimizer._create_all_weights(variables)
    else:
        optimizer.build(variables)


class SaveCheckpoints(keras.callbacks.Callback):
    """Saves every so many steps and after each epoch.

    Args:
        checkpoints: where.
        every: steps.
    """

    def __init__(self, checkpoints: TrainingCheckpoints, every: int):
        super().__init__()
        self._checkpoints = checkpoints
        self._every = every
        self._saved = checkpoints.step()

    def on_train_batch_end(self, batch, logs=None):
        step = self._checkpoints.step()
        if step // self._every > self._saved // self._every:
            self._save(step)

    def on_epoch_end(self, epoch, logs=None):
        step = self._checkpoints.step()
        if step > self._saved:
            self._save(step)

    def _save(self, step: int) -> None:
        self._checkpoints.save()
        self._saved = step
