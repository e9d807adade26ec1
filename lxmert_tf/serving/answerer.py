"""Answers to questions about a picture, or to statements about two, from a model on disk."""

import pathlib
from collections.abc import Sequence

import numpy as np
import tensorflow as tf
import tensorflow_text  # noqa: F401  (registers the tokenizer's ops, which a SavedModel contains)

from lxmert_tf.config_file import read_mapping
from lxmert_tf.data.extractor_file import EXTRACTOR
from lxmert_tf.errors import InputError
from lxmert_tf.regions.registry import make_extractor
from lxmert_tf.serving.export import EXTRA
from lxmert_tf.serving.pair_regions import pair_regions


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
        # The model itself is kept too: its functions know it by a weak reference only.
        self._model, self._functions, extractor = load(self.directory)
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
        if "encode_image" not in self._functions:
            raise InputError(f"{self.directory}: judges statements about two pictures; name both")
        regions = self._extractor.extract(image)
        state = self._functions["encode_image"](
            region_features=tf.constant(regions.features[np.newaxis], tf.float32),
            region_boxes=tf.constant(regions.boxes[np.newaxis], tf.float32),
            region_count=tf.constant([len(regions)], tf.int32),
        )["image_state"]
        answer = self._functions["answer_about_image"]
        return _rows(answer(question=tf.constant(list(questions)), image_state=state))

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
        if "encode_image" in self._functions:
            raise InputError(f"{self.directory}: answers questions about one picture; name one")
        regions = pair_regions(self._extractor, left, right, len(statements))
        inputs = {name: tf.constant(value) for name, value in regions.items()}
        judge = self._functions["serving_default"]
        return _rows(judge(question=tf.constant(list(statements)), **inputs))


def _check_words(questions: Sequence[str]) -> None:
    for number, question in enumerate(questions, start=1):
        if not question.strip():
            raise InputError(f"question {number} is empty; ask in words")


def _rows(best: dict[str, tf.Tensor]) -> list[list[tuple[str, float]]]:
    rows = zip(best["answers"].numpy(), best["scores"].numpy())
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
    try:
        model = tf.saved_model.load(str(directory))
    except (OSError, ValueError, tf.errors.OpError) as error:
        reason = str(error).strip().splitlines()[0]
        raise InputError(f"{directory}: the SavedModel cannot be loaded: {reason}") from error
    if "serving_default" not in model.signatures:
        raise InputError(f"{directory}: has no signature 'serving_default'; export an answer model")
    path = directory / EXTRA / EXTRACTOR
    return model, model.signatures, read_mapping(path) if path.exists() else None


def _load_preset(directory: pathlib.Path):
    from lxmert_tf.presets import load_preset
    from lxmert_tf.serving.export import served_module
    from lxmert_tf.serving.scene_module import graph_function
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
    functions = {"serving_default": graph_function(module.answer)}
    if isinstance(model, LxmertAnswerClassifier):
        functions["encode_image"] = graph_function(module.encode_image)
        functions["answer_about_image"] = graph_function(module.answer_about_image)
    return module, functions, model.extractor
