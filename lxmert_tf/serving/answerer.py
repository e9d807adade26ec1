"""Answers to questions about a picture, from a model on disk."""

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


class Answerer:
    """Loads a model once and answers any number of questions.

    Args:
        directory: a SavedModel, a folder of numbered versions of one (the highest is taken), or
            a preset of an answer model.

    Raises:
        InputError: there is no such model, or it does not say what made its regions.
    """

    def __init__(self, directory):
        self.directory = find_model(directory)
        load = _load_preset if (self.directory / "preset.json").exists() else _load_saved_model
        # The model itself is kept too: its functions know it by a weak reference only.
        self._model, self._encode_image, self._answer, extractor = load(self.directory)
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
            InputError: a question is empty.
        """
        for number, question in enumerate(questions, start=1):
            if not question.strip():
                raise InputError(f"question {number} is empty; ask in words")
        regions = self._extractor.extract(image)
        state = self._encode_image(
            region_features=tf.constant(regions.features[np.newaxis], tf.float32),
            region_boxes=tf.constant(regions.boxes[np.newaxis], tf.float32),
            region_count=tf.constant([len(regions)], tf.int32),
        )["image_state"]
        best = self._answer(question=tf.constant(list(questions)), image_state=state)
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
        encode_image = model.signatures["encode_image"]
        answer = model.signatures["answer_about_image"]
    except KeyError as error:
        raise InputError(
            f"{directory}: has no signature {error}; questions about a picture are for the export "
            "of an answer model, not of one for two images"
        ) from error
    except (OSError, ValueError, tf.errors.OpError) as error:
        reason = str(error).strip().splitlines()[0]
        raise InputError(f"{directory}: the SavedModel cannot be loaded: {reason}") from error
    path = directory / EXTRA / EXTRACTOR
    return model, encode_image, answer, read_mapping(path) if path.exists() else None


def _load_preset(directory: pathlib.Path):
    from lxmert_tf.presets import load_preset
    from lxmert_tf.serving.answer_module import AnswerModule
    from lxmert_tf.tasks.answering import LxmertAnswerClassifier

    model = load_preset(directory)
    if not isinstance(model, LxmertAnswerClassifier):
        raise InputError(
            f"{directory}: a {type(model).__name__} answers no questions about a picture; "
            "fine-tune it on some"
        )
    try:
        module = AnswerModule(model)
    except ValueError as error:
        raise InputError(f"{directory}: {error}") from error
    return module, module.encode_image, module.answer_about_image, model.extractor
