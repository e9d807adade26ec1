"""A preset's model as one version of a served model, whole or not at all."""

import importlib.util
import os
import pathlib
import shutil
import tempfile

from lxmert_tf.errors import InputError
from lxmert_tf.presets import PresetModel
from lxmert_tf.serving.export import export_answer_model
from lxmert_tf.serving.precision import in_precision
from lxmert_tf.serving.warmup import write_warmup
from lxmert_tf.tasks.answering import LxmertAnswerClassifier
from lxmert_tf.tasks.pair_classification import LxmertPairClassifier


def export_version(
    model: PresetModel, directory, precision: str = "float32", max_length: int = 20, top_k: int = 5
) -> None:
    """Writes a SavedModel, with warm-up requests where tensorflow-serving-api is installed.

    Args:
        model: one that answers questions or judges statements.
        directory: a new one, NAME/VERSION for TensorFlow Serving; parents are made.
        precision: see `in_precision`.
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
        export_answer_model(in_precision(model, precision), fresh, max_length, top_k)
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
