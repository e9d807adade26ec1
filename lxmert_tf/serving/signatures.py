"""What all served models have in common: words and regions in, answers with scores out."""

import tensorflow as tf

from lxmert_tf.data import schema
from lxmert_tf.layers.own_gradient import without_gradients
from lxmert_tf.models.answer_classifier import LxmertAnswerClassifier
from lxmert_tf.models.pair_classifier import LxmertPairClassifier
from lxmert_tf.models.presets import PresetModel
from lxmert_tf.models.text_preprocessor import LxmertTextPreprocessor


class SceneModule(tf.Module):
    """What becomes the signatures of a SavedModel; only core TensorFlow and TF-Text ops.

    A subclass says how probable the answers are (`probabilities`), in graphs that signatures have
    in common (`shared_graph`): loading takes as long as there are operations. The methods are no
    `tf.function`s, since a SavedModel would hold each twice, as a signature and as a method.

    Args:
        model: with its vocabulary and answers.
        max_length: word pieces per question, with [CLS] and [SEP].
        top_k: answers per question (fewer if the table is smaller).

    Raises:
        ValueError: the model has no vocabulary or no answers.
    """

    def __init__(self, model: PresetModel, max_length: int = 20, top_k: int = 5):
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
        """The contract's signatures, for any batch and number of regions."""
        text = tf.TensorSpec([None], tf.string, "question")
        examples = tf.TensorSpec([None], tf.string, "examples")
        return {
            "serving_default": concrete(self.answer, text, *self._region_specs()),
            "serve_examples": concrete(self.answer_examples, examples),
        }

    def answer(self, question, region_features, region_boxes, region_count):
        """One question about each scene.

        Args:
            question: string [B].
            region_features: float32 [B, R, F]; of scenes with I images [B, I, R, F].
            region_boxes: float32 [B, R, 4], in 0..1; or [B, I, R, 4].
            region_count: int32 [B], the regions that are there, the rest is padding; or [B, I].

        Returns:
            `answers` string [B, k] and `scores` float32 [B, k] in 0..1, best first.
        """
        regions = {
            "region_features": region_features,
            "region_boxes": region_boxes,
            "region_mask": region_mask(region_count, region_features),
        }
        return self.best(self.probabilities(question, regions))

    def answer_examples(self, examples):
        """One question about each scene, out of serialized flat scenes [B].

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
        regions = schema.decode_regions(scenes, images_per_scene=self._model.images_per_scene)
        probabilities = self.probabilities(question, regions)
        return {**self.best(probabilities), "probabilities": probabilities}

    def probabilities(self, question, regions):
        """How probable each answer of the table is.

        Args:
            question: string [B].
            regions: `region_features`, `region_boxes`, `region_mask` of the scenes.

        Returns:
            float32 [B, A].
        """
        raise NotImplementedError

    def best(self, probabilities):
        """The outputs `answers` and `scores` of probabilities [B, A]."""
        scores, ids = tf.math.top_k(probabilities, self._top_k)
        return {"answers": tf.gather(self._answers, ids), "scores": scores}

    def _region_specs(self) -> tuple[tf.TensorSpec, ...]:
        images = self._model.images_per_scene
        lead = [None] if images == 1 else [None, images]
        size = self._model.config.region_feature_size
        return (
            tf.TensorSpec([*lead, None, size], tf.float32, "region_features"),
            tf.TensorSpec([*lead, None, 4], tf.float32, "region_boxes"),
            tf.TensorSpec(lead, tf.int32, "region_count"),
        )


def concrete(function, *specs: tf.TensorSpec) -> tf.types.experimental.ConcreteFunction:
    """A function's graph for inputs of these specs."""
    with without_gradients():
        return graph_function(function).get_concrete_function(*specs)


def shared_graph(function, *specs: tf.TensorSpec):
    """A function that is traced once, for inputs of these specs, whichever signatures call it."""
    graph = tf.function(function, input_signature=specs, autograph=False)
    # A plain function, because a SavedModel would have the other as a method, traced once more.
    return lambda *inputs: graph(*inputs)


def graph_function(function):
    """A function that is traced when it is called."""
    # AutoGraph would rewrite all that is called first, and nothing in it is for AutoGraph.
    return tf.function(function, autograph=False)


def region_mask(region_count, region_features):
    """Which regions are there, int32 [..., R] of counts [...] and features [..., R, F].

    Raises:
        InvalidArgumentError: when run, on a count that the features cannot hold.
    """
    regions = tf.shape(region_features)[-2]
    fits = [
        tf.debugging.assert_less_equal(
            region_count, regions, message="region_count is larger than region_features holds"
        ),
        tf.debugging.assert_non_negative(region_count, message="region_count is negative"),
    ]
    with tf.control_dependencies(fits):
        return tf.sequence_mask(region_count, regions, tf.int32)


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


class PairModule(SceneModule):
    """Judges statements about two images; the statement is what is called the question.

    Args:
        model: an `LxmertPairClassifier`; see `SceneModule`, also for the other arguments.
    """

    _model: LxmertPairClassifier

    def __init__(self, model: LxmertPairClassifier, max_length: int = 20, top_k: int = 5):
        super().__init__(model, max_length, top_k)
        features, boxes, _ = self._region_specs()
        regions = {
            "region_features": features,
            "region_boxes": boxes,
            "region_mask": tf.TensorSpec([None, 2, None], tf.int32),
        }
        self._judge = shared_graph(self._judged, tf.TensorSpec([None], tf.string), regions)

    def probabilities(self, question, regions):
        """One of both is right: the softmax of the logits."""
        return self._judge(question, regions)

    def _judged(self, question, regions):
        text = self._preprocessor(question)
        return tf.nn.softmax(self._model({**text, **regions}, output_attentions=False))
