"""The callbacks of a training run, in the order in which `train` uses them."""

import json
import math
import pathlib
import time
from collections.abc import Callable

import numpy as np
import tensorflow as tf
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from tensorflow import keras

from lxmert_tf.atomic_write import naming_full_disk
from lxmert_tf.errors import GateError, InputError
from lxmert_tf.result_files import LOG
from lxmert_tf.terminal import make_console
from lxmert_tf.text_file import read_text, write_text
from lxmert_tf.training.checkpointing import (
    TrainingCheckpoints,
    delete_checkpoint,
    read_checkpoint,
    write_checkpoint,
)

BEST = "best"


class _StepCallback(keras.callbacks.Callback):
    """A callback that knows the step of the run, which Keras' `batch` is not after a resume."""

    @property
    def step(self) -> int:
        """Number of steps that the optimizer has taken."""
        return int(self.model.optimizer.iterations.numpy())


class TerminateOnNaN(_StepCallback):
    """Ends training with a `GateError` at the first step whose loss is NaN or infinite.

    Not `keras.callbacks.TerminateOnNaN`, which only ends the epoch early: Keras would still
    evaluate the ruined weights and save them as the newest checkpoint, and exit as if all was well.
    """

    def on_train_batch_end(self, batch, logs=None):
        loss = float(logs["loss"])
        if not math.isfinite(loss):
            raise GateError(
                f"the loss is {loss} at step {self.step}; a lower peak_learning_rate or clip_norm "
                "may help (the last checkpoint is of an earlier step)"
            )


class BestEpoch(_StepCallback):
    """Keeps the weights of the best epoch so far as `best-STEP.index` and `.data-...`.

    `best.json` lists each epoch that was better than all before it. A run that resumes from a
    checkpoint forgets the epochs after it, so weights stay as long as some checkpoint precedes a
    better epoch. Adds `best_epoch` to the metrics of an epoch, for the callbacks that follow.

    Args:
        directory: Where to keep the weights.
        metric: Name of a validation metric; of a loss the lowest value is the best, of other
            metrics the highest.
        model: Model whose weights are kept.
        first_step: Step at which training begins; later entries are forgotten.
        checkpoints: Checkpoints to which the run may have to go back, if there are any.
    """

    def __init__(
        self,
        directory,
        metric: str,
        model: keras.Model,
        first_step: int = 0,
        checkpoints: TrainingCheckpoints | None = None,
    ):
        super().__init__()
        self._directory = pathlib.Path(directory)
        self._metric = metric
        self._checkpoint = tf.train.Checkpoint(model=model)
        self._checkpoints = checkpoints
        self._records = [r for r in self._read() if r["step"] <= first_step]

    def on_epoch_end(self, epoch, logs=None):
        value = float(logs[self._metric])
        if self._is_best(value):
            step = self.step
            write_checkpoint(self._checkpoint, self._prefix(step))
            self._records.append({"epoch": epoch, "step": step, "value": value})
            write_text(self._directory / f"{BEST}.json", json.dumps(self._records) + "\n")
            self._delete_unreachable()
        if self._records:
            logs["best_epoch"] = self._records[-1]["epoch"]

    def load(self) -> None:
        """Load the best weights into the model, and print their epoch.

        Raises:
            InputError: The metric was never a number, or the weights cannot be read.
        """
        if not self._records:
            raise InputError(f"{self._metric} was never a number; there is no best epoch")
        best = self._records[-1]
        if not read_checkpoint(self._checkpoint, self._prefix(best["step"])):
            raise InputError(f"{self._prefix(best['step'])}: cannot read the best weights")
        text = f"best: epoch {best['epoch'] + 1}, with {self._metric} {best['value']:.4f}"
        make_console().print(text, soft_wrap=True)

    def _is_best(self, value: float) -> bool:
        if math.isnan(value):
            return False
        if not self._records:
            return True
        best = self._records[-1]["value"]
        return value < best if self._metric.endswith("loss") else value > best

    def _delete_unreachable(self) -> None:
        oldest = self._checkpoints.oldest_step() if self._checkpoints else 0
        steps = [record["step"] for record in self._records]
        # The best of the epochs up to the oldest checkpoint, and all after it.
        kept = {*[step for step in steps if step <= oldest][-1:], *(s for s in steps if s > oldest)}
        for path in self._directory.glob(f"{BEST}-*.index"):
            if int(path.stem.removeprefix(f"{BEST}-")) not in kept:
                delete_checkpoint(path.with_suffix(""))

    def _read(self) -> list[dict]:
        file = self._directory / f"{BEST}.json"
        return json.loads(read_text(file)) if file.exists() else []

    def _prefix(self, step: int) -> pathlib.Path:
        return self._directory / f"{BEST}-{step}"


class TrainingLog(_StepCallback):
    """Writes losses, metrics, and the learning rate to `log.jsonl` and `tensorboard/`.

    A line of the log is {"step", "epoch", "seconds", "learning_rate", "gradient_norm", ...metrics}.
    The norm is that of the step's gradients before clipping (LAMB does not report it). Metrics are
    averages over the epoch so far, or since it was resumed; at the end of an epoch there are also
    those of the validation data, `val_*`.

    Args:
        directory: Of the run.
        learning_rate: Schedule that returns the rate of a step.
        first_step: Step at which training begins; lines of later steps, which an interrupted run
            has left, are removed.
        every: Steps between lines.
        draw_samples: Returns images uint8 [N, height, width, 3], such as that of
            `sample_drawer`, for TensorBoard after each epoch; None shows none.
    """

    def __init__(
        self,
        directory,
        learning_rate,
        first_step: int = 0,
        every: int = 50,
        draw_samples: Callable[[], np.ndarray] | None = None,
    ):
        super().__init__()
        self._log = pathlib.Path(directory) / LOG
        _delete_lines_after(self._log, first_step)
        self._learning_rate = learning_rate
        self._every = every
        self._draw_samples = draw_samples
        # One for everything: of several files that grow, TensorBoard reads the newest alone.
        self._events = pathlib.Path(directory) / "tensorboard"
        with naming_full_disk(self._events):
            self._writer = tf.summary.create_file_writer(str(self._events))
        self._epoch = 0
        self._started = time.monotonic()

    def on_epoch_begin(self, epoch, logs=None):
        self._epoch = epoch

    def on_train_batch_end(self, batch, logs=None):
        if self.step % self._every == 0:
            self._write(logs)

    def on_epoch_end(self, epoch, logs=None):
        if self._draw_samples is not None:
            samples = self._draw_samples()
            with naming_full_disk(self._events), self._writer.as_default():
                tf.summary.image("answers", samples, step=self.step, max_outputs=len(samples))
        self._write(logs)

    def _write(self, logs) -> None:
        step = self.step
        # The rate that this step used: the first step has number 0.
        values = {"learning_rate": float(self._learning_rate(tf.constant(step - 1, tf.int64)))}
        norm = getattr(self.model.optimizer, "gradient_norm", None)
        if norm is not None:
            values["gradient_norm"] = norm
        values |= {name: float(value) for name, value in logs.items()}
        with naming_full_disk(self._events), self._writer.as_default():
            for name, value in values.items():
                tf.summary.scalar(name, value, step=step)
            self._writer.flush()
        seconds = round(time.monotonic() - self._started, 1)
        line = {"step": step, "epoch": self._epoch, "seconds": seconds, **values}
        try:
            with self._log.open("a", encoding="utf-8") as file:
                file.write(json.dumps(line) + "\n")
        except OSError as error:
            raise InputError(f"{self._log}: {error.strerror or error}") from error


def _delete_lines_after(log: pathlib.Path, step: int) -> None:
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


class SaveCheckpoints(keras.callbacks.Callback):
    """Saves a checkpoint every few steps and after each epoch.

    Must come after the callbacks that write something about an epoch: once a checkpoint is saved,
    a resumed run begins after it.

    Args:
        checkpoints: Where to save.
        every: Steps between checkpoints.
        is_last_of_epoch: Tells whether a step, counted from 1, is the last of its epoch.
        saved: Called after each checkpoint.
    """

    def __init__(
        self,
        checkpoints: TrainingCheckpoints,
        every: int,
        is_last_of_epoch: Callable[[int], bool],
        saved: Callable[[], None] = lambda: None,
    ):
        super().__init__()
        self._after = saved
        self._checkpoints = checkpoints
        self._every = every
        self._is_last_of_epoch = is_last_of_epoch
        self._saved = checkpoints.step()

    def on_train_batch_end(self, batch, logs=None):
        step = self._checkpoints.step()
        # The last step of an epoch is saved after validation.
        if step // self._every > self._saved // self._every and not self._is_last_of_epoch(step):
            self._save(step)

    def on_epoch_end(self, epoch, logs=None):
        step = self._checkpoints.step()
        if step > self._saved:
            self._save(step)

    def _save(self, step: int) -> None:
        self._checkpoints.save()
        self._saved = step
        self._after()


class TrainingProgress(_StepCallback):
    """Shows a bar over all steps of a run (on a terminal only) and prints a line for each epoch.

    Args:
        steps: Steps of the whole run.
        epochs: Epochs of the whole run.
        batch_size: Sentences per step.
    """

    def __init__(self, steps: int, epochs: int, batch_size: int):
        super().__init__()
        self._steps = steps
        self._epochs = epochs
        self._batch_size = batch_size
        self._console = make_console()
        self._bar = None

    def on_train_begin(self, logs=None):
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[status]}"),
            console=self._console,
            disable=not self._console.is_terminal,
            transient=True,
        )
        self._task = self._bar.add_task(
            "training", total=self._steps, completed=self.step, status=""
        )
        self._bar.start()

    def on_train_end(self, logs=None):
        self._bar.stop()

    def on_epoch_begin(self, epoch, logs=None):
        self._began, self._first_step, self._rate = time.monotonic(), self.step, 0.0

    def on_train_batch_end(self, batch, logs=None):
        step = self.step
        seconds = time.monotonic() - self._began
        self._rate = (step - self._first_step) * self._batch_size / max(seconds, 1e-9)
        status = f"loss {logs['loss']:.4f}  {self._rate:,.0f} examples/s"
        self._bar.update(self._task, completed=step, status=status)

    def on_epoch_end(self, epoch, logs=None):
        line = epoch_line(epoch, self._epochs, self._rate, logs)
        self._console.print(line, soft_wrap=True)


def epoch_line(epoch: int, epochs: int, rate: float, logs: dict[str, float]) -> str:
    """Return the line that is printed after an epoch: losses and accuracies.

    Args:
        epoch: Number of the epoch, from 0.
        epochs: Epochs of the whole run.
        rate: Examples per second.
        logs: Keras' metrics; accuracies are those of the validation data where there are any.
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
