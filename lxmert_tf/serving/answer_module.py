"""The functions of a served answer model: words and the regions of one image in, answers out."""

import tensorflow as tf

from lxmert_tf.serving.scene_module import SceneModule, concrete, region_mask, shared_graph
from lxmert_tf.tasks.answering import LxmertAnswerClassifier


class AnswerModule(SceneModule):
    """Answers questions about images, of which each may be encoded once for many questions.

    Args:
        model: an `LxmertAnswerClassifier`; see `SceneModule`, also for the other arguments.
    """

    _model: LxmertAnswerClassifier

    def __init__(self, model: LxmertAnswerClassifier, max_length: int = 20, top_k: int = 5):
        super().__init__(model, max_length, top_k)
        features, boxes, _ = self._region_specs()
        mask = tf.TensorSpec([None, None], tf.int32)
        state = tf.TensorSpec([None, None, model.config.hidden_size], model.compute_dtype)
        self._encode = shared_graph(model.encode_image, features, boxes, mask)
        self._score = shared_graph(self._scored, tf.TensorSpec([None], tf.string), state, mask)

    def signatures(self) -> dict[str, tf.types.experimental.ConcreteFunction]:
        """The contract's four signatures, for any batch, number of regions and of questions."""
        text = tf.TensorSpec([None], tf.string, "question")
        state = tf.TensorSpec([1, None, self._model.config.hidden_size], tf.float32, "image_state")
        return {
            **super().signatures(),
            "encode_image": concrete(self.encode_image, *self._region_specs()),
            "answer_about_image": concrete(self.answer_about_image, text, state),
        }

    def encode_image(self, region_features, region_boxes, region_count):
        """What an image alone decides; arguments as for `answer`.

        Returns:
            `image_state` float32 [B, R, H]; zeros where there is no region.
        """
        mask = region_mask(region_count, region_features)
        state = tf.cast(self._encode(region_features, region_boxes, mask), tf.float32)
        return {"image_state": state * tf.cast(mask, tf.float32)[:, :, tf.newaxis]}

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
        return self.best(self._score(question, state, tf.repeat(mask, questions, axis=0)))

    def probabilities(self, question, regions):
        """Each answer for itself: the sigmoid of its logit."""
        mask = regions["region_mask"]
        state = self._encode(regions["region_features"], regions["region_boxes"], mask)
        return self._score(question, state, mask)

    def _scored(self, question, state, mask):
        text = self._preprocessor(question)
        return tf.sigmoid(self._model.answer_about_state(text, state, mask))
