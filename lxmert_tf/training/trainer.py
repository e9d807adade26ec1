"""A training run from its first or its last saved step to its end, whatever is trained."""

import contextlib
import dataclasses
import tempfile
from collections.abc import Callable, Sequence

import tensorflow as tf
from rich.console import Console
from tensorflow import keras

from lxmert_tf.data.batches import example_batches, read_records
from lxmert_tf.models.presets import PresetModel
from lxmert_tf.models.text_preprocessor import LxmertTextPreprocessor
from lxmert_tf.training.callbacks import (
    BestEpoch,
    TerminateOnNaN,
    TrainingLog,
    TrainingProgress,
)
from lxmert_tf.training.checkpointing import SaveCheckpoints, TrainingCheckpoints
from lxmert_tf.training.config import TrainingConfig
from lxmert_tf.training.run_directory import RunDirectory
from lxmert_tf.training.strategy import is_chief, telling_lost_workers


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
        callbacks: list[keras.callbacks.Callback] = [TerminateOnNaN()]
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


def fit_steps(
    model: keras.Model,
    batches_of: Callable[[tf.Tensor], tf.data.Dataset],
    steps_per_epoch: int,
    first_step: int,
    last_epoch: int,
    validation: tf.data.Dataset | None = None,
    callbacks: Sequence[keras.callbacks.Callback] = (),
) -> None:
    """Trains a compiled model; a step sees the same batch whichever step training starts from.

    Args:
        model: compiled.
        batches_of: gives the batches of an epoch, whose number is an integer scalar tensor.
        steps_per_epoch: how many batches that are.
        first_step: of this training, counted from the start of epoch 0.
        last_epoch: trains until this one begins.
        validation: batches to evaluate on after each epoch.
        callbacks: Keras'.
    """
    if validation is not None:
        validation = _split_by_batches(validation)
    epoch, done = divmod(first_step, steps_per_epoch)
    fit = {"validation_data": validation, "callbacks": list(callbacks), "verbose": 0}
    if done:
        rest = _split_by_batches(batches_of(tf.constant(epoch, tf.int64)).skip(done))
        steps = steps_per_epoch - done
        model.fit(rest, steps_per_epoch=steps, initial_epoch=epoch, epochs=epoch + 1, **fit)
        epoch += 1
    if epoch < last_epoch:
        # One data set for all epochs: it is traced once.
        stream = tf.data.Dataset.range(epoch, last_epoch).flat_map(batches_of)
        stream = _split_by_batches(stream)
        model.fit(
            stream, steps_per_epoch=steps_per_epoch, initial_epoch=epoch, epochs=last_epoch, **fit
        )


def _split_by_batches(dataset: tf.data.Dataset) -> tf.data.Dataset:
    """Gives each worker of a multi-worker strategy its part of every batch.

    Left to itself TensorFlow would give one worker all of the first epoch and another all of the
    second.
    """
    options = tf.data.Options()
    options.experimental_distribute.auto_shard_policy = tf.data.experimental.AutoShardPolicy.DATA
    return dataset.with_options(options)


def pair_data(
    model: PresetModel,
    config: TrainingConfig,
    train_files: Sequence[str],
    validation_files: Sequence[str],
    steps: int,
    to_batches: Callable[[tf.data.Dataset, LxmertTextPreprocessor, tf.Tensor], tf.data.Dataset],
) -> Data:
    """The batches of every epoch, in an order of its own, and those to evaluate on.

    Args:
        model: with its vocabulary.
        config: sizes of batches and sentences, and the seed.
        train_files, validation_files: TFRecords of scenes; the latter may be none.
        steps: batches per epoch.
        to_batches: makes a task's batches of the examples (`example_batches`) of an epoch, whose
            number it is given; of the validation files always of epoch 0, so that epochs can be
            compared.
    """
    preprocessor = LxmertTextPreprocessor(model.vocabulary, config.max_length, pad_to_longest=True)

    def batches(files, seed, epoch):
        pairs = example_batches(
            read_records(files),
            config.batch_size,
            config.max_regions,
            seed,
            epoch,
            images_per_scene=model.images_per_scene,
            bucket_by_length=config.bucket_by_length,
        )
        return to_batches(pairs, preprocessor, epoch)

    return Data(
        lambda epoch: batches(train_files, config.seed, epoch),
        steps,
        batches(validation_files, None, 0) if validation_files else None,
    )
