"""Answer models as SavedModels that stock TensorFlow Serving loads."""

import pathlib

import tensorflow as tf

from lxmert_tf.data.extractor_file import write_extractor
from lxmert_tf.serving.answer_module import AnswerModule
from lxmert_tf.serving.pair_module import PairModule
from lxmert_tf.serving.scene_module import SceneModule
from lxmert_tf.tasks.answering import LxmertAnswerClassifier
from lxmert_tf.tasks.pair_classification import LxmertPairClassifier

# TensorFlow Serving leaves this folder alone; `lxmert ask` finds the extractor in it.
EXTRA = "assets.extra"


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
