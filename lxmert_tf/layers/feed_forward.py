"""The feed-forward block of a Transformer layer."""

from tensorflow import keras

from lxmert_tf.layers.activation import activation
from lxmert_tf.layers.normalization import ResidualNorm


@keras.utils.register_keras_serializable("lxmert_tf")
class FeedForward(keras.layers.Layer):
    """Dense, activation, dense, residual connection and LayerNorm, as in BERT.

    Args:
        intermediate_size: width between the two products.
        hidden_act: activation; "gelu" is the erf form.
        dropout: rate after the second product.
        epsilon: of the LayerNorm.
        initializer_range: standard deviation of the kernels.

    Call arguments:
        hidden: [..., H]. Returns [..., H].
    """

    def __init__(
        self,
        intermediate_size: int,
        hidden_act: str = "gelu",
        dropout: float = 0.1,
        epsilon: float = 1e-12,
        initializer_range: float = 0.02,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.intermediate_size = intermediate_size
        self.hidden_act = hidden_act
        self.dropout_rate = dropout
        self.epsilon = epsilon
        self.initializer_range = initializer_range

    def build(self, input_shape):
        normal = keras.initializers.RandomNormal
        self.intermediate = keras.layers.Dense(
            self.intermediate_size,
            activation=activation(self.hidden_act),
            kernel_initializer=normal(stddev=self.initializer_range),
            dtype=self.dtype_policy,
            name="intermediate",
        )
        self.output_projection = keras.layers.Dense(
            int(input_shape[-1]),
            kernel_initializer=normal(stddev=self.initializer_range),
            dtype=self.dtype_policy,
            name="output_projection",
        )
        self.residual_norm = ResidualNorm(
            self.dropout_rate, self.epsilon, dtype=self.dtype_policy, name="residual_norm"
        )
        super().build(input_shape)

    def call(self, hidden, training=None):
        expanded = self.intermediate(hidden)
        return self.residual_norm(self.output_projection(expanded), hidden, training=training)

    def get_config(self):
        return {
            **super().get_config(),
            "intermediate_size": self.intermediate_size,
            "hidden_act": self.hidden_act,
            "dropout": self.dropout_rate,
            "epsilon": self.epsilon,
            "initializer_range": self.initializer_range,
        }
