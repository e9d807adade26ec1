"""Dropout without a state: what a step drops depends on the step, not on what was drawn before."""

import contextlib
import threading

import tensorflow as tf
from tensorflow import keras

# By thread, because MirroredStrategy traces each replica in one of its own.
_current = threading.local()


@contextlib.contextmanager
def dropout_keys(seed: int, number):
    """Within it, dropout draws by key: the same seed, number and model drop the same.

    So a resumed run drops what the uninterrupted one would have dropped. Outside of it, dropout
    draws from TensorFlow's own generator, as Keras' does.

    Args:
        seed: of the run.
        number: an integer scalar that is another one for each step, replica and part of a batch.
    """
    outer = getattr(_current, "keys", None)
    _current.keys = _Keys(seed, tf.cast(number, tf.int64))
    try:
        yield
    finally:
        _current.keys = outer


class _Keys:
    """Hands out keys, int64 [2], another one to each call of a dropout layer in a model's call."""

    def __init__(self, seed: int, number: tf.Tensor):
        self._seed = seed
        self._number = number
        self._given = 0

    def next(self) -> tf.Tensor:
        self._given += 1
        # A model has less than 2^20 dropout layers; TensorFlow scrambles the pair.
        return tf.stack([tf.constant((self._seed << 20) + self._given, tf.int64), self._number])


@keras.utils.register_keras_serializable("lxmert_tf")
class Dropout(keras.layers.Layer):
    """Sets a share of the values to zero in training and scales the others up.

    Args:
        rate: the share, in [0, 1).

    Call arguments:
        hidden: any shape. Returns the same shape.
    """

    def __init__(self, rate: float, **kwargs):
        super().__init__(**kwargs)
        self.rate = rate

    def call(self, hidden, training=None):
        if not training or not self.rate:
            return hidden
        return tf.nn.experimental.stateless_dropout(hidden, self.rate, _key(), rng_alg="philox")

    def get_config(self):
        return {**super().get_config(), "rate": self.rate}


def _key() -> tf.Tensor:
    keys = getattr(_current, "keys", None)
    if keys is not None:
        return keys.next()
    return tf.random.uniform([2], maxval=tf.int64.max, dtype=tf.int64)
