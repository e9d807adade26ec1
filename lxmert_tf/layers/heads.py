"""The heads on the encoders' output: the pooler, the pre-training heads and the answer head."""

import tensorflow as tf
from tensorflow import keras

from lxmert_tf.layers.dense import build_sublayer, dense
from lxmert_tf.layers.normalization import LayerNorm


@keras.utils.register_keras_serializable("lxmert_tf")
class Pooler(keras.layers.Layer):
    """tanh(dense(first language token)), the cross-modality output (paper section 2.3).

    Args:
        hidden_size: Width H.
        initializer_range: Standard deviation of the initial kernel.

    Call arguments:
        language_output: [B, T, H], or its first token [B, H].

    Returns:
        [B, H].
    """

    def __init__(self, hidden_size: int, initializer_range: float = 0.02, **kwargs):
        super().__init__(**kwargs)
        self.supports_masking = True
        self.hidden_size = hidden_size
        self.initializer_range = initializer_range
        self.dense = dense(
            hidden_size, initializer_range, "tanh", dtype=self.dtype_policy, name="dense"
        )

    def build(self, input_shape):
        build_sublayer(self.dense, input_shape)
        super().build(input_shape)

    def call(self, language_output):
        first_token = language_output
        if language_output.shape.rank == 3:
            first_token = language_output[:, 0]
        return self.dense(first_token)

    def compute_mask(self, inputs, mask=None):
        """Return None: the output has no axis of tokens."""

    def compute_output_shape(self, input_shape):
        return tf.TensorShape([input_shape[0], self.hidden_size])

    def get_config(self):
        return {
            **super().get_config(),
            "hidden_size": self.hidden_size,
            "initializer_range": self.initializer_range,
        }


class _TransformHead(keras.layers.Layer):
    """A head that begins with dense, activation and layer normalization."""

    def __init__(
        self,
        hidden_act: str = "gelu",
        epsilon: float = 1e-12,
        initializer_range: float = 0.02,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.supports_masking = True
        self.hidden_act = hidden_act
        self.epsilon = epsilon
        self.initializer_range = initializer_range

    def _build_transform(self, input_shape, units: int) -> list:
        """Make the transform and return the shape of its output."""
        policy = self.dtype_policy
        self.transform = dense(
            units, self.initializer_range, self.hidden_act, dtype=policy, name="transform"
        )
        self.transform_norm = LayerNorm(self.epsilon, dtype=policy, name="transform_norm")
        output_shape = [*input_shape[:-1], units]
        build_sublayer(self.transform, input_shape)
        build_sublayer(self.transform_norm, output_shape)
        return output_shape

    def _build_output(self, units: int, name: str, input_shape) -> keras.layers.Dense:
        layer = dense(units, self.initializer_range, dtype=self.dtype_policy, name=name)
        build_sublayer(layer, input_shape)
        return layer

    def get_config(self):
        return {
            **super().get_config(),
            "hidden_act": self.hidden_act,
            "epsilon": self.epsilon,
            "initializer_range": self.initializer_range,
        }


@keras.utils.register_keras_serializable("lxmert_tf")
class MaskedLMHead(_TransformHead):
    """Dense, activation, layer normalization, then the product with the tied word embeddings.

    Args:
        vocab_size: Word pieces V.
        **kwargs: `hidden_act`, `epsilon`, `initializer_range` and the arguments of a Keras layer.

    Call arguments:
        language_output: [..., H].
        word_embeddings: [V, H].

    Returns:
        Logits [..., V], float32.
    """

    def __init__(self, vocab_size: int, **kwargs):
        super().__init__(**kwargs)
        self.vocab_size = vocab_size

    def build(self, input_shape):
        self._build_transform(input_shape, input_shape[-1])
        self.output_bias = self.add_weight(
            name="output_bias", shape=[self.vocab_size], initializer="zeros"
        )
        super().build(input_shape)

    def call(self, language_output, word_embeddings):
        hidden = self.transform_norm(self.transform(language_output))
        table = tf.cast(word_embeddings, hidden.dtype)
        # As rows, so that the product reads the table as it is stored.
        rows = tf.reshape(hidden, [-1, hidden.shape[-1]])
        logits = tf.cast(tf.matmul(rows, table, transpose_b=True), tf.float32)
        logits += tf.cast(self.output_bias, tf.float32)
        return tf.reshape(logits, [*_leading_sizes(hidden), self.vocab_size])

    def compute_output_shape(self, language_shape, embeddings_shape=None):
        """Return the shape of the language output with V as the last axis."""
        return tf.TensorShape([*language_shape[:-1], self.vocab_size])

    def get_config(self):
        return {**super().get_config(), "vocab_size": self.vocab_size}


def _leading_sizes(hidden) -> list:
    """All axes but the last, as numbers where they are known."""
    dynamic = tf.shape(hidden)
    return [dynamic[i] if size is None else size for i, size in enumerate(hidden.shape[:-1])]


@keras.utils.register_keras_serializable("lxmert_tf")
class RegionHead(_TransformHead):
    """One shared transform, then a linear layer each for objects, attributes and features.

    Args:
        num_objects: Object classes.
        num_attributes: Attribute classes.
        region_feature_size: Width F of the region features.
        **kwargs: `hidden_act`, `epsilon`, `initializer_range` and the arguments of a Keras layer.

    Call arguments:
        vision_output: [B, R, H].
        feature_positions: int64 [M, 2], (example, region): where to predict features; everywhere
            if None.

    Returns:
        Object logits [B, R, num_objects], attribute logits [B, R, num_attributes] and predicted
        features [B, R, F], or [M, F] at `feature_positions`, all float32.
    """

    def __init__(self, num_objects: int, num_attributes: int, region_feature_size: int, **kwargs):
        super().__init__(**kwargs)
        self.num_objects = num_objects
        self.num_attributes = num_attributes
        self.region_feature_size = region_feature_size

    def build(self, input_shape):
        hidden_shape = self._build_transform(input_shape, input_shape[-1])
        self.objects = self._build_output(self.num_objects, "objects", hidden_shape)
        self.attributes = self._build_output(self.num_attributes, "attributes", hidden_shape)
        self.features = self._build_output(self.region_feature_size, "features", hidden_shape)
        super().build(input_shape)

    def call(self, vision_output, feature_positions=None):
        hidden = self.transform_norm(self.transform(vision_output))
        masked = hidden if feature_positions is None else tf.gather_nd(hidden, feature_positions)
        outputs = (self.objects(hidden), self.attributes(hidden), self.features(masked))
        return tuple(tf.cast(output, tf.float32) for output in outputs)

    def compute_mask(self, inputs, mask=None):
        """Return the mask of the regions for the logits; features may be of chosen positions."""
        return None if mask is None else (mask, mask, None)

    def compute_output_shape(self, input_shape):
        sizes = (self.num_objects, self.num_attributes, self.region_feature_size)
        return tuple(tf.TensorShape([*input_shape[:-1], size]) for size in sizes)

    def get_config(self):
        return {
            **super().get_config(),
            "num_objects": self.num_objects,
            "num_attributes": self.num_attributes,
            "region_feature_size": self.region_feature_size,
        }


@keras.utils.register_keras_serializable("lxmert_tf")
class AnswerHead(_TransformHead):
    """Dense to 2H, activation, layer normalization, dense to the answers.

    Args:
        num_answers: Answers A.
        transform_size: Width after the first dense layer; twice that of the input if None.
        **kwargs: `hidden_act`, `epsilon`, `initializer_range` and the arguments of a Keras layer.

    Call arguments:
        pooled_output: [B, H].

    Returns:
        Logits [B, A], float32.
    """

    def __init__(self, num_answers: int, transform_size: int | None = None, **kwargs):
        super().__init__(**kwargs)
        self.num_answers = num_answers
        self.transform_size = transform_size

    def build(self, input_shape):
        units = self.transform_size or 2 * input_shape[-1]
        hidden_shape = self._build_transform(input_shape, units)
        self.answers = self._build_output(self.num_answers, "answers", hidden_shape)
        super().build(input_shape)

    def call(self, pooled_output):
        hidden = self.transform_norm(self.transform(pooled_output))
        return tf.cast(self.answers(hidden), tf.float32)

    def compute_output_shape(self, input_shape):
        return tf.TensorShape([*input_shape[:-1], self.num_answers])

    def get_config(self):
        return {
            **super().get_config(),
            "num_answers": self.num_answers,
            "transform_size": self.transform_size,
        }
