"""LayerNorm in float32, alone and after a residual connection."""

import tensorflow as tf
from tensorflow import keras

from lxmert_tf.layers.dropout import Dropout


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
        self.float32 = keras.layers.LayerNormalization(
            epsilon=epsilon, dtype="float32", name="float32"
        )

    def call(self, hidden):
        return tf.cast(self.float32(tf.cast(hidden, tf.float32)), self.compute_dtype)

    def get_config(self):
        return {**super().get_config(), "epsilon": self.epsilon}


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
