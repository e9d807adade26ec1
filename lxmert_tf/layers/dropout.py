"""Dropout that depends on a seed and a step, not on what was drawn before."""

import contextlib
import threading

import tensorflow as tf
from tensorflow import keras

# Per thread, because MirroredStrategy traces each replica in a thread of its own.
_current = threading.local()


@contextlib.contextmanager
def dropout_keys(seed: int, number):
    """Make dropout draw by key: the same seed, number and model drop the same values.

    A resumed run therefore drops what the uninterrupted one would have dropped. Outside of this
    context, dropout draws from TensorFlow's generator, as Keras's own does.

    Args:
        seed: Seed of the run.
        number: Integer scalar that differs between steps, replicas and parts of a batch.
    """
    outer = getattr(_current, "keys", None)
    _current.keys = _Keys(seed, tf.cast(number, tf.int64))
    try:
        yield
    finally:
        _current.keys = outer


class _Keys:
    """Gives each dropout layer in a model's call a key of its own, int64 [2]."""

    def __init__(self, seed: int, number: tf.Tensor):
        self._seed = seed
        self._number = number
        self._given = 0

    def next(self) -> tf.Tensor:
        self._given += 1
        # A model has fewer than 2^20 dropout layers; TensorFlow scrambles the pair.
        return tf.stack([tf.constant((self._seed << 20) + self._given, tf.int64), self._number])


@keras.utils.register_keras_serializable("lxmert_tf")
class SeededDropout(keras.layers.Layer):
    """Dropout that draws by key inside `dropout_keys`.

    Args:
        rate: Share of the values that become zero in training, in [0, 1).

    Call arguments:
        hidden: Any shape.

    Returns:
        The same shape; the values that are kept are scaled up by 1 / (1 - rate).
    """

    def __init__(self, rate: float, **kwargs):
        super().__init__(**kwargs)
        self.supports_masking = True
        self.rate = rate

    def call(self, hidden, training=None):
        if not training or not self.rate:
            return hidden
        return tf.nn.experimental.stateless_dropout(hidden, self.rate, _key(), rng_alg="philox")

    def compute_output_shape(self, input_shape):
        return tf.TensorShape(input_shape)

    def get_config(self):
        return {**super().get_config(), "rate": self.rate}


def _key() -> tf.Tensor:
    keys = getattr(_current, "keys", None)
    if keys is not None:
        return keys.next()
    return tf.random.uniform([2], maxval=tf.int64.max, dtype=tf.int64)
