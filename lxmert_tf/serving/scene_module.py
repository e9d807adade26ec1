"""What all served models have in common: words and regions in, answers with scores out."""

import tensorflow as tf

from lxmert_tf.data import schema
from lxmert_tf.layers.own_gradient import without_gradients
from lxmert_tf.presets import PresetModel
from lxmert_tf.text import LxmertTextPreprocessor


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
