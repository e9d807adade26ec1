"""Multi-head attention with one product for queries, keys and values."""

import math

import tensorflow as tf
from tensorflow import keras

from lxmert_tf.layers.dropout import Dropout
from lxmert_tf.layers.normalization import ResidualNorm
from lxmert_tf.layers.packing import Positions


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

    def split_heads(self, rows, positions: Positions, parts: int):
        """Cuts rows [N, parts H] into `parts` tensors [B, heads, L, H / heads]."""
        fused = positions.to_batch(rows, parts, self.num_heads, self.head_size)
        return tf.unstack(tf.transpose(fused, [2, 0, 3, 1, 4]), num=parts)

    def project_apart(self, query_rows, key_value_rows):
        """Queries of some rows, [N, H], and keys and values of others, [M, 2 H]."""
        size = query_rows.shape[-1]
        kernels = tf.split(self.query_key_value.kernel, [size, 2 * size], axis=1)
        biases = tf.split(self.query_key_value.bias, [size, 2 * size])
        sides = zip((query_rows, key_value_rows), kernels, biases)
        return [tf.nn.bias_add(tf.matmul(rows, kernel), bias) for rows, kernel, bias in sides]

    def attend(self, query, key, value, bias, training, output_attentions):
        """Computes softmax(query key^T / sqrt(d) + bias) value.

        Args:
            query: [B, heads, Q, d].
            key, value: [B, heads, K, d].
            bias: [B, 1, 1, K].
            training: whether to drop probabilities.
            output_attentions: whether to give the probabilities, which then stay in memory.

        Returns:
            the context [B, Q, heads, d], and the probabilities [B, heads, Q, K] in float32, or
            None.
        """
        query = query * tf.cast(1.0 / math.sqrt(self.head_size), query.dtype)
        scores = tf.cast(tf.matmul(query, key, transpose_b=True), tf.float32)
        probabilities = tf.nn.softmax(scores + bias, axis=-1)
        dropped = self.dropout(tf.cast(probabilities, value.dtype), training=training)
        context = tf.transpose(tf.matmul(dropped, value), [0, 2, 1, 3])
        return context, probabilities if output_attentions else None

    def finish(self, context, residual, training):
        """Output projection, dropout, residual connection and LayerNorm of rows: [N, H]."""
        return self.residual_norm(self.output_projection(context), residual, training=training)

    def call(
        self,
        hidden,
        positions: Positions,
        training=None,
        output_attentions=False,
        first_only=False,
    ):
        """Attends within one side.

        Args:
            hidden: rows [N, H] of `positions`.
            positions: of this side.
            training: whether dropout is on.
            output_attentions: whether to give the probabilities.
            first_only: whether to give just the rows of each example's first place, [B, H].

        Returns:
            rows [N, H], and the probabilities [B, heads, L, L] or None.
        """
        if first_only:
            return self._first_rows(hidden, positions, training), None
        query, key, value = self.split_heads(self.query_key_value(hidden), positions, 3)
        context, probabilities = self.attend(
            query, key, value, positions.bias, training, output_attentions
        )
        return self.finish(positions.to_rows(context), hidden, training), probabilities

    def _first_rows(self, hidden, positions: Positions, training):
        firsts = positions.first_rows(hidden)
        query, key_value = self.project_apart(firsts, hidden)
        query = tf.reshape(query, [-1, self.num_heads, 1, self.head_size])
        key, value = self.split_heads(key_value, positions, 2)
        context, _ = self.attend(query, key, value, positions.bias, training, False)
        return self.finish(tf.reshape(context, [-1, hidden.shape[-1]]), firsts, training)

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
        language_positions: Positions,
        vision_positions: Positions,
        training=None,
        output_attentions=False,
        language_only=False,
    ):
        """Attends across the sides; each direction sees the other side's input, not its output.

        Args:
            language: rows [N, H] of `language_positions`.
            vision: rows [M, H] of `vision_positions`.
            language_positions: of the words.
            vision_positions: of the regions.
            training: whether dropout is on.
            output_attentions: whether to give the probabilities.
            language_only: whether to leave out what the words' output does not depend on.

        Returns:
            language [N, H], vision [M, H], the probabilities of words over regions
            [B, heads, T, R] and of regions over words [B, heads, R, T], or None for each.
        """
        if language_only:
            return self._language_side(
                language, vision, language_positions, vision_positions, training
            )
        # Split, not sliced: the gradient of a slice is a zero-filled copy of the whole.
        counts = [tf.shape(language)[0], tf.shape(vision)[0]]
        both = tf.concat([language, vision], axis=0)
        words, regions = tf.split(self.query_key_value(both), counts)
        word_query, word_key, word_value = self.split_heads(words, language_positions, 3)
        region_query, region_key, region_value = self.split_heads(regions, vision_positions, 3)
        how = (training, output_attentions)
        word_context, to_vision = self.attend(
            word_query, region_key, region_value, vision_positions.bias, *how
        )
        region_context, to_language = self.attend(
            region_query, word_key, word_value, language_positions.bias, *how
        )
        contexts = [
            language_positions.to_rows(word_context),
            vision_positions.to_rows(region_context),
        ]
        finished = self.finish(tf.concat(contexts, axis=0), both, training)
        language, vision = tf.split(finished, counts)
        return language, vision, to_vision, to_language

    def _language_side(self, language, vision, language_positions, vision_positions, training):
        query, key_value = self.project_apart(language, vision)
        [query] = self.split_heads(query, language_positions, 1)
        key, value = self.split_heads(key_value, vision_positions, 2)
        context, _ = self.attend(query, key, value, vision_positions.bias, training, False)
        rows = language_positions.to_rows(context)
        return self.finish(rows, language, training), None, None, None
