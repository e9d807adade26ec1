"""Callbacks: the best epoch, the log, checkpoints, and the end of a diverged training."""

import json
import resource
from typing import NamedTuple

import numpy as np
import pytest
import tensorflow as tf
from tensorflow import keras
from tensorflow.core.util import event_pb2

from lxmert_tf.errors import GateError, InputError
from lxmert_tf.training.callbacks import BestEpoch, TerminateOnNaN, TrainingLog, epoch_line

STEPS_PER_EPOCH = 10


def compiled_model() -> keras.Model:
    model = keras.Sequential([keras.layers.Dense(1, use_bias=False)])
    model.build([None, 1])
    model.compile("sgd", "mse")
    return model


class Checkpoints(NamedTuple):
    """Stands in for `TrainingCheckpoints`."""

    oldest: int

    def oldest_step(self) -> int:
        return self.oldest


class Validated:
    """A model whose weight is the epoch, and what is kept of it."""

    def __init__(self, directory, metric="val_loss", **arguments):
        self.model = compiled_model()
        self.metric = metric
        self.best = BestEpoch(directory, metric, self.model, **arguments)
        self.best.set_model(self.model)

    def epochs(self, *values: float, first: int = 0) -> list[float]:
        """Ends epochs with these values; returns which was best after each."""
        told = []
        for epoch, value in enumerate(values, start=first):
            self.model.set_weights([np.full([1, 1], epoch)])
            self.model.optimizer.iterations.assign(STEPS_PER_EPOCH * (epoch + 1))
            logs = {self.metric: value}
            self.best.on_epoch_end(epoch, logs)
            told.append(logs.get("best_epoch"))
        return told

    def loaded(self) -> float:
        self.best.load()
        return float(self.model.get_weights()[0][0, 0])


def kept(directory) -> list[str]:
    return sorted(path.stem for path in directory.glob("best-*.index"))


@pytest.mark.parametrize(
    ("metric", "values", "best"),
    [
        ("val_loss", (3.0, 1.0, 2.0, 1.0), [0, 1, 1, 1]),
        ("val_soft_accuracy", (0.5, 0.4, 0.6, 0.6), [0, 0, 2, 2]),
        ("val_loss", (float("nan"), 2.0, float("nan")), [None, 1, 1]),
    ],
)
def test_losses_fall_and_accuracies_rise(tmp_path, capfd, metric, values, best):
    validated = Validated(tmp_path, metric)
    assert validated.epochs(*values) == best
    assert validated.loaded() == best[-1]
    assert f"best: epoch {best[-1] + 1}, with {metric} " in capfd.readouterr().out


def test_a_run_that_goes_back_drops_the_later_lines(tmp_path):
    # The checkpoint that a run may go back to is that of the first epoch.
    oldest = {"checkpoints": Checkpoints(STEPS_PER_EPOCH)}
    Validated(tmp_path, **oldest).epochs(3.0, 2.0, 1.0)
    again = Validated(tmp_path, first_step=STEPS_PER_EPOCH, **oldest)
    assert again.epochs(4.0, 3.5, first=1) == [0, 0]
    assert again.loaded() == 0


def test_weights_that_no_checkpoint_leads_to_go(tmp_path):
    validated = Validated(tmp_path, checkpoints=Checkpoints(2 * STEPS_PER_EPOCH))
    validated.epochs(4.0, 3.0, 2.0, 1.0)
    assert kept(tmp_path) == ["best-20", "best-30", "best-40"]


def test_damaged_best_weights_are_reported(tmp_path):
    validated = Validated(tmp_path)
    validated.epochs(1.0)
    (tmp_path / "best-10.index").write_bytes(b"")
    with pytest.raises(InputError, match="best-10: cannot read the best weights"):
        validated.loaded()


def test_the_log_has_a_line_every_few_steps_and_forgets_later_ones(tmp_path):
    lines = [json.dumps({"step": step}) for step in (10, 20, 30)]
    (tmp_path / "log.jsonl").write_text("\n".join(lines) + '\n{"step": 4')
    model = compiled_model()
    log = TrainingLog(tmp_path, lambda step: 0.5 * float(step), first_step=20, every=5)
    log.set_model(model)
    log.on_epoch_begin(2)
    for step in (21, 25):
        model.optimizer.iterations.assign(step)
        log.on_train_batch_end(step, {"loss": 1.5})
    log.on_epoch_end(2, {"loss": 1.0, "val_loss": 2.0})
    written = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert [line["step"] for line in written] == [10, 20, 25, 25]
    # The rate of step 25 is that of number 24.
    assert written[2]["learning_rate"] == 12.0 and written[2]["loss"] == 1.5
    assert written[3]["epoch"] == 2 and written[3]["val_loss"] == 2.0


def test_sample_answers_are_shown_after_each_epoch_in_the_file_of_the_log(tmp_path):
    cards = np.full([3, 20, 10, 3], 7, np.uint8)
    log = TrainingLog(tmp_path, lambda step: 0.1, draw_samples=lambda: cards)
    log.set_model(compiled_model())
    log.on_epoch_end(0, {"loss": 1.0})
    [file] = (tmp_path / "tensorboard").iterdir()
    events = [
        event_pb2.Event.FromString(record.numpy()) for record in tf.data.TFRecordDataset(str(file))
    ]
    values = {value.tag: value for event in events for value in event.summary.value}
    width, height, *images = values["answers"].tensor.string_val
    assert (width, height, len(images)) == (b"10", b"20", 3)
    np.testing.assert_array_equal(tf.io.decode_png(images[0]), cards[0])
    assert "loss" in values


def test_a_full_disk_is_told_with_what_is_written(tmp_path):
    log = TrainingLog(tmp_path, lambda step: 0.1)
    log.set_model(compiled_model())
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    # Files may not grow beyond this, which has the effect of a full disk.
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, limits[1]))
    try:
        with pytest.raises(OSError, match="File too large") as caught:
            log.on_epoch_end(0, {"loss": 1.0})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert caught.value.filename == str(tmp_path / "tensorboard")


@pytest.mark.parametrize("loss", [float("nan"), float("inf"), float("-inf")])
def test_a_loss_that_is_not_finite_ends_training(loss):
    callback = TerminateOnNaN()
    callback.set_model(compiled_model())
    callback.on_train_batch_end(0, {"loss": 1e30})
    with pytest.raises(GateError, match=f"the loss is {loss} at step 0; a lower peak_learning"):
        callback.on_train_batch_end(0, {"loss": loss})


def test_the_line_of_an_epoch_prefers_validation():
    logs = {"loss": 1.0, "masked_lm_accuracy": 0.1, "val_loss": 2.0, "val_masked_lm_accuracy": 0.25}
    line = epoch_line(0, 3, 1234.5, logs)
    assert line == ("epoch 1/3  1,234 examples/s  loss 1.0000  validation 2.0000  masked_lm 25.00%")
