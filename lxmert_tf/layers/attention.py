"""Multi-head attention with one product for queries, keys and values."""

import math

import tensorflow as tf
from tensorflow import keras

from lxmert_tf.layers.dense import build_sublayer, dense
from lxmert_tf.layers.dropout import SeededDropout
from lxmert_tf.layers.normalization import ResidualNorm
from lxmert_tf.layers.packing import PackedSequence, as_given, as_rows

# Added to the attention scores of padding (BERT's constant): in float32, exp(-10000) is exactly
# zero beside any real score.
MASKED_SCORE = -10000.0


def attention_bias(mask) -> tf.Tensor:
    """Return what is added to attention scores, float32 [B, 1, 1, K], for a mask [B, K]."""
    return (1.0 - tf.cast(mask, tf.float32))[:, tf.newaxis, tf.newaxis, :] * MASKED_SCORE


def keras_mask(hidden):
    """Return the mask that Keras has attached to a batch, bool [B, L], or None.

    Keras hands a layer the mask of its first argument; this reads that of another one.
    """
    return getattr(hidden, "_keras_mask", None)


def with_keras_mask(hidden, mask):
    """Attach a mask to an output, as Keras does to the first one; None attaches nothing."""
    if mask is not None:
        hidden._keras_mask = mask
    return hidden


def shapes_of_sides(language_shape, vision_shape=None) -> tuple[tf.TensorShape, tf.TensorShape]:
    """Return the shapes of both sides, given as two arguments or as one list of two."""
    if vision_shape is None:
        language_shape, vision_shape = language_shape
    return tf.TensorShape(language_shape), tf.TensorShape(vision_shape)


class _Attention(keras.layers.Layer):
    """The parts of an attention block with a residual connection and layer normalization.

    Args:
        num_heads: Attention heads; must divide H.
        hidden_dropout: Dropout rate after the output projection.
        attention_dropout: Dropout rate on the attention probabilities.
        epsilon: Epsilon of the layer normalization.
        initializer_range: Standard deviation of the initial kernels.
        pooled_only: Whether to compute only what the pooled token needs.
    """

    def __init__(
        self,
        num_heads: int,
        hidden_dropout: float = 0.1,
        attention_dropout: float = 0.1,
        epsilon: float = 1e-12,
        initializer_range: float = 0.02,
        pooled_only: bool = False,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.supports_masking = True
        self.num_heads = num_heads
        self.hidden_dropout = hidden_dropout
        self.attention_dropout = attention_dropout
        self.epsilon = epsilon
        self.initializer_range = initializer_range
        self.pooled_only = pooled_only

    def build(self, input_shape):
        size = int(input_shape[-1])
        if size % self.num_heads:
            raise ValueError(f"the width {size} is not a multiple of num_heads {self.num_heads}")
        self.head_size = size // self.num_heads
        policy, deviation = self.dtype_policy, self.initializer_range
        self.query_key_value = dense(3 * size, deviation, dtype=policy, name="query_key_value")
        self.output_projection = dense(size, deviation, dtype=policy, name="output_projection")
        self.dropout = SeededDropout(self.attention_dropout, dtype=policy, name="dropout")
        self.residual_norm = ResidualNorm(
            self.hidden_dropout, self.epsilon, dtype=policy, name="residual_norm"
        )
        for layer in (self.query_key_value, self.output_projection, self.residual_norm):
            build_sublayer(layer, input_shape)
        super().build(input_shape)

    def _heads(self, sequence: PackedSequence, projected, parts: int) -> list[tf.Tensor]:
        """Cut rows [N, parts * H] of a sequence into `parts` tensors [B, heads, L, H / heads]."""
        fused = sequence.packing.unpack(projected, parts, self.num_heads, self.head_size)
        return tf.unstack(tf.transpose(fused, [2, 0, 3, 1, 4]), num=parts)

    def _project_apart(self, query_rows, key_value_rows) -> list[tf.Tensor]:
        """Return the queries of some rows, [N, H], and keys and values of others, [M, 2H]."""
        size = query_rows.shape[-1]
        kernels = tf.split(self.query_key_value.kernel, [size, 2 * size], axis=1)
        biases = tf.split(self.query_key_value.bias, [size, 2 * size])
        sides = zip((query_rows, key_value_rows), kernels, biases)
        return [tf.nn.bias_add(tf.matmul(rows, kernel), bias) for rows, kernel, bias in sides]

    def _attend(self, query, key, value, mask, training, output_attentions=False):
        """Compute softmax(query key^T / sqrt(d) + bias) value.

        Args:
            query: [B, heads, Q, d].
            key: [B, heads, K, d].
            value: [B, heads, K, d].
            mask: [B, K], 1 = token or region; None for no padding.
            training: Whether dropout is on.
            output_attentions: Whether to return the probabilities, which then stay in memory.

        Returns:
            The context [B, Q, heads, d], and the probabilities [B, heads, Q, K] in float32 or
            None.
        """
        query = query * tf.cast(1.0 / math.sqrt(self.head_size), query.dtype)
        scores = tf.cast(tf.matmul(query, key, transpose_b=True), tf.float32)
        if mask is not None:
            scores += attention_bias(mask)
        probabilities = tf.nn.softmax(scores, axis=-1)
        dropped = self.dropout(tf.cast(probabilities, value.dtype), training=training)
        context = tf.transpose(tf.matmul(dropped, value), [0, 2, 1, 3])
        return context, probabilities if output_attentions else None

    def _finish(self, context, residual, training):
        """Apply output projection, dropout, residual connection and layer normalization."""
        return self.residual_norm(self.output_projection(context), residual, training=training)

    def get_config(self):
        return {
            **super().get_config(),
            "num_heads": self.num_heads,
            "hidden_dropout": self.hidden_dropout,
            "attention_dropout": self.attention_dropout,
            "epsilon": self.epsilon,
            "initializer_range": self.initializer_range,
            "pooled_only": self.pooled_only,
        }


@keras.utils.register_keras_serializable("lxmert_tf")
class SelfAttention(_Attention):
    """Multi-head self-attention, residual connection and layer normalization, as in BERT.

    Args:
        num_heads: Attention heads; must divide H.
        hidden_dropout: Dropout rate after the output projection.
        attention_dropout: Dropout rate on the attention probabilities.
        epsilon: Epsilon of the layer normalization.
        initializer_range: Standard deviation of the initial kernels.
        pooled_only: Whether to compute only the first position of each example.

    Call arguments:
        hidden: [B, L, H], or a `PackedSequence` of it.
        padding_mask: [B, L], 1 = token or region. If None, the Keras mask of `hidden`; without one,
            there is no padding.
        training: Whether dropout is on.
        output_attentions: Whether to return the probabilities, too.

    Returns:
        The same form as `hidden`, or [B, H] with `pooled_only`; with `output_attentions` also the
        probabilities, float32 [B, heads, L, L], or [B, heads, 1, L] with `pooled_only`.

    Example:
        import tensorflow as tf

        from lxmert_tf.layers.attention import SelfAttention

        layer = SelfAttention(num_heads=4)
        hidden = layer(tf.random.normal([2, 20, 64]), tf.ones([2, 20]))
    """

    def call(
        self,
        hidden,
        padding_mask=None,
        training=None,
        output_attentions=False,
        mask=None,
    ):
        padding_mask = mask if padding_mask is None else padding_mask
        sequence = as_rows(hidden)
        if self.pooled_only:
            return self._first_token(sequence, padding_mask, training, output_attentions)
        rows = sequence.rows
        query, key, value = self._heads(sequence, self.query_key_value(rows), 3)
        context, probabilities = self._attend(
            query, key, value, padding_mask, training, output_attentions
        )
        finished = self._finish(sequence.packing.pack(context), rows, training)
        output = as_given(sequence.with_rows(finished), hidden)
        return (output, probabilities) if output_attentions else output

    def _first_token(self, sequence, padding_mask, training, output_attentions):
        first = sequence.first()
        query, key_value = self._project_apart(first, sequence.rows)
        query = tf.reshape(query, [-1, self.num_heads, 1, self.head_size])
        key, value = self._heads(sequence, key_value, 2)
        context, probabilities = self._attend(
            query, key, value, padding_mask, training, output_attentions
        )
        output = self._finish(tf.reshape(context, [-1, first.shape[-1]]), first, training)
        return (output, probabilities) if output_attentions else output

    def compute_mask(self, inputs, mask=None):
        """Return the mask of the output: that of the input, or None with `pooled_only`."""
        return None if self.pooled_only else mask

    def compute_output_shape(self, input_shape):
        """Return the shape of the input, or [B, H] with `pooled_only`."""
        if self.pooled_only:
            return tf.TensorShape([input_shape[0], input_shape[-1]])
        return tf.TensorShape(input_shape)


@keras.utils.register_keras_serializable("lxmert_tf")
class CrossAttention(_Attention):
    """Attention from words to regions and from regions to words with one set of weights.

    The cross-attention sub-layer of the paper, section 2.2. The release shares the weights between
    the directions, so both sides go through one projection as one longer sequence.

    Args:
        num_heads: Attention heads; must divide H.
        hidden_dropout: Dropout rate after the output projection.
        attention_dropout: Dropout rate on the attention probabilities.
        epsilon: Epsilon of the layer normalization.
        initializer_range: Standard deviation of the initial kernels.
        pooled_only: Whether to return only the language side.

    Call arguments:
        language: [B, T, H], or a `PackedSequence` of it.
        vision: [B, R, H], or a `PackedSequence` of it.
        padding_mask: [B, T], 1 = token. If None, the Keras mask of `language`; without one, there
            is no padding.
        region_mask: [B, R], 1 = region. If None, the Keras mask of `vision`; without one, there is
            no padding.
        training: Whether dropout is on.
        output_attentions: Whether to return the probabilities, too.

    Returns:
        The language and the vision side, each attending to the other's input; only the language
        side with `pooled_only`. With `output_attentions` also the probabilities of words over
        regions, float32 [B, heads, T, R], and of regions over words, float32 [B, heads, R, T].

    Example:
        import tensorflow as tf

        from lxmert_tf.layers.attention import CrossAttention

        layer = CrossAttention(num_heads=4)
        words, regions = layer(tf.random.normal([2, 20, 64]), tf.random.normal([2, 36, 64]))
    """

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
        words, regions = as_rows(language), as_rows(vision)
        # Keras casts the first argument alone to the compute dtype.
        regions = regions.with_rows(tf.cast(regions.rows, self.compute_dtype))
        if self.pooled_only and not output_attentions:
            attended = self._language_side(words, regions, region_mask, training)
            return as_given(attended, language)
        # Both sides in one product. Split, not sliced: the gradient of a slice is a zero-filled
        # copy of the whole.
        counts = [tf.shape(words.rows)[0], tf.shape(regions.rows)[0]]
        both = tf.concat([words.rows, regions.rows], axis=0)
        word_projections, region_projections = tf.split(self.query_key_value(both), counts)
        word_query, word_key, word_value = self._heads(words, word_projections, 3)
        region_query, region_key, region_value = self._heads(regions, region_projections, 3)
        word_context, to_vision = self._attend(
            word_query, region_key, region_value, region_mask, training, output_attentions
        )
        region_context, to_language = self._attend(
            region_query, word_key, word_value, padding_mask, training, output_attentions
        )
        contexts = [words.packing.pack(word_context), regions.packing.pack(region_context)]
        finished = self._finish(tf.concat(contexts, axis=0), both, training)
        word_rows, region_rows = tf.split(finished, counts)
        language = as_given(words.with_rows(word_rows), language)
        if self.pooled_only:
            return language, to_vision, to_language
        vision = with_keras_mask(as_given(regions.with_rows(region_rows), vision), vision_mask)
        sides = (language, vision)
        return (*sides, to_vision, to_language) if output_attentions else sides

    def _language_side(self, words, regions, region_mask, training) -> PackedSequence:
        query, key_value = self._project_apart(words.rows, regions.rows)
        [query] = self._heads(words, query, 1)
        key, value = self._heads(regions, key_value, 2)
        context, _ = self._attend(query, key, value, region_mask, training)
        return words.with_rows(self._finish(words.packing.pack(context), words.rows, training))

    def compute_output_shape(self, language_shape, vision_shape=None):
        """Return the shapes of both sides, or of the language side with `pooled_only`.

        Args:
            language_shape: Shape of the language side, or a list of the shapes of both.
            vision_shape: Shape of the vision side.
        """
        language_shape, vision_shape = shapes_of_sides(language_shape, vision_shape)
        return language_shape if self.pooled_only else (language_shape, vision_shape)
