"""LayerNorm in float32, alone and after a residual connection."""

import tensorflow as tf
from tensorflow import keras

from lxmert_tf.layers.dropout import Dropout
from lxmert_tf.layers.own_gradient import with_own_gradient


@keras.utils.register_keras_serializable("lxmert_tf")
class Float32LayerNorm(keras.layers.Layer):
    """LayerNorm over the last axis, computed in float32 whatever the policy.

    Args:
        epsilon: added to the variance; 1e-12 as published.

    Call arguments:
        hidden: [..., H]. Returns the same shape in the layer's compute dtype.
    """

    def __init__(self, epsilon: float = 1e-12, **kwargs):
        super().__init__(**kwargs)
        self.epsilon = epsilon
        # Not by autocast: the statistics and the result are float32, and only the result is cast.
        self.float32 = _LayerNorm(epsilon, dtype="float32", name="float32")

    def call(self, hidden):
        return tf.cast(self.float32(tf.cast(hidden, tf.float32)), self.compute_dtype)

    def get_config(self):
        return {**super().get_config(), "epsilon": self.epsilon}


class _LayerNorm(keras.layers.Layer):
    """(x - mean) / sqrt(variance + epsilon) * gamma + beta over the last axis."""

    def __init__(self, epsilon: float, **kwargs):
        super().__init__(**kwargs)
        self.epsilon = epsilon

    def build(self, input_shape):
        self.gamma = self.add_weight(name="gamma", shape=input_shape[-1:], initializer="ones")
        self.beta = self.add_weight(name="beta", shape=input_shape[-1:], initializer="zeros")
        super().build(input_shape)

    def call(self, hidden):
        return _normalized(hidden, self.epsilon) * self.gamma + self.beta


def _normalized(hidden, epsilon: float):
    """The rows with mean 0 and variance 1, with a gradient of fewer passes than TensorFlow's."""

    def normalize(hidden):
        centred = hidden - tf.reduce_mean(hidden, axis=-1, keepdims=True)
        variance = tf.reduce_mean(tf.square(centred), axis=-1, keepdims=True)
        scale = tf.math.rsqrt(variance + epsilon)
        normal = centred * scale

        def gradient(upstream):
            # What would change the mean or the variance has no effect.
            mean = tf.reduce_mean(upstream, axis=-1, keepdims=True)
            slope = tf.reduce_mean(upstream * normal, axis=-1, keepdims=True)
            return scale * (upstream - mean - normal * slope)

        return normal, gradient

    return with_own_gradient(normalize, hidden)


@keras.utils.register_keras_serializable("lxmert_tf")
class ResidualNorm(keras.layers.Layer):
    """LayerNorm(dropout(hidden) + residual): how every block of a post-norm Transformer ends.

    Args:
        dropout: rate.
        epsilon: of the LayerNorm.

    Call arguments:
        hidden, residual: [..., H]. Returns [..., H].
    """

    def __init__(self, dropout: float = 0.1, epsilon: float = 1e-12, **kwargs):
        super().__init__(**kwargs)
        self.dropout_rate = dropout
        self.epsilon = epsilon
        self.dropout = Dropout(dropout, dtype=self.dtype_policy, name="dropout")
        self.norm = Float32LayerNorm(epsilon, dtype=self.dtype_policy, name="norm")

    def call(self, hidden, residual, training=None):
        return self.norm(self.dropout(hidden, training=training) + residual)

    def get_config(self):
        return {**super().get_config(), "dropout": self.dropout_rate, "epsilon": self.epsilon}
