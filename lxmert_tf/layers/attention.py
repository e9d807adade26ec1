"""Multi-head attention with one product for queries, keys and values."""

import math

import tensorflow as tf
from tensorflow import keras

from lxmert_tf.layers.dropout import Dropout
from lxmert_tf.layers.normalization import ResidualNorm

# What a padded token or an absent region adds to its attention scores (BERT's constant): in
# float32, exp(-10000) is exactly zero beside any real score.
MASKED_SCORE = -10000.0


def attention_bias(mask) -> tf.Tensor:
    """Turns a mask [B, K] (1 = there) into what is added to scores, float32 [B, 1, 1, K]."""
    return (1.0 - tf.cast(mask, tf.float32))[:, tf.newaxis, tf.newaxis, :] * MASKED_SCORE


@keras.utils.register_keras_serializable("lxmert_tf")
class SelfAttention(keras.layers.Layer):
    """Multi-head self-attention, residual connection and LayerNorm, as in BERT.

    Queries, keys and values come out of one product with a kernel of H x 3H.

    Args:
        num_heads: heads; must divide H.
        hidden_dropout: rate after the output projection.
        attention_dropout: rate on the probabilities.
        epsilon: of the LayerNorm.
        initializer_range: standard deviation of the kernels.
    """

    def __init__(
        self,
        num_heads: int,
        hidden_dropout: float = 0.1,
        attention_dropout: float = 0.1,
        epsilon: float = 1e-12,
        initializer_range: float = 0.02,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.num_heads = num_heads
        self.hidden_dropout = hidden_dropout
        self.attention_dropout = attention_dropout
        self.epsilon = epsilon
        self.initializer_range = initializer_range

    def build(self, input_shape):
        hidden_size = int(input_shape[-1])
        self.head_size = hidden_size // self.num_heads
        self.query_key_value = self._dense(3 * hidden_size, "query_key_value")
        self.output_projection = self._dense(hidden_size, "output_projection")
        self.dropout = Dropout(self.attention_dropout, dtype=self.dtype_policy, name="dropout")
        self.residual_norm = ResidualNorm(
            self.hidden_dropout, self.epsilon, dtype=self.dtype_policy, name="residual_norm"
        )
        super().build(input_shape)

    def _dense(self, units: int, name: str) -> keras.layers.Dense:
        return keras.layers.Dense(
            units,
            kernel_initializer=keras.initializers.RandomNormal(stddev=self.initializer_range),
            dtype=self.dtype_policy,
            name=name,
        )

    def split_heads(self, fused):
        """Cuts [B, L, 3 H] into queries, keys and values: three times [B, heads, L, H / heads]."""
        fused = tf.reshape(fused, [-1, tf.shape(fused)[1], 3, self.num_heads, self.head_size])
        return tf.unstack(tf.transpose(fused, [2, 0, 3, 1, 4]), num=3)

    def attend(self, query, key, value, bias, training, output_attentions):
        """Computes softmax(query key^T / sqrt(d) + bias) value.

        Args:
            query: [B, heads, Q, d].
            key, value: [B, heads, K, d].
            bias: [B, 1, 1, K].
            training: whether to drop probabilities.
            output_attentions: whether to give the probabilities, which then stay in memory.

        Returns:
            the context [B, Q, H], and the probabilities [B, heads, Q, K] in float32, or None.
        """
        query = query * tf.cast(1.0 / math.sqrt(self.head_size), query.dtype)
        scores = tf.cast(tf.matmul(query, key, transpose_b=True), tf.float32)
        probabilities = tf.nn.softmax(scores + bias, axis=-1)
        dropped = self.dropout(tf.cast(probabilities, value.dtype), training=training)
        context = tf.transpose(tf.matmul(dropped, value), [0, 2, 1, 3])
        context = tf.reshape(context, [-1, tf.shape(context)[1], self.num_heads * self.head_size])
        return context, probabilities if output_attentions else None

    def finish(self, context, residual, training):
        """Output projection, dropout, residual connection and LayerNorm: [B, Q, H]."""
        return self.residual_norm(self.output_projection(context), residual, training=training)

    def call(self, hidden, bias, training=None, output_attentions=False):
        """Attends within one side.

        Args:
            hidden: [B, L, H].
            bias: [B, 1, 1, L], from `attention_bias`.
            training: whether dropout is on.
            output_attentions: whether to give the probabilities.

        Returns:
            [B, L, H], and the probabilities [B, heads, L, L] or None.
        """
        query, key, value = self.split_heads(self.query_key_value(hidden))
        context, probabilities = self.attend(query, key, value, bias, training, output_attentions)
        return self.finish(context, hidden, training), probabilities

    def get_config(self):
        return {
            **super().get_config(),
            "num_heads": self.num_heads,
            "hidden_dropout": self.hidden_dropout,
            "attention_dropout": self.attention_dropout,
            "epsilon": self.epsilon,
            "initializer_range": self.initializer_range,
        }


@keras.utils.register_keras_serializable("lxmert_tf")
class CrossAttention(SelfAttention):
    """Attention from words to regions and from regions to words with ONE set of weights.

    Paper section 3.1, the cross-attention sub-layer; the release shares the weights between
    the directions. So both sides go through one projection, as one longer sequence.
    """

    def call(
        self,
        language,
        vision,
        language_bias,
        vision_bias,
        training=None,
        output_attentions=False,
    ):
        """Attends across the sides; each direction sees the other side's input, not its output.

        Args:
            language: [B, T, H].
            vision: [B, R, H].
            language_bias: [B, 1, 1, T].
            vision_bias: [B, 1, 1, R].
            training: whether dropout is on.
            output_attentions: whether to give the probabilities.

        Returns:
            language [B, T, H], vision [B, R, H], the probabilities of words over regions
            [B, heads, T, R] and of regions over words [B, heads, R, T], or None for each.
        """
        # Split, not sliced: the gradient of a slice is a zero-filled copy of the whole.
        lengths = [tf.shape(language)[1], tf.shape(vision)[1]]
        both = tf.concat([language, vision], axis=1)
        words, regions = tf.split(self.query_key_value(both), lengths, axis=1)
        word_query, word_key, word_value = self.split_heads(words)
        region_query, region_key, region_value = self.split_heads(regions)
        word_context, to_vision = self.attend(
            word_query, region_key, region_value, vision_bias, training, output_attentions
        )
        region_context, to_language = self.attend(
            region_query, word_key, word_value, language_bias, training, output_attentions
        )
        context = tf.concat([word_context, region_context], axis=1)
        language, vision = tf.split(self.finish(context, both, training), lengths, axis=1)
        return language, vision, to_vision, to_language
