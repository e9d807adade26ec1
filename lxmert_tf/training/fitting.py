"""Keras `fit` from any step on, over data that is another order each epoch."""

from collections.abc import Callable, Sequence

import tensorflow as tf
from tensorflow import keras


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
