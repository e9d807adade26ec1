"""A picture and sentences as a preset's model wants them."""

import functools
import pathlib
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from lxmert_tf.config_file import read_mapping
from lxmert_tf.data.sidecars import EXTRACTOR
from lxmert_tf.errors import InputError
from lxmert_tf.models.presets import PresetModel
from lxmert_tf.models.text_preprocessor import LxmertTextPreprocessor
from lxmert_tf.regions.extractor import RegionExtractor, Regions
from lxmert_tf.regions.registry import make_extractor
from lxmert_tf.serving.model_card import EXTRA
from lxmert_tf.serving.session import SavedModelSession

# Word pieces per sentence, with [CLS] and [SEP], as published.
MAX_LENGTH = 20


class PicturePreprocessor:
    """Makes model inputs by the extractor and the vocabulary that a model came with.

    Args:
        model: out of a preset.
        directory: the preset's, for messages.

    Raises:
        InputError: the model came without one of them, or the extractor is not the model's.
    """

    def __init__(self, model: PresetModel, directory):
        if model.vocabulary is None:
            raise InputError(f"{directory}: has no vocabulary, so it cannot read a sentence")
        if model.extractor is None:
            raise InputError(
                f"{directory}: does not say which extractor made the regions it was trained "
                "on, so it cannot look at a picture"
            )
        self.extractor = make_extractor(model.extractor)
        given, wanted = self.extractor.feature_size, model.config.region_feature_size
        if given != wanted:
            raise InputError(
                f"{directory}: its extractor gives {given} features per region, "
                f"but config.region_feature_size is {wanted}"
            )
        length = min(MAX_LENGTH, model.config.max_position_embeddings)
        try:
            self._text = LxmertTextPreprocessor(model.vocabulary, length, pad_to_longest=True)
        except ValueError as error:
            raise InputError(f"{directory}: {error}") from error

    def region_inputs(self, regions: Regions) -> dict[str, tf.Tensor]:
        """The image's part of a batch of one: features [1, R, F], boxes [1, R, 4], mask [1, R]."""
        return {
            "region_features": tf.constant(regions.features[np.newaxis], tf.float32),
            "region_boxes": tf.constant(regions.boxes[np.newaxis], tf.float32),
            "region_mask": tf.ones([1, len(regions)], tf.int32),
        }

    def text_inputs(self, sentences: Sequence[str]) -> dict[str, tf.Tensor]:
        """The sentences' part of a batch, int32 [B, T]; see `LxmertTextPreprocessor`."""
        return self._text(tf.constant(list(sentences), tf.string))


def check_sentences(sentences: Sequence[str]) -> None:
    """Refuses sentences without words.

    Raises:
        InputError: there is one, which its number tells.
    """
    for number, sentence in enumerate(sentences, start=1):
        if not sentence.strip():
            raise InputError(f"sentence {number} is empty; describe the picture in words")


def pair_regions(
    extractor: RegionExtractor, left: np.ndarray, right: np.ndarray, statements: int
) -> dict[str, np.ndarray]:
    """Extracts and pads the regions of two pictures.

    Args:
        extractor: the model's.
        left, right: uint8 [height, width, 3].
        statements: B, about these pictures.

    Returns:
        `region_features` float32 [B, 2, R, F], `region_boxes` float32 [B, 2, R, 4] and
        `region_count` int32 [B, 2].
    """
    images = [extractor.extract(left), extractor.extract(right)]
    count = np.array([len(regions) for regions in images], np.int32)
    features = np.zeros([2, count.max(), extractor.feature_size], np.float32)
    boxes = np.zeros([2, count.max(), 4], np.float32)
    for number, regions in enumerate(images):
        features[number, : len(regions)] = regions.features
        boxes[number, : len(regions)] = regions.boxes
    return {
        "region_features": np.stack([features] * statements),
        "region_boxes": np.stack([boxes] * statements),
        "region_count": np.stack([count] * statements),
    }


# Arrays by name in and out: a signature of a SavedModel, or what would be exported as one.
Signature = Callable[[dict[str, Any]], dict[str, np.ndarray]]


class Predictor:
    """Loads a model once and answers any number of questions.

    Args:
        directory: a SavedModel, a folder of numbered versions of one (the highest is taken), or
            a preset of an answer model or of a pair classifier.

    Raises:
        InputError: there is no such model, or it does not say what made its regions.
    """

    def __init__(self, directory):
        self.directory = find_model(directory)
        load = _load_preset if (self.directory / "preset.json").exists() else _load_saved_model
        self._call, extractor = load(self.directory)
        if extractor is None:
            raise InputError(
                f"{self.directory}: does not say which extractor made the regions it was trained "
                "on, so it cannot be asked about a picture"
            )
        self._extractor = make_extractor(extractor)

    def ask(self, image: np.ndarray, questions: Sequence[str]) -> list[list[tuple[str, float]]]:
        """Answers questions about one picture.

        Args:
            image: uint8 [height, width, 3].
            questions: in words.

        Returns:
            for each question its best answers with their scores in 0..1, best first.

        Raises:
            InputError: a question is empty, or the model judges statements about two pictures.
        """
        _check_words(questions)
        if "encode_image" not in self._call:
            raise InputError(f"{self.directory}: judges statements about two pictures; name both")
        regions = self._extractor.extract(image)
        state = self._call["encode_image"](
            {
                "region_features": regions.features[np.newaxis].astype(np.float32),
                "region_boxes": regions.boxes[np.newaxis].astype(np.float32),
                "region_count": np.array([len(regions)], np.int32),
            }
        )
        return _rows(self._call["answer_about_image"]({"question": list(questions), **state}))

    def judge(
        self, left: np.ndarray, right: np.ndarray, statements: Sequence[str]
    ) -> list[list[tuple[str, float]]]:
        """Judges statements about two pictures.

        Args:
            left, right: uint8 [height, width, 3].
            statements: in words.

        Returns:
            for each statement "True" and "False" with their scores, the likelier first.

        Raises:
            InputError: a statement is empty, or the model answers questions about one picture.
        """
        _check_words(statements)
        if "encode_image" in self._call:
            raise InputError(f"{self.directory}: answers questions about one picture; name one")
        regions = pair_regions(self._extractor, left, right, len(statements))
        return _rows(self._call["serving_default"]({"question": list(statements), **regions}))


def _check_words(questions: Sequence[str]) -> None:
    for number, question in enumerate(questions, start=1):
        if not question.strip():
            raise InputError(f"question {number} is empty; ask in words")


def _rows(best: dict[str, np.ndarray]) -> list[list[tuple[str, float]]]:
    rows = zip(best["answers"], best["scores"])
    return [[(a.decode(), float(s)) for a, s in zip(*row)] for row in rows]


def find_model(directory) -> pathlib.Path:
    """The model that a path means: itself, or the highest of its numbered versions."""
    directory = pathlib.Path(directory)
    if not directory.is_dir():
        raise InputError(f"{directory}: no such directory; name a SavedModel or a preset")
    versions = [d for d in directory.iterdir() if d.name.isdigit() and _is_saved_model(d)]
    if versions:
        return max(versions, key=lambda version: int(version.name))
    if _is_saved_model(directory) or (directory / "preset.json").exists():
        return directory
    raise InputError(f"{directory}: holds neither a SavedModel nor a preset")


def _is_saved_model(directory: pathlib.Path) -> bool:
    return (directory / "saved_model.pb").is_file()


def _load_saved_model(directory: pathlib.Path):
    session = SavedModelSession(directory)
    if "serving_default" not in session.specs:
        raise InputError(f"{directory}: has no signature 'serving_default'; export an answer model")
    call = {name: functools.partial(session.run, name) for name in session.specs}
    path = directory / EXTRA / EXTRACTOR
    return call, read_mapping(path) if path.exists() else None


def _load_preset(directory: pathlib.Path):
    from lxmert_tf.models.answer_classifier import LxmertAnswerClassifier
    from lxmert_tf.models.pair_classifier import LxmertPairClassifier
    from lxmert_tf.models.presets import load_preset
    from lxmert_tf.serving.export import served_module

    model = load_preset(directory)
    if not isinstance(model, LxmertAnswerClassifier | LxmertPairClassifier):
        raise InputError(
            f"{directory}: a {type(model).__name__} answers no questions about a picture; "
            "fine-tune it on some"
        )
    try:
        module = served_module(model)
    except ValueError as error:
        raise InputError(f"{directory}: {error}") from error
    call = {"serving_default": _with_arrays(module.answer)}
    if isinstance(model, LxmertAnswerClassifier):
        call["encode_image"] = _with_arrays(module.encode_image)
        call["answer_about_image"] = _with_arrays(module.answer_about_image)
    return call, model.extractor


def _with_arrays(method: Callable[..., dict[str, tf.Tensor]]) -> Signature:
    from lxmert_tf.serving.signatures import graph_function

    function = graph_function(method)

    def call(inputs):
        outputs = function(**{name: tf.constant(value) for name, value in inputs.items()})
        return {name: tensor.numpy() for name, tensor in outputs.items()}

    return call
