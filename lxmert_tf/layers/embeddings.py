"""What the encoders start from: embedded words and embedded regions."""

import tensorflow as tf
from tensorflow import keras

from lxmert_tf.layers.dropout import Dropout
from lxmert_tf.layers.normalization import Float32LayerNorm


@keras.utils.register_keras_serializable("lxmert_tf")
class LanguageEmbeddings(keras.layers.Layer):
    """LayerNorm(word + position + segment), then dropout (paper section 2, word-level embeddings).

    Args:
        vocab_size, max_position_embeddings, type_vocab_size: rows of the three tables.
        hidden_size: H.
        dropout: rate.
        epsilon: of the LayerNorm.
        initializer_range: standard deviation of the tables.
        freeze_first_rows: whether look-ups give row 0 of each table no gradient. The release does
            so (its tables have padding_idx=0), which also freezes position 0 and segment 0 but
            for weight decay. May be set as an attribute, before training is traced.

    Call arguments:
        token_ids, segment_ids: int [B, T]. Returns [B, T, H].
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
        self.dropout = Dropout(dropout, dtype=self.dtype_policy, name="dropout")
        self.norm = Float32LayerNorm(epsilon, dtype=self.dtype_policy, name="norm")

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
        super().build(input_shape)

    def call(self, token_ids, segment_ids, training=None):
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
        hidden_size: H.
        dropout: rate.
        epsilon: of both LayerNorms.
        initializer_range: standard deviation of the kernels.

    Call arguments:
        region_features: [..., F].
        region_boxes: [..., 4], in 0..1. Returns [..., H].
    """

    def __init__(
        self,
        hidden_size: int,
        dropout: float = 0.1,
        epsilon: float = 1e-12,
        initializer_range: float = 0.02,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.hidden_size = hidden_size
        self.dropout_rate = dropout
        self.epsilon = epsilon
        self.initializer_range = initializer_range
        self.feature_projection = self._dense("feature_projection")
        self.feature_norm = Float32LayerNorm(epsilon, dtype=self.dtype_policy, name="feature_norm")
        self.box_projection = self._dense("box_projection")
        self.box_norm = Float32LayerNorm(epsilon, dtype=self.dtype_policy, name="box_norm")
        self.dropout = Dropout(dropout, dtype=self.dtype_policy, name="dropout")

    def _dense(self, name: str) -> keras.layers.Dense:
        return keras.layers.Dense(
            self.hidden_size,
            kernel_initializer=keras.initializers.RandomNormal(stddev=self.initializer_range),
            dtype=self.dtype_policy,
            name=name,
        )

    def call(self, region_features, region_boxes, training=None):
        features = self.feature_norm(self.feature_projection(region_features))
        boxes = self.box_norm(self.box_projection(region_boxes))
        return self.dropout((features + boxes) / 2, training=training)

    def get_config(self):
        return {
            **super().get_config(),
            "hidden_size": self.hidden_size,
            "dropout": self.dropout_rate,
            "epsilon": self.epsilon,
            "initializer_range": self.initializer_range,
        }
