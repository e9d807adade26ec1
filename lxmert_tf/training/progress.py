"""How training looks on the terminal: a bar with the time left, and a line an epoch."""

import time

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from tensorflow import keras


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
