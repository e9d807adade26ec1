"""Answers to questions about a picture, or to statements about two, from a model on disk."""

import functools
import pathlib
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from lxmert_tf.config_file import read_mapping
from lxmert_tf.data.extractor_file import EXTRACTOR
from lxmert_tf.errors import InputError
from lxmert_tf.regions.registry import make_extractor
from lxmert_tf.serving.export import EXTRA
from lxmert_tf.serving.pair_regions import pair_regions
from lxmert_tf.serving.saved_model_session import SavedModelSession

# Arrays by name in and out: a signature of a SavedModel, or what would be exported as one.
Signature = Callable[[dict[str, Any]], dict[str, np.ndarray]]


class Answerer:
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
    from lxmert_tf.presets import load_preset
    from lxmert_tf.serving.export import served_module
    from lxmert_tf.tasks.answering import LxmertAnswerClassifier
    from lxmert_tf.tasks.pair_classification import LxmertPairClassifier

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
    from lxmert_tf.serving.scene_module import graph_function

    function = graph_function(method)

    def call(inputs):
        outputs = function(**{name: tf.constant(value) for name, value in inputs.items()})
        return {name: tensor.numpy() for name, tensor in outputs.items()}

    return call
