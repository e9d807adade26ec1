"""The functions of a served answer model: words and regions in, answers out."""

import tensorflow as tf

from lxmert_tf.data import schema
from lxmert_tf.tasks.answering import LxmertAnswerClassifier
from lxmert_tf.text import LxmertTextPreprocessor


class AnswerModule(tf.Module):
    """What becomes the signatures of a SavedModel; only core TensorFlow and TF-Text ops.

    Args:
        model: with its vocabulary and answers.
        max_length: word pieces per question, with [CLS] and [SEP].
        top_k: answers per question (fewer if the table is smaller).

    Raises:
        ValueError: the model has no vocabulary or no answers.
    """

    def __init__(self, model: LxmertAnswerClassifier, max_length: int = 20, top_k: int = 5):
        super().__init__(name="lxmert_answers")
        if model.vocabulary is None or model.answers is None:
            raise ValueError("the model has no vocabulary or no answers; give it both")
        # Not tracked as a part, its variables are: Keras would trace every layer once more for the
        # SavedModel, which then takes twice as long to write and to load, and nobody calls them.
        object.__setattr__(self, "_model", model)
        self._model_variables = model.variables
        self._top_k = min(top_k, len(model.answers))
        self._answers = tf.constant(model.answers)
        # Padding to the longest question of a request saves work and changes no result.
        self._preprocessor = LxmertTextPreprocessor(
            model.vocabulary, max_length, pad_to_longest=True
        )

    def signatures(self) -> dict[str, tf.types.experimental.ConcreteFunction]:
        """The contract's four signatures, for any batch, number of regions and of questions."""
        size, hidden = self._model.config.region_feature_size, self._model.config.hidden_size
        text = tf.TensorSpec([None], tf.string, "question")
        regions = (
            tf.TensorSpec([None, None, size], tf.float32, "region_features"),
            tf.TensorSpec([None, None, 4], tf.float32, "region_boxes"),
            tf.TensorSpec([None], tf.int32, "region_count"),
        )
        examples = tf.TensorSpec([None], tf.string, "examples")
        state = tf.TensorSpec([1, None, hidden], tf.float32, "image_state")
        return {
            "serving_default": self.answer.get_concrete_function(text, *regions),
            "serve_examples": self.answer_examples.get_concrete_function(examples),
            "encode_image": self.encode_image.get_concrete_function(*regions),
            "answer_about_image": self.answer_about_image.get_concrete_function(text, state),
        }

    @tf.function
    def answer(self, question, region_features, region_boxes, region_count):
        """One question about each image.

        Args:
            question: string [B].
            region_features: float32 [B, R, F].
            region_boxes: float32 [B, R, 4], in 0..1.
            region_count: int32 [B], the regions that are there; the rest is padding.

        Returns:
            `answers` string [B, k] and `scores` float32 [B, k] in 0..1, best first.
        """
        mask = _region_mask(region_count, region_features)
        state, _ = self._model.backbone.encode_image(region_features, region_boxes, mask)
        return self._best(self._probabilities(question, state, mask))

    @tf.function
    def answer_examples(self, examples):
        """One question about each image, out of serialized flat scenes [B].

        Returns:
            as `answer`, and `probabilities` float32 [B, A] in the order of the answer table.
        """
        scenes = schema.parse_scenes(examples)
        flat = tf.debugging.assert_equal(
            scenes[schema.SENTENCE_TEXT].row_lengths(),
            tf.constant(1, tf.int64),
            message="a scene here must have one sentence (the flat layout)",
        )
        with tf.control_dependencies([flat]):
            question = tf.identity(scenes[schema.SENTENCE_TEXT].flat_values)
        regions = schema.decode_regions(scenes)
        mask = regions["region_mask"]
        state, _ = self._model.backbone.encode_image(
            regions["region_features"], regions["region_boxes"], mask
        )
        probabilities = self._probabilities(question, state, mask)
        return {**self._best(probabilities), "probabilities": probabilities}

    @tf.function
    def encode_image(self, region_features, region_boxes, region_count):
        """What an image alone decides; arguments as for `answer`.

        Returns:
            `image_state` float32 [B, R, H]; zeros where there is no region.
        """
        mask = _region_mask(region_count, region_features)
        state, _ = self._model.backbone.encode_image(region_features, region_boxes, mask)
        state = tf.cast(state, tf.float32) * tf.cast(mask, tf.float32)[:, :, tf.newaxis]
        return {"image_state": state}

    @tf.function
    def answer_about_image(self, question, image_state):
        """Any number of questions about one image.

        Args:
            question: string [Q].
            image_state: float32 [1, R, H], from `encode_image`.

        Returns:
            `answers` string [Q, k] and `scores` float32 [Q, k], best first.
        """
        # A LayerNorm's output is not all zeros, so zeros mean that there is no region.
        mask = tf.cast(tf.reduce_any(tf.not_equal(image_state, 0), axis=-1), tf.int32)
        questions = tf.shape(question)[0]
        state = tf.cast(tf.repeat(image_state, questions, axis=0), self._model.compute_dtype)
        mask = tf.repeat(mask, questions, axis=0)
        return self._best(self._probabilities(question, state, mask))

    def _probabilities(self, question, state, mask):
        logits = self._model.answer_about_state(self._preprocessor(question), state, mask)
        return tf.sigmoid(logits)

    def _best(self, probabilities):
        scores, ids = tf.math.top_k(probabilities, self._top_k)
        return {"answers": tf.gather(self._answers, ids), "scores": scores}


def _region_mask(region_count, region_features):
    """Which regions are there, int32 [B, R]; fails on a count that the tensor cannot hold."""
    regions = tf.shape(region_features)[1]
    fits = [
        tf.debugging.assert_less_equal(
            region_count, regions, message="region_count is larger than region_features holds"
        ),
        tf.debugging.assert_non_negative(region_count, message="region_count is negative"),
    ]
    with tf.control_dependencies(fits):
        return tf.sequence_mask(region_count, regions, tf.int32)
