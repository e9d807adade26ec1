"""The weights of the epoch that did best on the validation data."""

import json
import math
import pathlib
from collections.abc import Callable

import tensorflow as tf
from rich.console import Console
from tensorflow import keras

from lxmert_tf.errors import InputError
from lxmert_tf.text_file import read_text, write_text
from lxmert_tf.training.checkpointing import delete_checkpoint, read_checkpoint, write_checkpoint

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
