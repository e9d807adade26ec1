"""One layer of a single-modality encoder, and one of the cross-modality encoder."""

import tensorflow as tf
from tensorflow import keras

from lxmert_tf.layers.attention import (
    CrossAttention,
    SelfAttention,
    keras_mask,
    shapes_of_sides,
    with_keras_mask,
)
from lxmert_tf.layers.dense import build_sublayer, dense
from lxmert_tf.layers.normalization import ResidualNorm
from lxmert_tf.layers.packing import as_given, as_rows


@keras.utils.register_keras_serializable("lxmert_tf")
class FeedForward(keras.layers.Layer):
    """Dense, activation, dense, residual connection and layer normalization, as in BERT.

    Args:
        intermediate_size: Width between the two dense layers.
        hidden_act: Activation; "gelu" is the erf form.
        dropout: Dropout rate after the second dense layer.
        epsilon: Epsilon of the layer normalization.
        initializer_range: Standard deviation of the initial kernels.

    Call arguments:
        hidden: [..., H].
        training: Whether dropout is on.

    Returns:
        [..., H].

    Example:
        import tensorflow as tf

        from lxmert_tf.layers.transformer import FeedForward

        hidden = FeedForward(intermediate_size=256)(tf.random.normal([2, 20, 64]))
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
        self.supports_masking = True
        self.intermediate_size = intermediate_size
        self.hidden_act = hidden_act
        self.dropout_rate = dropout
        self.epsilon = epsilon
        self.initializer_range = initializer_range

    def build(self, input_shape):
        size, policy, deviation = input_shape[-1], self.dtype_policy, self.initializer_range
        self.intermediate = dense(
            self.intermediate_size, deviation, self.hidden_act, dtype=policy, name="intermediate"
        )
        self.output_projection = dense(size, deviation, dtype=policy, name="output_projection")
        self.residual_norm = ResidualNorm(
            self.dropout_rate, self.epsilon, dtype=policy, name="residual_norm"
        )
        build_sublayer(self.intermediate, input_shape)
        build_sublayer(self.output_projection, [*input_shape[:-1], self.intermediate_size])
        build_sublayer(self.residual_norm, input_shape)
        super().build(input_shape)

    def call(self, hidden, training=None):
        expanded = self.intermediate(hidden)
        return self.residual_norm(self.output_projection(expanded), hidden, training=training)

    def compute_output_shape(self, input_shape):
        return tf.TensorShape(input_shape)

    def get_config(self):
        return {
            **super().get_config(),
            "intermediate_size": self.intermediate_size,
            "hidden_act": self.hidden_act,
            "dropout": self.dropout_rate,
            "epsilon": self.epsilon,
            "initializer_range": self.initializer_range,
        }


class _TransformerBlock(keras.layers.Layer):
    """The arguments that both kinds of Transformer layers share, and their sub-layers."""

    def __init__(
        self,
        num_heads: int,
        intermediate_size: int,
        hidden_act: str = "gelu",
        hidden_dropout: float = 0.1,
        attention_dropout: float = 0.1,
        epsilon: float = 1e-12,
        initializer_range: float = 0.02,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.supports_masking = True
        self.num_heads = num_heads
        self.intermediate_size = intermediate_size
        self.hidden_act = hidden_act
        self.hidden_dropout = hidden_dropout
        self.attention_dropout = attention_dropout
        self.epsilon = epsilon
        self.initializer_range = initializer_range

    def _attention(self, cls, name: str, pooled_only: bool = False):
        return cls(
            pooled_only=pooled_only,
            num_heads=self.num_heads,
            hidden_dropout=self.hidden_dropout,
            attention_dropout=self.attention_dropout,
            epsilon=self.epsilon,
            initializer_range=self.initializer_range,
            dtype=self.dtype_policy,
            name=name,
        )

    def _feed_forward(self, name: str) -> FeedForward:
        return FeedForward(
            intermediate_size=self.intermediate_size,
            hidden_act=self.hidden_act,
            dropout=self.hidden_dropout,
            epsilon=self.epsilon,
            initializer_range=self.initializer_range,
            dtype=self.dtype_policy,
            name=name,
        )

    def get_config(self):
        return {
            **super().get_config(),
            "num_heads": self.num_heads,
            "intermediate_size": self.intermediate_size,
            "hidden_act": self.hidden_act,
            "hidden_dropout": self.hidden_dropout,
            "attention_dropout": self.attention_dropout,
            "epsilon": self.epsilon,
            "initializer_range": self.initializer_range,
        }


@keras.utils.register_keras_serializable("lxmert_tf")
class TransformerLayer(_TransformerBlock):
    """Self-attention and feed-forward over one modality (post-norm, as in BERT).

    Args:
        num_heads: Attention heads; must divide H.
        intermediate_size: Width of the feed-forward block.
        hidden_act: Activation of the feed-forward block; "gelu" is the erf form.
        hidden_dropout: Dropout rate after attention and after the feed-forward block.
        attention_dropout: Dropout rate on the attention probabilities.
        epsilon: Epsilon of the layer normalizations.
        initializer_range: Standard deviation of the initial kernels.

    Call arguments:
        hidden: [B, L, H], or a `PackedSequence` of it.
        padding_mask: [B, L], 1 = token or region. If None, the Keras mask of `hidden`; without one,
            there is no padding.
        training: Whether dropout is on.
        output_attentions: Whether to return the attention probabilities, too.

    Returns:
        The same form as `hidden`; with `output_attentions` also the probabilities, float32
        [B, heads, L, L].

    Example:
        import tensorflow as tf

        from lxmert_tf.layers.transformer import TransformerLayer

        layer = TransformerLayer(num_heads=12, intermediate_size=3072)
        hidden = layer(tf.random.normal([2, 20, 768]), tf.ones([2, 20]))
    """

    def __init__(self, num_heads: int, intermediate_size: int, **kwargs):
        super().__init__(num_heads, intermediate_size, **kwargs)
        self.self_attention = self._attention(SelfAttention, "self_attention")
        self.feed_forward = self._feed_forward("feed_forward")

    def build(self, input_shape):
        build_sublayer(self.self_attention, input_shape)
        build_sublayer(self.feed_forward, input_shape)
        super().build(input_shape)

    def call(self, hidden, padding_mask=None, training=None, output_attentions=False, mask=None):
        padding_mask = mask if padding_mask is None else padding_mask
        attended = self.self_attention(
            as_rows(hidden), padding_mask, training=training, output_attentions=output_attentions
        )
        sequence, probabilities = attended if output_attentions else (attended, None)
        fed_forward = self.feed_forward(sequence.rows, training=training)
        output = as_given(sequence.with_rows(fed_forward), hidden)
        return (output, probabilities) if output_attentions else output

    def compute_output_shape(self, input_shape):
        return tf.TensorShape(input_shape)


@keras.utils.register_keras_serializable("lxmert_tf")
class CrossModalityLayer(_TransformerBlock):
    """Cross-attention both ways, then self-attention and feed-forward per side (paper section 2.2).

    Args:
        num_heads: Attention heads; must divide H.
        intermediate_size: Width of the feed-forward blocks.
        hidden_act: Activation of the feed-forward blocks; "gelu" is the erf form.
        hidden_dropout: Dropout rate after attention and after the feed-forward blocks.
        attention_dropout: Dropout rate on the attention probabilities.
        epsilon: Epsilon of the layer normalizations.
        initializer_range: Standard deviation of the initial kernels.
        pooled_only: Whether only the first token of the output is needed. The layer then leaves
            out everything else, and the weights that only its vision output depends on are not
            trainable: they are kept for checkpoints.

    Call arguments:
        language: [B, T, H], or a `PackedSequence` of it.
        vision: [B, R, H], or a `PackedSequence` of it.
        padding_mask: [B, T], 1 = token. If None, the Keras mask of `language`; without one, there
            is no padding.
        region_mask: [B, R], 1 = region. If None, the Keras mask of `vision`; without one, there is
            no padding.
        training: Whether dropout is on.
        output_attentions: Whether to return the cross-attention probabilities, too.

    Returns:
        The language and the vision side, in the forms of the inputs; with `pooled_only` the first
        token of the language side, [B, H]. With `output_attentions` also the probabilities of
        words over regions, float32 [B, heads, T, R], and of regions over words, float32
        [B, heads, R, T].

    Example:
        import tensorflow as tf

        from lxmert_tf.layers.transformer import CrossModalityLayer

        layer = CrossModalityLayer(num_heads=4, intermediate_size=256)
        words, regions = layer(tf.random.normal([2, 20, 64]), tf.random.normal([2, 36, 64]))
    """

    def __init__(self, num_heads: int, intermediate_size: int, pooled_only: bool = False, **kwargs):
        super().__init__(num_heads, intermediate_size, **kwargs)
        self.pooled_only = pooled_only
        # The vision side last: Keras lists frozen weights last, so the order is always the same.
        self.cross_attention = self._attention(CrossAttention, "cross_attention", pooled_only)
        self.language_self_attention = self._attention(
            SelfAttention, "language_self_attention", pooled_only
        )
        self.language_feed_forward = self._feed_forward("language_feed_forward")
        self.vision_self_attention = self._attention(SelfAttention, "vision_self_attention")
        self.vision_feed_forward = self._feed_forward("vision_feed_forward")

    def build(self, input_shape):
        for layer in self._sublayers():
            build_sublayer(layer, input_shape)
        super().build(input_shape)

    def _sublayers(self) -> tuple[keras.layers.Layer, ...]:
        return (
            self.cross_attention,
            self.language_self_attention,
            self.language_feed_forward,
            self.vision_self_attention,
            self.vision_feed_forward,
        )

    def call(
        self,
        language,
        vision,
        padding_mask=None,
        region_mask=None,
        training=None,
        output_attentions=False,
        mask=None,
    ):
        padding_mask = mask if padding_mask is None else padding_mask
        vision_mask = keras_mask(vision)
        region_mask = vision_mask if region_mask is None else region_mask
        crossed = self.cross_attention(
            as_rows(language),
            as_rows(vision),
            padding_mask,
            region_mask,
            training=training,
            output_attentions=output_attentions,
        )
        if self.pooled_only:
            words, *attentions = crossed if output_attentions else (crossed,)
            first = self.language_self_attention(words, padding_mask, training=training)
            first = self.language_feed_forward(first, training=training)
            return (first, *attentions) if output_attentions else first
        words, regions, *attentions = crossed
        words = self.language_self_attention(words, padding_mask, training=training)
        regions = self.vision_self_attention(regions, region_mask, training=training)
        word_rows = self.language_feed_forward(words.rows, training=training)
        region_rows = self.vision_feed_forward(regions.rows, training=training)
        return (
            as_given(words.with_rows(word_rows), language),
            with_keras_mask(as_given(regions.with_rows(region_rows), vision), vision_mask),
            *attentions,
        )

    @property
    def trainable_weights(self):
        """The trainable weights without those that nothing depends on."""
        unused = self._unused_weights()
        return [weight for weight in super().trainable_weights if id(weight) not in unused]

    @property
    def non_trainable_weights(self):
        """All weights that are not trained."""
        trainable = {id(weight) for weight in self.trainable_weights}
        weights = [*super().trainable_weights, *super().non_trainable_weights]
        return [weight for weight in weights if id(weight) not in trainable]

    def _unused_weights(self) -> set[int]:
        if not self.pooled_only:
            return set()
        vision_side = (self.vision_self_attention, self.vision_feed_forward)
        return {id(weight) for layer in vision_side for weight in layer.weights}

    def compute_mask(self, inputs, mask=None):
        """Return the mask of the language side, or None with `pooled_only`."""
        return None if self.pooled_only else mask

    def compute_output_shape(self, language_shape, vision_shape=None):
        """Return the shapes of both sides, or [B, H] with `pooled_only`.

        Args:
            language_shape: Shape of the language side, or a list of the shapes of both.
            vision_shape: Shape of the vision side.
        """
        language_shape, vision_shape = shapes_of_sides(language_shape, vision_shape)
        if self.pooled_only:
            return tf.TensorShape([language_shape[0], language_shape[-1]])
        return language_shape, vision_shape

    def get_config(self):
        return {**super().get_config(), "pooled_only": self.pooled_only}
