"""What a run leaves for people to look at and scripts to read: TensorBoard and JSON lines."""

import json
import pathlib
import time

import tensorflow as tf
from tensorflow import keras

from lxmert_tf.errors import InputError
from lxmert_tf.text_file import write_text

LOG = "log.jsonl"


class TrainingLog(keras.callbacks.Callback):
    """Writes losses, metrics and the learning rate to `tensorboard/` and `log.jsonl`.

    A line of the log is {"step", "epoch", "seconds", "learning_rate", "gradient_norm", ...metrics}.
    The norm is that of the step's gradients before they are clipped (LAMB does not tell it);
    metrics are those of the epoch so far, of a resumed one since then, and at the end of an epoch
    also `val_*`.

    To be put before what saves checkpoints: what a checkpoint is behind of is written.

    Args:
        directory: of the run.
        learning_rate: gives the rate of a step.
        first_step: lines of later steps, which an interrupted run has left, are taken out.
        every: steps between lines.
    """

    def __init__(self, directory, learning_rate, first_step: int = 0, every: int = 50):
        super().__init__()
        self._directory = pathlib.Path(directory)
        _forget_after(self._directory / LOG, first_step)
        self._learning_rate = learning_rate
        self._every = every
        self._writer = tf.summary.create_file_writer(str(self._directory / "tensorboard"))
        self._epoch = 0
        self._started = time.monotonic()

    def on_epoch_begin(self, epoch, logs=None):
        self._epoch = epoch

    def on_train_batch_end(self, batch, logs=None):
        if self._step() % self._every == 0:
            self._write(logs)

    def on_epoch_end(self, epoch, logs=None):
        self._write(logs)

    def _step(self) -> int:
        return int(self.model.optimizer.iterations.numpy())

    def _write(self, logs) -> None:
        step = self._step()
        # The rate that this step used: the first step's number is 0.
        rate = float(self._learning_rate(tf.constant(step - 1, tf.int64)))
        values = {"learning_rate": rate}
        norm = getattr(self.model.optimizer, "gradient_norm", None)
        if norm is not None:
            values["gradient_norm"] = norm
        values |= {name: float(value) for name, value in logs.items()}
        with self._writer.as_default():
            for name, value in values.items():
                tf.summary.scalar(name, value, step=step)
        self._writer.flush()
        seconds = round(time.monotonic() - self._started, 1)
        line = {"step": step, "epoch": self._epoch, "seconds": seconds, **values}
        _append(self._directory / LOG, json.dumps(line) + "\n")


def _append(log: pathlib.Path, line: str) -> None:
    try:
        with log.open("a", encoding="utf-8") as file:
            file.write(line)
    except OSError as error:
        raise InputError(f"{log}: {error.strerror or error}") from error


def _forget_after(log: pathlib.Path, step: int) -> None:
    if not log.exists():
        return
    kept = []
    for line in log.read_text(encoding="utf-8").splitlines(keepends=True):
        try:
            if json.loads(line)["step"] <= step:
                kept.append(line)
        except ValueError:
            # A line that was being written when the run was killed.
            continue
    write_text(log, "".join(kept))
