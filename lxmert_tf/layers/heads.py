"""What reads the encoders' output: the pooler, the pre-training heads and the answer head."""

import tensorflow as tf
from tensorflow import keras

from lxmert_tf.layers.activation import activation
from lxmert_tf.layers.normalization import Float32LayerNorm


class _Head(keras.layers.Layer):
    """A layer with an activation and normally initialised products."""

    def __init__(
        self,
        hidden_act: str = "gelu",
        epsilon: float = 1e-12,
        initializer_range: float = 0.02,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.hidden_act = hidden_act
        self.epsilon = epsilon
        self.initializer_range = initializer_range

    def _dense(self, units: int, name: str, activation=None) -> keras.layers.Dense:
        return keras.layers.Dense(
            units,
            activation=activation,
            kernel_initializer=keras.initializers.RandomNormal(stddev=self.initializer_range),
            dtype=self.dtype_policy,
            name=name,
        )

    def _transform(self, units: int) -> tuple[keras.layers.Dense, Float32LayerNorm]:
        dense = self._dense(units, "transform", activation(self.hidden_act))
        return dense, Float32LayerNorm(self.epsilon, dtype=self.dtype_policy, name="transform_norm")

    def get_config(self):
        return {
            **super().get_config(),
            "hidden_act": self.hidden_act,
            "epsilon": self.epsilon,
            "initializer_range": self.initializer_range,
        }


@keras.utils.register_keras_serializable("lxmert_tf")
class Pooler(keras.layers.Layer):
    """tanh(dense(first language token)), the cross-modality output (paper section 3.2).

    Args:
        hidden_size: H.
        initializer_range: standard deviation of the kernel.

    Call arguments:
        first_words: [B, H]. Returns [B, H].
    """

    def __init__(self, hidden_size: int, initializer_range: float = 0.02, **kwargs):
        super().__init__(**kwargs)
        self.hidden_size = hidden_size
        self.initializer_range = initializer_range
        self.dense = keras.layers.Dense(
            hidden_size,
            activation="tanh",
            kernel_initializer=keras.initializers.RandomNormal(stddev=initializer_range),
            dtype=self.dtype_policy,
            name="dense",
        )

    def call(self, first_words):
        return self.dense(first_words)

    def get_config(self):
        return {
            **super().get_config(),
            "hidden_size": self.hidden_size,
            "initializer_range": self.initializer_range,
        }


@keras.utils.register_keras_serializable("lxmert_tf")
class MaskedLMHead(_Head):
    """Dense, activation, LayerNorm, then the product with the word embeddings (tied) plus a bias.

    Args:
        vocab_size: V.

    Call arguments:
        language_output: [..., H].
        word_embeddings: [V, H]. Returns logits [..., V], float32.
    """

    def __init__(self, vocab_size: int, **kwargs):
        super().__init__(**kwargs)
        self.vocab_size = vocab_size

    def build(self, input_shape):
        self.transform, self.transform_norm = self._transform(int(input_shape[-1]))
        self.output_bias = self.add_weight(
            name="output_bias", shape=[self.vocab_size], initializer="zeros"
        )
        super().build(input_shape)

    def call(self, language_output, word_embeddings):
        # As rows: Keras' LayerNorm takes inputs of one rank alone.
        rows = tf.reshape(language_output, [-1, language_output.shape[-1]])
        hidden = self.transform_norm(self.transform(rows))
        table = tf.cast(word_embeddings, hidden.dtype)
        logits = tf.cast(tf.matmul(hidden, table, transpose_b=True), tf.float32)
        logits = logits + tf.cast(self.output_bias, tf.float32)
        return tf.reshape(logits, tf.concat([tf.shape(language_output)[:-1], [self.vocab_size]], 0))

    def get_config(self):
        return {**super().get_config(), "vocab_size": self.vocab_size}


@keras.utils.register_keras_serializable("lxmert_tf")
class RegionHead(_Head):
    """One shared transform, then a linear map each to objects, attributes and features.

    Args:
        num_objects, num_attributes: classes.
        region_feature_size: F.

    Call arguments:
        vision_output: [B, R, H].
        feature_places: int64 [M, 2], (example, region): where to predict features; None for
            everywhere. Returns object logits [B, R, num_objects], attribute logits
            [B, R, num_attributes] and predicted features [B, R, F] or [M, F], float32.
    """

    def __init__(self, num_objects: int, num_attributes: int, region_feature_size: int, **kwargs):
        super().__init__(**kwargs)
        self.num_objects = num_objects
        self.num_attributes = num_attributes
        self.region_feature_size = region_feature_size

    def build(self, input_shape):
        self.transform, self.transform_norm = self._transform(int(input_shape[-1]))
        self.objects = self._dense(self.num_objects, "objects")
        self.attributes = self._dense(self.num_attributes, "attributes")
        self.features = self._dense(self.region_feature_size, "features")
        super().build(input_shape)

    def call(self, vision_output, feature_places=None):
        hidden = self.transform_norm(self.transform(vision_output))
        some = hidden if feature_places is None else tf.gather_nd(hidden, feature_places)
        outputs = (self.objects(hidden), self.attributes(hidden), self.features(some))
        return tuple(tf.cast(output, tf.float32) for output in outputs)

    def get_config(self):
        return {
            **super().get_config(),
            "num_objects": self.num_objects,
            "num_attributes": self.num_attributes,
            "region_feature_size": self.region_feature_size,
        }


@keras.utils.register_keras_serializable("lxmert_tf")
class AnswerHead(_Head):
    """Dense to 2H, activation, LayerNorm, dense to the answers.

    Args:
        num_answers: A.
        transform_size: width after the first dense; twice that of the input if None.

    Call arguments:
        pooled_output: [B, H]. Returns logits [B, A], float32.
    """

    def __init__(self, num_answers: int, transform_size: int | None = None, **kwargs):
        super().__init__(**kwargs)
        self.num_answers = num_answers
        self.transform_size = transform_size

    def build(self, input_shape):
        units = self.transform_size or 2 * int(input_shape[-1])
        self.transform, self.transform_norm = self._transform(units)
        self.answers = self._dense(self.num_answers, "answers")
        super().build(input_shape)

    def call(self, pooled_output):
        hidden = self.transform_norm(self.transform(pooled_output))
        return tf.cast(self.answers(hidden), tf.float32)

    def get_config(self):
        return {
            **super().get_config(),
            "num_answers": self.num_answers,
            "transform_size": self.transform_size,
        }
