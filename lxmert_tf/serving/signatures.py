"""The signatures of exported models: questions and regions in, answers with scores out."""

from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf

from lxmert_tf.data import schema
from lxmert_tf.data.scene_tensors import decode_regions, distinct_regions, parse_scenes
from lxmert_tf.errors import InputError
from lxmert_tf.models.answer_classifier import LxmertAnswerClassifier
from lxmert_tf.models.pair_classifier import LxmertPairClassifier
from lxmert_tf.models.presets import PresetModel
from lxmert_tf.models.text_preprocessor import LxmertTextPreprocessor
from lxmert_tf.serving.input_spec import check_signature


class ServedModule(tf.Module):
    """The part that all served models share; uses only ops of TensorFlow and TF-Text.

    A subclass computes the probabilities of the answers, and may add signatures. The signatures
    share the graph of the model (see `shared_graph`), because a SavedModel loads as fast as it
    has few operations. Methods are plain functions: of a `tf.function`, a SavedModel would hold
    a second copy as a method.

    Args:
        model: The model, with its vocabulary and answers.
        max_length: Word pieces per question, with [CLS] and [SEP]; at least 3.
        top_k: Answers per question, at least 1; fewer if the answer table is smaller.

    Raises:
        InputError: The model has no vocabulary or no answers, or a number is too small.
    """

    _model: PresetModel
    _traced: dict[str, tf.types.experimental.ConcreteFunction]

    def __init__(self, model: PresetModel, max_length: int = 20, top_k: int = 5):
        super().__init__(name="lxmert_answers")
        if model.vocabulary is None:
            raise InputError("the model has no vocabulary, which serving needs")
        if model.answers is None:
            raise InputError(
                "the answers of the model have no names; name them with --answers FILE"
            )
        if max_length < 3 or top_k < 1:
            raise InputError(
                f"max length is {max_length} and top k is {top_k}; they must be at least 3 "
                "([CLS], a word piece, [SEP]) and 1"
            )
        # Only the variables are tracked: of a tracked Keras model, a SavedModel would hold a trace
        # of every layer, and take twice as long to write and to load.
        object.__setattr__(self, "_model", model)
        object.__setattr__(self, "_traced", {})
        self._model_variables = model.variables
        self._top_k = min(top_k, len(model.answers))
        self._answers = tf.constant(model.answers)
        length = min(max_length, model.config.max_position_embeddings)
        # Padding to the longest question of a request saves work and changes no result.
        self._preprocessor = LxmertTextPreprocessor(model.vocabulary, length, pad_to_longest=True)

    def signatures(self) -> dict[str, tf.types.experimental.ConcreteFunction]:
        """Return all signatures by name, for any batch size and number of regions."""
        return {name: self._signature(name) for name in self._methods()}

    def call(self, signature: str, inputs: dict[str, Any]) -> dict[str, np.ndarray]:
        """Call a signature on arrays, without exporting the model.

        Args:
            signature: Name of the signature.
            inputs: Arrays, or what NumPy makes arrays of, by name.

        Returns:
            The outputs by name; texts are bytes objects.

        Raises:
            InputError: There is no such signature.
        """
        check_signature(signature, self._methods())
        _, specs = self._methods()[signature]
        tensors = {spec.name: tf.constant(inputs[spec.name], spec.dtype) for spec in specs}
        outputs = self._signature(signature)(**tensors)
        return {name: tensor.numpy() for name, tensor in outputs.items()}

    def answer(self, question, region_features, region_boxes, region_count):
        """Answer one question per scene. The shapes with I are of scenes with I images.

        Args:
            question: string [B].
            region_features: float32 [B, R, F] or [B, I, R, F].
            region_boxes: float32 [B, R, 4] or [B, I, R, 4], in 0..1.
            region_count: int32 [B] or [B, I]: number of regions; the rest is padding.

        Returns:
            `answers` string [B, k] and `scores` float32 [B, k] in 0..1, best first.
        """
        regions = {
            "region_features": region_features,
            "region_boxes": region_boxes,
            "region_mask": region_mask(region_count, region_features),
        }
        return self._best(self._probabilities(question, regions))

    def answer_examples(self, examples):
        """Answer the question of each serialized scene.

        Args:
            examples: string [B]: scenes in the flat layout, with one sentence each.

        Returns:
            `answers` and `scores` as from `answer`, and `probabilities` float32 [B, A] in the
            order of the answer table.
        """
        scenes = parse_scenes(examples)
        flat = tf.debugging.assert_equal(
            scenes[schema.SENTENCE_TEXT].row_lengths(),
            tf.constant(1, tf.int64),
            message="a scene here must have one sentence (the flat layout)",
        )
        with tf.control_dependencies([flat]):
            question = tf.identity(scenes[schema.SENTENCE_TEXT].flat_values)
        probabilities = self._scene_probabilities(question, scenes)
        return {**self._best(probabilities), "probabilities": probabilities}

    def _probabilities(self, question, regions):
        """Return the probability of each answer, float32 [B, A].

        Args:
            question: string [B].
            regions: `region_features`, `region_boxes` and `region_mask` of the scenes.
        """
        raise NotImplementedError

    def _scene_probabilities(self, question, scenes):
        """Return the probability of each answer, float32 [B, A].

        Args:
            question: string [B].
            scenes: From `parse_scenes`.
        """
        regions = decode_regions(scenes, images_per_scene=self._model.images_per_scene)
        return self._probabilities(question, regions)

    def _methods(self) -> dict[str, tuple[Callable, tuple[tf.TensorSpec, ...]]]:
        """Return the method behind each signature and the specs of its arguments."""
        question = tf.TensorSpec([None], tf.string, "question")
        examples = tf.TensorSpec([None], tf.string, "examples")
        return {
            "serving_default": (self.answer, (question, *self._region_specs())),
            "serve_examples": (self.answer_examples, (examples,)),
        }

    def _signature(self, name: str) -> tf.types.experimental.ConcreteFunction:
        if name not in self._traced:
            method, specs = self._methods()[name]
            self._traced[name] = plain_graph(method).get_concrete_function(*specs)
        return self._traced[name]

    def _region_specs(self) -> tuple[tf.TensorSpec, ...]:
        images = self._model.images_per_scene
        batch = [None] if images == 1 else [None, images]
        size = self._model.config.region_feature_size
        return (
            tf.TensorSpec([*batch, None, size], tf.float32, "region_features"),
            tf.TensorSpec([*batch, None, 4], tf.float32, "region_boxes"),
            tf.TensorSpec(batch, tf.int32, "region_count"),
        )

    def _best(self, probabilities):
        scores, ids = tf.math.top_k(probabilities, self._top_k)
        return {"answers": tf.gather(self._answers, ids), "scores": scores}


class AnswerModule(ServedModule):
    """Answers questions about images.

    An image can be encoded once for many questions, and a question for many images. Within a
    request, equal questions are encoded once.

    Args:
        model: The model.
        max_length: See `ServedModule`.
        top_k: See `ServedModule`.
    """

    _model: LxmertAnswerClassifier

    def __init__(self, model: LxmertAnswerClassifier, max_length: int = 20, top_k: int = 5):
        super().__init__(model, max_length, top_k)
        features, boxes, _ = self._region_specs()
        mask = tf.TensorSpec([None, None], tf.int32)
        state = tf.TensorSpec([None, None, model.config.hidden_size], model.compute_dtype)
        self._encode = shared_graph(model.encode_image, features, boxes, mask)
        self._read = shared_graph(self._read_questions, tf.TensorSpec([None], tf.string))
        self._relate = shared_graph(self._relate_states, state, mask, state, mask)

    def encode_image(self, region_features, region_boxes, region_count):
        """Return what depends on the images alone; arguments as for `answer`.

        Returns:
            `image_state` float32 [B, R, H]; zeros in place of padding.
        """
        mask = region_mask(region_count, region_features)
        state = self._encode(region_features, region_boxes, mask)
        return {"image_state": _without_padding(state, mask)}

    def encode_question(self, question):
        """Return what depends on the questions alone.

        Args:
            question: string [B].

        Returns:
            `question_state` float32 [B, T, H]; zeros in place of padding.
        """
        return {"question_state": _without_padding(*self._read(question))}

    def answer_about_image(self, question, image_state):
        """Answer any number of questions about one image.

        Args:
            question: string [Q].
            image_state: float32 [1, R, H], from `encode_image`.

        Returns:
            `answers` string [Q, k] and `scores` float32 [Q, k], best first.
        """
        questions = tf.shape(question)[0]
        state = tf.cast(tf.repeat(image_state, questions, axis=0), self._model.compute_dtype)
        mask = tf.repeat(_mask_of(image_state), questions, axis=0)
        return self._best(self._score(question, state, mask))

    def answer_pairs(self, question_state, image_state):
        """Answer a question about an image, both encoded, in each row.

        Args:
            question_state: float32 [B, T, H], from `encode_question`; rows of requests with fewer
                word pieces are padded with zeros.
            image_state: float32 [B, R, H], from `encode_image`, padded likewise.

        Returns:
            `answers` string [B, k] and `scores` float32 [B, k], best first.
        """
        same = tf.debugging.assert_equal(
            tf.shape(question_state)[0],
            tf.shape(image_state)[0],
            message="question_state and image_state differ in batch size",
        )
        with tf.control_dependencies([same]):
            sides = [
                side
                for state in (question_state, image_state)
                for side in (tf.cast(state, self._model.compute_dtype), _mask_of(state))
            ]
        return self._best(self._relate(*sides))

    def _methods(self):
        size = self._model.config.hidden_size
        question = tf.TensorSpec([None], tf.string, "question")
        one_image = tf.TensorSpec([1, None, size], tf.float32, "image_state")
        states = [
            tf.TensorSpec([None, None, size], tf.float32, name)
            for name in ("question_state", "image_state")
        ]
        return {
            **super()._methods(),
            "encode_image": (self.encode_image, self._region_specs()),
            "encode_question": (self.encode_question, (question,)),
            "answer_about_image": (self.answer_about_image, (question, one_image)),
            "answer_pairs": (self.answer_pairs, tuple(states)),
        }

    def _probabilities(self, question, regions):
        mask = regions["region_mask"]
        state = self._encode(regions["region_features"], regions["region_boxes"], mask)
        return self._score(question, state, mask)

    def _scene_probabilities(self, question, scenes):
        # Flat records repeat an image for each of its questions; it is encoded once.
        first, row = distinct_regions(scenes)
        regions = decode_regions(scenes)
        features, boxes, mask = (
            tf.gather(regions[name], first)
            for name in ("region_features", "region_boxes", "region_mask")
        )
        state = tf.gather(self._encode(features, boxes, mask), row)
        return self._score(question, state, regions["region_mask"])

    def _score(self, question, state, mask):
        return self._relate(*self._read(question), state, mask)

    def _read_questions(self, question):
        """Return the states of questions [B, T, H], and their masks int32 [B, T]."""
        distinct, row = tf.unique(question)
        text = self._preprocessor(distinct)
        state = self._model.encode_question(text)
        return tf.gather(state, row), tf.gather(text["padding_mask"], row)

    def _relate_states(self, question_state, padding_mask, image_state, region_mask):
        return tf.sigmoid(
            self._model.answer_pairs(question_state, padding_mask, image_state, region_mask)
        )


class PairModule(ServedModule):
    """Judges statements about two images; the input named "question" is the statement.

    Args:
        model: The model.
        max_length: See `ServedModule`.
        top_k: See `ServedModule`.
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
        self._judge = shared_graph(self._judge_text, tf.TensorSpec([None], tf.string), regions)

    def _probabilities(self, question, regions):
        return self._judge(question, regions)

    def _judge_text(self, question, regions):
        text = self._preprocessor(question)
        return tf.nn.softmax(
            self._model({**text, **regions}, output_attentions=False, packed=self._model.packs)
        )


def make_served_module(model: PresetModel, max_length: int = 20, top_k: int = 5) -> ServedModule:
    """Return the signatures of a model.

    Args:
        model: An `LxmertAnswerClassifier` or `LxmertPairClassifier`.
        max_length: See `ServedModule`.
        top_k: See `ServedModule`.

    Raises:
        InputError: The model is of another class or lacks a part; see `ServedModule`.
    """
    if isinstance(model, LxmertAnswerClassifier):
        return AnswerModule(model, max_length, top_k)
    if isinstance(model, LxmertPairClassifier):
        return PairModule(model, max_length, top_k)
    raise InputError(
        f"a {type(model).__name__} gives no answers; fine-tune it first (lxmert finetune)"
    )


def region_mask(region_count, region_features):
    """Return a mask of the regions that are not padding.

    Args:
        region_count: int32 [...].
        region_features: float32 [..., R, F].

    Returns:
        int32 [..., R].

    Raises:
        InvalidArgumentError: When run on a negative count or one above R.
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


def _without_padding(state, mask):
    """Return a state as float32 [B, L, H], with zeros in place of padding."""
    return tf.cast(state, tf.float32) * tf.cast(mask, tf.float32)[:, :, tf.newaxis]


def _mask_of(state):
    """Return the mask, int32 [B, L], of what `_without_padding` returned."""
    # A LayerNorm's output is never all zeros, so zeros are padding.
    return tf.cast(tf.reduce_any(tf.not_equal(state, 0), axis=-1), tf.int32)


def shared_graph(function: Callable, *specs) -> Callable:
    """Return a function that is traced once, whichever signatures call it.

    Args:
        function: The function.
        *specs: Specs of its arguments.
    """
    graph = plain_graph(function, specs)
    # A lambda, because a SavedModel would hold a tf.function again, as a method of the module.
    return lambda *inputs: graph(*inputs)


def plain_graph(function: Callable, specs: tuple | None = None):
    """Return a `tf.function` without AutoGraph, which would rewrite every function it calls."""
    return tf.function(function, input_signature=specs, autograph=False)
