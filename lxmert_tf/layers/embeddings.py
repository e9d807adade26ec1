"""The embeddings of words and of regions, the inputs of the encoders."""

import tensorflow as tf
from tensorflow import keras

from lxmert_tf.layers.dense import build_sublayer, dense
from lxmert_tf.layers.dropout import SeededDropout
from lxmert_tf.layers.normalization import LayerNorm


@keras.utils.register_keras_serializable("lxmert_tf")
class LanguageEmbeddings(keras.layers.Layer):
    """LayerNorm(word + position + segment), then dropout (paper section 2.1).

    Args:
        vocab_size: Rows of the word table.
        max_position_embeddings: Rows of the position table, the longest sentence.
        type_vocab_size: Rows of the segment table.
        hidden_size: Width H.
        dropout: Dropout rate.
        epsilon: Epsilon of the layer normalization.
        initializer_range: Standard deviation of the initial tables.
        freeze_first_rows: Whether row 0 of each table gets no gradient from look-ups. The release
            does so (its tables have padding_idx=0), which freezes position 0 and segment 0, too,
            except for weight decay. May also be set as an attribute before training is traced.

    Call arguments:
        token_ids: int [B, T].
        segment_ids: int [B, T]; zeros if None.
        training: Whether dropout is on.
        table_only: Whether to return the word table instead, for a head that is tied to it.

    Returns:
        [B, T, H]; the word table [vocab_size, H] with `table_only`.
    """

    def __init__(
        self,
        vocab_size: int,
        max_position_embeddings: int,
        type_vocab_size: int,
        hidden_size: int,
        dropout: float = 0.1,
        epsilon: float = 1e-12,
        initializer_range: float = 0.02,
        freeze_first_rows: bool = False,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.freeze_first_rows = freeze_first_rows
        self.vocab_size = vocab_size
        self.max_position_embeddings = max_position_embeddings
        self.type_vocab_size = type_vocab_size
        self.hidden_size = hidden_size
        self.dropout_rate = dropout
        self.epsilon = epsilon
        self.initializer_range = initializer_range
        self.dropout = SeededDropout(dropout, dtype=self.dtype_policy, name="dropout")
        self.norm = LayerNorm(epsilon, dtype=self.dtype_policy, name="norm")

    def build(self, input_shape):
        def table(name, rows):
            return self.add_weight(
                name=name,
                shape=[rows, self.hidden_size],
                initializer=keras.initializers.RandomNormal(stddev=self.initializer_range),
            )

        self.word_embeddings = table("word_embeddings", self.vocab_size)
        self.position_embeddings = table("position_embeddings", self.max_position_embeddings)
        self.segment_embeddings = table("segment_embeddings", self.type_vocab_size)
        build_sublayer(self.norm, [*input_shape, self.hidden_size])
        super().build(input_shape)

    def call(self, token_ids, segment_ids=None, training=None, table_only=False):
        if table_only:
            return tf.convert_to_tensor(self.word_embeddings)
        if segment_ids is None:
            segment_ids = tf.zeros_like(token_ids)
        words = self._look_up(self.word_embeddings, token_ids)
        positions = self._look_up(self.position_embeddings, tf.range(tf.shape(token_ids)[1]))
        segments = self._look_up(self.segment_embeddings, segment_ids)
        return self.dropout(self.norm(words + positions + segments), training=training)

    def _look_up(self, table, ids):
        rows = tf.gather(table, ids)
        if not self.freeze_first_rows:
            return rows
        first = tf.equal(ids, 0)[..., tf.newaxis]
        return tf.where(first, tf.stop_gradient(rows), rows)

    def compute_output_shape(self, input_shape):
        return tf.TensorShape([*input_shape, self.hidden_size])

    def get_config(self):
        return {
            **super().get_config(),
            "freeze_first_rows": self.freeze_first_rows,
            "vocab_size": self.vocab_size,
            "max_position_embeddings": self.max_position_embeddings,
            "type_vocab_size": self.type_vocab_size,
            "hidden_size": self.hidden_size,
            "dropout": self.dropout_rate,
            "epsilon": self.epsilon,
            "initializer_range": self.initializer_range,
        }


@keras.utils.register_keras_serializable("lxmert_tf")
class RegionEmbeddings(keras.layers.Layer):
    """(LayerNorm(W_f features + b) + LayerNorm(W_b box + b)) / 2, then dropout (paper equation 1).

    Args:
        hidden_size: Width H.
        box_size: Coordinates per box.
        dropout: Dropout rate.
        epsilon: Epsilon of both layer normalizations.
        initializer_range: Standard deviation of the initial kernels.

    Call arguments:
        region_features: [..., F].
        region_boxes: [..., 4], x1 y1 x2 y2 in 0..1.
        training: Whether dropout is on.

    Returns:
        [..., H].
    """

    def __init__(
        self,
        hidden_size: int,
        box_size: int = 4,
        dropout: float = 0.1,
        epsilon: float = 1e-12,
        initializer_range: float = 0.02,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.supports_masking = True
        self.hidden_size = hidden_size
        self.box_size = box_size
        self.dropout_rate = dropout
        self.epsilon = epsilon
        self.initializer_range = initializer_range
        policy = self.dtype_policy
        projection = {"units": hidden_size, "initializer_range": initializer_range, "dtype": policy}
        self.feature_projection = dense(name="feature_projection", **projection)
        self.feature_norm = LayerNorm(epsilon, dtype=policy, name="feature_norm")
        self.box_projection = dense(name="box_projection", **projection)
        self.box_norm = LayerNorm(epsilon, dtype=policy, name="box_norm")
        self.dropout = SeededDropout(dropout, dtype=policy, name="dropout")

    def build(self, input_shape):
        hidden_shape = [*input_shape[:-1], self.hidden_size]
        build_sublayer(self.feature_projection, input_shape)
        build_sublayer(self.feature_norm, hidden_shape)
        build_sublayer(self.box_projection, [*input_shape[:-1], self.box_size])
        build_sublayer(self.box_norm, hidden_shape)
        super().build(input_shape)

    def call(self, region_features, region_boxes, training=None):
        features = self.feature_norm(self.feature_projection(region_features))
        boxes = self.box_norm(self.box_projection(region_boxes))
        return self.dropout((features + boxes) / 2, training=training)

    def compute_output_shape(self, features_shape, boxes_shape=None):
        """Return the shape of the features with H as the last axis."""
        return tf.TensorShape([*features_shape[:-1], self.hidden_size])

    def get_config(self):
        return {
            **super().get_config(),
            "hidden_size": self.hidden_size,
            "box_size": self.box_size,
            "dropout": self.dropout_rate,
            "epsilon": self.epsilon,
            "initializer_range": self.initializer_range,
        }
