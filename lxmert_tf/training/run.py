"""A training run from its first or its last saved step to its end, whatever is trained."""

import contextlib
import dataclasses
import tempfile
from collections.abc import Callable, Sequence

import tensorflow as tf
from rich.console import Console
from tensorflow import keras

from lxmert_tf.training.best_epoch import BestEpoch
from lxmert_tf.training.checkpointing import SaveCheckpoints, TrainingCheckpoints
from lxmert_tf.training.config import TrainingConfig
from lxmert_tf.training.finite_loss import StopAtInfiniteLoss
from lxmert_tf.training.fitting import fit_steps
from lxmert_tf.training.progress import TrainingProgress
from lxmert_tf.training.run_directory import RunDirectory
from lxmert_tf.training.strategy import is_chief, telling_lost_workers
from lxmert_tf.training.training_log import TrainingLog


@dataclasses.dataclass(frozen=True)
class Data:
    """What a run reads.

    Args:
        batches_of: gives the training batches of an epoch, an integer scalar tensor.
        steps_per_epoch: how many that are.
        validation: batches to evaluate on after each epoch, or None.
    """

    batches_of: Callable[[tf.Tensor], tf.data.Dataset]
    steps_per_epoch: int
    validation: tf.data.Dataset | None = None


@dataclasses.dataclass(frozen=True)
class Stage:
    """Some epochs that train with the same losses.

    Args:
        epochs: how many.
        compile: compiles the model for them.
    """

    epochs: int
    compile: Callable[[], None]


def run_training(
    model: keras.Model,
    optimizer,
    schedule: Callable[[tf.Tensor], tf.Tensor],
    stages: Sequence[Stage],
    data: Data,
    config: TrainingConfig,
    directory: RunDirectory | None = None,
    log_directory=None,
) -> None:
    """Trains `model` in place.

    Args:
        model: made in the scope of the strategy. Of several workers the chief alone writes.
        optimizer: the one that every stage compiles with.
        schedule: gives the learning rate of a step.
        stages: one after the other.
        data: what is read.
        config: how often checkpoints are saved, and the like.
        directory: for checkpoints; a run that is there is gone on with. None saves none.
        log_directory: for TensorBoard and log.jsonl; None writes none.

    Raises:
        GateError: the loss became NaN or infinite.
        InputError: a checkpoint cannot be written, none can be read, or another worker ended.
    """
    steps, epochs = data.steps_per_epoch, sum(stage.epochs for stage in stages)
    with contextlib.ExitStack() as stack:
        checkpoints, first_step = None, 0
        if directory:
            checkpoints = TrainingCheckpoints(
                directory.checkpoints, model, optimizer, config.checkpoints
            )
            first_step = _restore(checkpoints, steps)
        # In the order in which they see the end of a step and of an epoch: what is saved last is
        # the checkpoint, since a resumed run repeats nothing that is before it.
        callbacks: list[keras.callbacks.Callback] = [StopAtInfiniteLoss()]
        chief, best = is_chief(model.distribute_strategy), None
        if chief and config.best_by:
            best = _best_epoch(model, config.best_by, checkpoints, first_step, stack)
            callbacks.append(best)
        if chief and log_directory:
            callbacks.append(TrainingLog(log_directory, schedule, first_step))
        if chief and checkpoints:
            callbacks.append(SaveCheckpoints(checkpoints, config.checkpoint_steps, steps))
        if chief:
            callbacks.append(TrainingProgress(steps * epochs, epochs, config.batch_size))
        with telling_lost_workers():
            _fit(model, stages, data, first_step, callbacks)
        if best:
            best.load()


def _best_epoch(model, metric: str, checkpoints, first_step: int, stack) -> BestEpoch:
    if checkpoints is None:
        return BestEpoch(stack.enter_context(tempfile.TemporaryDirectory()), metric, model)
    return BestEpoch(
        checkpoints.directory,
        metric,
        model,
        first_step,
        lambda: min(checkpoints.saved_steps(), default=0),
    )


def _fit(model, stages: Sequence[Stage], data: Data, first_step: int, callbacks) -> None:
    steps = data.steps_per_epoch
    begin = 0
    for stage in stages:
        end = begin + stage.epochs
        if first_step < end * steps:
            stage.compile()
            first = max(first_step, begin * steps)
            fit_steps(model, data.batches_of, steps, first, end, data.validation, callbacks)
        begin = end


def _restore(checkpoints: TrainingCheckpoints, steps_per_epoch: int) -> int:
    step, damaged = checkpoints.restore()
    console = Console(stderr=True, highlight=False)
    for path in damaged:
        console.print(f"{path}: cannot be read; the one before it is taken", soft_wrap=True)
    if step:
        epoch, done = divmod(step, steps_per_epoch)
        console.print(f"goes on at step {step} (epoch {epoch + 1}, {done} of {steps_per_epoch})")
    return step
