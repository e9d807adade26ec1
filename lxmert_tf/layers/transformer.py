"""The feed-forward block of a Transformer layer."""

from tensorflow import keras

from lxmert_tf.layers.activation import activation
from lxmert_tf.layers.attention import CrossAttention, SelfAttention
from lxmert_tf.layers.normalization import ResidualNorm
from lxmert_tf.layers.packing import Positions
from lxmert_tf.models.config import LxmertConfig


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


class ConfiguredLayer(keras.layers.Layer):
    """A layer whose sizes come from an `LxmertConfig`, given as such or as a dict of its fields."""

    def __init__(self, config: LxmertConfig | dict, **kwargs):
        super().__init__(**kwargs)
        self.config = LxmertConfig(**config) if isinstance(config, dict) else config

    def get_config(self):
        return {**super().get_config(), "config": self.config.to_dict()}

    def _attention(self, cls, name: str):
        return cls(
            num_heads=self.config.num_attention_heads,
            hidden_dropout=self.config.hidden_dropout,
            attention_dropout=self.config.attention_dropout,
            epsilon=self.config.layer_norm_eps,
            initializer_range=self.config.initializer_range,
            dtype=self.dtype_policy,
            name=name,
        )

    def _stack(self, cls, count: int):
        return [cls(self.config, dtype=self.dtype_policy, name=f"layer_{i}") for i in range(count)]

    def _feed_forward(self, name: str):
        return FeedForward(
            intermediate_size=self.config.intermediate_size,
            hidden_act=self.config.hidden_act,
            dropout=self.config.hidden_dropout,
            epsilon=self.config.layer_norm_eps,
            initializer_range=self.config.initializer_range,
            dtype=self.dtype_policy,
            name=name,
        )


@keras.utils.register_keras_serializable("lxmert_tf")
class TransformerLayer(ConfiguredLayer):
    """Self-attention and feed-forward over one modality (post-norm, as in BERT).

    Args:
        config: sizes and rates.

    Call arguments:
        hidden: rows [N, H] of `positions`.
        positions: which rows of the batch there are.
        output_attentions: whether to give the attention probabilities.
        Returns rows [N, H] and the probabilities [B, heads, L, L] or None.
    """

    def __init__(self, config, **kwargs):
        super().__init__(config, **kwargs)
        self.self_attention = self._attention(SelfAttention, "self_attention")
        self.feed_forward = self._feed_forward("feed_forward")

    def call(self, hidden, positions: Positions, training=None, output_attentions=False):
        hidden, probabilities = self.self_attention(
            hidden, positions, training=training, output_attentions=output_attentions
        )
        return self.feed_forward(hidden, training=training), probabilities


@keras.utils.register_keras_serializable("lxmert_tf")
class CrossModalityLayer(ConfiguredLayer):
    """Cross-attention both ways, then self-attention and feed-forward per side (paper section 3.1).

    Args:
        config: sizes and rates.

    Call arguments:
        language, vision: rows [N, H] of `language_positions`, [M, H] of `vision_positions`.
        output_attentions: whether to give the cross-attention probabilities.
        first_word_only: whether to compute just each sentence's first word.
        Returns language, vision, and the probabilities of words over regions [B, heads, T, R]
        and of regions over words [B, heads, R, T], or None for each; with `first_word_only`
        language is [B, H] and the others are None.
    """

    def __init__(self, config, **kwargs):
        super().__init__(config, **kwargs)
        self.cross_attention = self._attention(CrossAttention, "cross_attention")
        self.language_self_attention = self._attention(SelfAttention, "language_self_attention")
        self.vision_self_attention = self._attention(SelfAttention, "vision_self_attention")
        self.language_feed_forward = self._feed_forward("language_feed_forward")
        self.vision_feed_forward = self._feed_forward("vision_feed_forward")

    def freeze_vision_side(self) -> None:
        """Takes what only the vision output depends on out of the trainable weights."""
        self.vision_self_attention.trainable = False
        self.vision_feed_forward.trainable = False

    def call(
        self,
        language,
        vision,
        language_positions: Positions,
        vision_positions: Positions,
        training=None,
        output_attentions=False,
        first_word_only=False,
    ):
        language, vision, to_vision, to_language = self.cross_attention(
            language,
            vision,
            language_positions,
            vision_positions,
            training=training,
            output_attentions=output_attentions,
            language_only=first_word_only,
        )
        language, _ = self.language_self_attention(
            language, language_positions, training=training, first_only=first_word_only
        )
        language = self.language_feed_forward(language, training=training)
        if first_word_only:
            return language, None, None, None
        vision, _ = self.vision_self_attention(vision, vision_positions, training=training)
        vision = self.vision_feed_forward(vision, training=training)
        return language, vision, to_vision, to_language
