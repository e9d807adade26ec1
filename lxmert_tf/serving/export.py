"""Answer models as SavedModels that stock TensorFlow Serving loads."""

import importlib.util
import os
import pathlib
import shutil
import tempfile

import tensorflow as tf

from lxmert_tf.data.sidecars import write_extractor
from lxmert_tf.errors import InputError
from lxmert_tf.models.answer_classifier import LxmertAnswerClassifier
from lxmert_tf.models.pair_classifier import LxmertPairClassifier
from lxmert_tf.models.presets import PresetModel
from lxmert_tf.serving.model_card import EXTRA
from lxmert_tf.serving.signatures import AnswerModule, PairModule, SceneModule
from lxmert_tf.serving.warmup import write_warmup


def export_answer_model(
    model: LxmertAnswerClassifier | LxmertPairClassifier,
    directory,
    max_length: int = 20,
    top_k: int = 5,
) -> None:
    """Writes a SavedModel with the signatures of `AnswerModule`, or `PairModule` for two images.

    Args:
        model: with its vocabulary and answers, and maybe the config of its extractor.
        directory: where.
        max_length, top_k: see `SceneModule`.
    """
    module = served_module(model, max_length, top_k)
    tf.saved_model.save(module, str(directory), signatures=module.signatures())
    if model.extractor is not None:
        extra = pathlib.Path(directory) / EXTRA
        extra.mkdir(exist_ok=True)
        write_extractor(extra, model.extractor)


def served_module(
    model: LxmertAnswerClassifier | LxmertPairClassifier, max_length: int = 20, top_k: int = 5
) -> SceneModule:
    """The functions that become a model's signatures; arguments and errors of `SceneModule`."""
    served = PairModule if isinstance(model, LxmertPairClassifier) else AnswerModule
    return served(model, max_length, top_k)


def export_version(
    model: PresetModel, directory, precision: str = "float32", max_length: int = 20, top_k: int = 5
) -> None:
    """Writes a SavedModel, with warm-up requests where tensorflow-serving-api is installed.

    Args:
        model: one that answers questions or judges statements.
        directory: a new one, NAME/VERSION for TensorFlow Serving; parents are made.
        precision: see `cast_weights`.
        max_length, top_k: see `SceneModule`; at least 3 and 1.

    Raises:
        InputError: the model gives no answers or lacks its words, the directory is there already,
            or a number is too small.
    """
    directory = pathlib.Path(directory)
    _check(model, directory, max_length, top_k)
    directory.parent.mkdir(parents=True, exist_ok=True)
    # A server that watches the parent takes no folder for a version whose name is no number.
    fresh = pathlib.Path(tempfile.mkdtemp(prefix=f".{directory.name}-", dir=directory.parent))
    try:
        export_answer_model(cast_weights(model, precision), fresh, max_length, top_k)
        if importlib.util.find_spec("tensorflow_serving"):
            write_warmup(fresh, model)
        # mkdtemp makes directories for the owner alone; servers read this one.
        fresh.chmod(0o755)
        os.rename(fresh, directory)
    finally:
        shutil.rmtree(fresh, ignore_errors=True)


def _check(model: PresetModel, directory: pathlib.Path, max_length: int, top_k: int) -> None:
    if not isinstance(model, (LxmertAnswerClassifier, LxmertPairClassifier)):
        raise InputError(
            f"the preset is of {type(model).__name__}, which gives no answers; "
            "fine-tune it first (lxmert finetune)"
        )
    if model.vocabulary is None or model.answers is None:
        raise InputError("the preset has no vocab.txt or no answers.txt; a served model needs both")
    if directory.exists():
        raise InputError(f"{directory}: exists already; name a new directory")
    if max_length < 3 or top_k < 1:
        raise InputError(
            f"max length {max_length} and top k {top_k}: at least 3 and 1 are needed "
            "([CLS], a word piece and [SEP]; one answer)"
        )


def cast_weights(model: PresetModel, precision: str) -> PresetModel:
    """The same model with weights of `precision`.

    Products are rounded as under Keras' policy mixed_bfloat16, which casts every weight in every
    call; a twin in bfloat16 has cast them once, and is half as large.

    Args:
        model: of any policy.
        precision: "float32" or "bfloat16", a Keras policy. LayerNorms stay float32.
    """
    twin = type(model).from_config({**model.get_config(), "dtype": precision})
    for ours, theirs in zip(twin.variables, model.variables, strict=True):
        ours.assign(tf.cast(theirs, ours.dtype))
    return twin
