"""Layer normalization in float32, alone and after a residual connection."""

import tensorflow as tf
from tensorflow import keras

from lxmert_tf.layers.dense import build_sublayer
from lxmert_tf.layers.dropout import SeededDropout


@keras.utils.register_keras_serializable("lxmert_tf")
class LayerNorm(keras.layers.Layer):
    """Layer normalization over the last axis, computed in float32 under every dtype policy.

    Unlike `keras.layers.LayerNormalization` it takes inputs of any rank after it is built, such as
    padded batches [B, L, H] and packed rows [N, H].

    Args:
        epsilon: Added to the variance; 1e-12 as published.

    Call arguments:
        hidden: [..., H].

    Returns:
        The same shape, in the layer's compute dtype.
    """

    def __init__(self, epsilon: float = 1e-12, **kwargs):
        super().__init__(**kwargs)
        self.supports_masking = True
        self.epsilon = epsilon

    def build(self, input_shape):
        # Float32 under every policy, also bfloat16, and not cast to the compute dtype.
        size = {
            "shape": input_shape[-1:],
            "dtype": tf.float32,
            "experimental_autocast": False,
        }
        self.gamma = self.add_weight(name="gamma", initializer="ones", **size)
        self.beta = self.add_weight(name="beta", initializer="zeros", **size)
        super().build(input_shape)

    def call(self, hidden):
        hidden = tf.cast(hidden, tf.float32)
        centered = hidden - tf.reduce_mean(hidden, axis=-1, keepdims=True)
        variance = tf.reduce_mean(tf.square(centered), axis=-1, keepdims=True)
        normal = centered * tf.math.rsqrt(variance + self.epsilon)
        return tf.cast(normal * self.gamma + self.beta, self.compute_dtype)

    def compute_output_shape(self, input_shape):
        return tf.TensorShape(input_shape)

    def get_config(self):
        return {**super().get_config(), "epsilon": self.epsilon}


@keras.utils.register_keras_serializable("lxmert_tf")
class ResidualNorm(keras.layers.Layer):
    """LayerNorm(dropout(hidden) + residual), the end of every post-norm Transformer block.

    Args:
        dropout: Dropout rate.
        epsilon: Epsilon of the layer normalization.

    Call arguments:
        hidden: [..., H].
        residual: [..., H].

    Returns:
        [..., H].
    """

    def __init__(self, dropout: float = 0.1, epsilon: float = 1e-12, **kwargs):
        super().__init__(**kwargs)
        self.supports_masking = True
        self.dropout_rate = dropout
        self.epsilon = epsilon
        self.dropout = SeededDropout(dropout, dtype=self.dtype_policy, name="dropout")
        self.norm = LayerNorm(epsilon, dtype=self.dtype_policy, name="norm")

    def build(self, input_shape):
        build_sublayer(self.norm, input_shape)
        super().build(input_shape)

    def call(self, hidden, residual, training=None):
        # Keras casts the first argument alone to the compute dtype.
        residual = tf.cast(residual, hidden.dtype)
        return self.norm(self.dropout(hidden, training=training) + residual)

    def compute_output_shape(self, input_shape):
        return tf.TensorShape(input_shape)

    def get_config(self):
        return {**super().get_config(), "dropout": self.dropout_rate, "epsilon": self.epsilon}
