"""Stops training whose loss is no number any more."""

import json
import math
import pathlib
import time
from collections.abc import Callable

import tensorflow as tf
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from tensorflow import keras

from lxmert_tf.errors import GateError, InputError
from lxmert_tf.text_file import read_text, write_text
from lxmert_tf.training.checkpointing import delete_checkpoint, read_checkpoint, write_checkpoint


class TerminateOnNaN(keras.callbacks.Callback):
    """Ends training with a GateError at the step whose loss is NaN or infinite.

    To be put before what saves checkpoints, so that the last one is of a step before it.
    """

    def on_train_batch_end(self, batch, logs=None):
        loss = float(logs["loss"])
        if not math.isfinite(loss):
            step = int(self.model.optimizer.iterations.numpy())
            raise GateError(
                f"the loss is {loss} at step {step}; a lower peak_learning_rate or clip_norm may "
                "help (the last checkpoint is of an earlier step)"
            )


BEST = "best"


class BestEpoch(keras.callbacks.Callback):
    """Keeps the weights of the best epoch so far as `best-STEP.index` and `.data-...`.

    `best.json` lists each epoch that was better than all before it. A run that goes back to a
    checkpoint forgets what came after it, so weights stay as long as a checkpoint leads to them.

    To be put before what logs an epoch, to whose metrics it adds `best_epoch`, and before what
    saves checkpoints.

    Args:
        directory: where.
        metric: the name of a validation metric; of losses the lowest is best, of others the
            highest.
        model: whose weights.
        first_step: of this training; what is known of later steps is forgotten.
        oldest_step: tells the oldest step that the run may have to go back to.
    """

    def __init__(
        self,
        directory,
        metric: str,
        model: keras.Model,
        first_step: int = 0,
        oldest_step: Callable[[], int] = lambda: 0,
    ):
        super().__init__()
        self._directory = pathlib.Path(directory)
        self._metric = metric
        self._checkpoint = tf.train.Checkpoint(model=model)
        self._oldest_step = oldest_step
        self._records = [r for r in self._read() if r["step"] <= first_step]

    def on_epoch_end(self, epoch, logs=None):
        value = float(logs[self._metric])
        if self._is_best(value):
            step = int(self.model.optimizer.iterations.numpy())
            write_checkpoint(self._checkpoint, self._prefix(step))
            self._records.append({"epoch": epoch, "step": step, "value": value})
            write_text(self._directory / f"{BEST}.json", json.dumps(self._records) + "\n")
            self._delete_unreachable()
        if self._records:
            logs["best_epoch"] = self._records[-1]["epoch"]

    def load(self) -> None:
        """Gives the model the best weights, and tells of which epoch they are.

        Raises:
            InputError: the metric was never a number, or the weights cannot be read.
        """
        if not self._records:
            raise InputError(f"{self._metric} was never a number; there is no best epoch")
        best = self._records[-1]
        if not read_checkpoint(self._checkpoint, self._prefix(best["step"])):
            raise InputError(f"{self._prefix(best['step'])}: the best weights cannot be read")
        text = f"best: epoch {best['epoch'] + 1}, with {self._metric} {best['value']:.4f}"
        Console(highlight=False).print(text, soft_wrap=True)

    def _is_best(self, value: float) -> bool:
        if math.isnan(value):
            return False
        if not self._records:
            return True
        best = self._records[-1]["value"]
        return value < best if self._metric.endswith("loss") else value > best

    def _delete_unreachable(self) -> None:
        oldest = self._oldest_step()
        steps = [record["step"] for record in self._records]
        # The best of the epochs before the oldest checkpoint, and all after it.
        kept = {*[step for step in steps if step <= oldest][-1:], *(s for s in steps if s > oldest)}
        for path in self._directory.glob(f"{BEST}-*.index"):
            if int(path.stem.removeprefix(f"{BEST}-")) not in kept:
                delete_checkpoint(path.with_suffix(""))

    def _read(self) -> list[dict]:
        file = self._directory / f"{BEST}.json"
        return json.loads(read_text(file)) if file.exists() else []

    def _prefix(self, step: int) -> pathlib.Path:
        return self._directory / f"{BEST}-{step}"


class TrainingProgress(keras.callbacks.Callback):
    """A bar over all steps of a run (on a terminal only), and a line for each epoch.

    Args:
        steps: of the whole run.
        epochs: of the whole run.
        batch_size: sentences per step.
    """

    def __init__(self, steps: int, epochs: int, batch_size: int):
        super().__init__()
        self._steps = steps
        self._epochs = epochs
        self._batch_size = batch_size
        self._console = Console()
        self._bar = None

    def on_train_begin(self, logs=None):
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[told]}"),
            console=self._console,
            disable=not self._console.is_terminal,
            transient=True,
        )
        self._task = self._bar.add_task(
            "training", total=self._steps, completed=self._step(), told=""
        )
        self._bar.start()

    def on_train_end(self, logs=None):
        self._bar.stop()

    def on_epoch_begin(self, epoch, logs=None):
        self._began, self._first_step, self._rate = time.monotonic(), self._step(), 0.0

    def on_train_batch_end(self, batch, logs=None):
        step = self._step()
        seconds = time.monotonic() - self._began
        self._rate = (step - self._first_step) * self._batch_size / max(seconds, 1e-9)
        told = f"loss {logs['loss']:.4f}  {self._rate:,.0f} examples/s"
        self._bar.update(self._task, completed=step, told=told)

    def on_epoch_end(self, epoch, logs=None):
        line = epoch_line(epoch, self._epochs, self._rate, logs)
        self._console.print(line, highlight=False, soft_wrap=True)

    def _step(self) -> int:
        return int(self.model.optimizer.iterations.numpy())


def epoch_line(epoch: int, epochs: int, rate: float, logs: dict[str, float]) -> str:
    """What is told of an epoch: the losses, and accuracies (on validation data if there are).

    Args:
        epoch: from 0.
        epochs: of the whole run.
        rate: examples per second.
        logs: Keras'.
    """
    parts = [f"epoch {epoch + 1}/{epochs}", f"{rate:,.0f} examples/s", f"loss {logs['loss']:.4f}"]
    if "val_loss" in logs:
        parts.append(f"validation {logs['val_loss']:.4f}")
    for name, value in logs.items():
        if name.endswith("accuracy") and not name.startswith("val_"):
            value = logs.get(f"val_{name}", value)
            label = name if name == "soft_accuracy" else name.removesuffix("_accuracy")
            parts.append(f"{label} {value:.2%}")
    return "  ".join(parts)


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
