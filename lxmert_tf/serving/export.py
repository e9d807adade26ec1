"""Export of answer models as SavedModels that an unmodified TensorFlow Serving loads."""

import importlib.util
import pathlib
from typing import TYPE_CHECKING, Any

import tensorflow as tf

from lxmert_tf.atomic_write import atomic_directory, check_replaceable
from lxmert_tf.data.sidecars import write_extractor
from lxmert_tf.errors import InputError
from lxmert_tf.models.presets import PresetModel
from lxmert_tf.serving.layout import EXTRA, SAVED_MODEL_GRAPH
from lxmert_tf.serving.signatures import ServedModule, make_served_module
from lxmert_tf.serving.warmup import write_warmup

# Of the weights of a SavedModel.
PRECISIONS = ("float32", "bfloat16")

if TYPE_CHECKING:
    from lxmert_tf.detector.detector import Detector


def export_answer_model(
    model: PresetModel, directory, max_length: int = 20, top_k: int = 5
) -> None:
    """Write a SavedModel with the signatures of `AnswerModule` or `PairModule`.

    Args:
        model: An `LxmertAnswerClassifier` or `LxmertPairClassifier` with its vocabulary and
            answers. Its extractor's config, if there is one, is stored in `assets.extra`.
        directory: Where to write.
        max_length: Word pieces per question, with [CLS] and [SEP]; at least 3.
        top_k: Answers per question, at least 1.

    Raises:
        InputError: The model is of another class or lacks a part, or a number is too small.
    """
    _write_module(make_served_module(model, max_length, top_k), model.extractor, directory)


def export_version(
    model: PresetModel,
    directory,
    precision: str = "float32",
    max_length: int = 20,
    top_k: int = 5,
    detector: "Detector | None" = None,
) -> None:
    """Write a SavedModel for a server, complete or not at all.

    Warm-up requests are added if the package tensorflow-serving-api is installed.

    Args:
        model: An `LxmertAnswerClassifier` or `LxmertPairClassifier` with its vocabulary and
            answers.
        directory: A new directory, NAME/VERSION for TensorFlow Serving, or a URL; parents are
            made.
        precision: "float32" or "bfloat16"; see `cast_weights`.
        max_length: Word pieces per question, with [CLS] and [SEP]; at least 3.
        top_k: Answers per question, at least 1.
        detector: The detector whose features the model reads. The SavedModel then takes pictures,
            too; see `PictureModule`. The detector keeps its own precision.

    Raises:
        InputError: The model is of another class or lacks a part, the directory exists, the
            precision is unknown, a number is too small, or the model reads features of another size
            than the detector's.

    Example:
        ```python
        export_version(load_preset("presets/vqa"), "saved_models/vqa/1")
        ```
    """
    check_replaceable(directory)
    model = cast_weights(model, precision)
    module = _make_module(model, detector, max_length, top_k)
    # A server that watches the parent ignores the unfinished folder: its name is no number.
    with atomic_directory(directory, last=SAVED_MODEL_GRAPH) as unfinished:
        # The detector takes the place of the extractor.
        _write_module(module, None if detector else model.extractor, unfinished)
        if importlib.util.find_spec("tensorflow_serving"):
            write_warmup(unfinished, model, takes_pictures=detector is not None)


def cast_weights(model: PresetModel, precision: str) -> PresetModel:
    """Return a model with its weights cast to a precision.

    Products are rounded as under Keras' policy mixed_bfloat16, which casts every weight in every
    call; here each weight is cast once, and takes half the memory.

    Args:
        model: The model, of any dtype policy.
        precision: "float32" or "bfloat16". LayerNorms stay float32.

    Returns:
        The model itself if it has this precision already.

    Raises:
        InputError: The precision is unknown.
    """
    if precision not in PRECISIONS:
        raise InputError(
            f"precision is {precision!r}; a SavedModel has one of {', '.join(PRECISIONS)}"
        )
    if model.dtype_policy.name == precision:
        return model
    cast = type(model).from_config({**model.get_config(), "dtype": precision})
    for target, source in zip(cast.variables, model.variables, strict=True):
        target.assign(tf.cast(source, target.dtype))
    return cast


def _make_module(
    model: PresetModel, detector: "Detector | None", max_length: int, top_k: int
) -> ServedModule:
    if detector is None:
        return make_served_module(model, max_length, top_k)
    # Imported here: exports without a detector do not wait for it.
    from lxmert_tf.serving.picture_module import make_picture_module

    return make_picture_module(model, detector, max_length, top_k)


def _write_module(module: ServedModule, extractor: dict[str, Any] | None, directory) -> None:
    tf.saved_model.save(module, str(directory), signatures=module.signatures())
    if extractor is not None:
        extra = pathlib.Path(directory) / EXTRA
        extra.mkdir(exist_ok=True)
        write_extractor(extra, extractor)
