"""LXMERT (Tan & Bansal 2019, arXiv 1908.07490), a vision-and-language transformer, in Keras.

Models:
    LxmertConfig              sizes of a model
    LxmertBackbone            token and region features to hidden states
    LxmertPretrainer          the backbone with the heads of all pre-training tasks
    LxmertAnswerClassifier    answers a question about an image (VQA, GQA)
    LxmertPairClassifier      judges a statement about two images (NLVR2)
    LxmertTextPreprocessor    strings to token IDs
    load_preset               loads a model of any class from a directory

Training:
    SoftAnswerLoss, SoftAccuracy     loss and metric for soft answers
    BertAdamW, WarmupLinearDecay     BERT's optimizer and learning rate schedule

Data:
    find_records, read_records                                   TFRecord files of scenes
    example_batches                                              batches of images and sentences
    answer_batches, statement_batches, pretraining_batches       batches for `fit`
    AnswerTable, MaskingRates                                    their settings

Weights of other implementations:
    import_weights, export_weights

Regions of images:
    RegionExtractor, Regions, make_extractor, read_image
    Detector, DetectorConfig    the network that made the published region features
    import_detector             loads its published weights

Serving:
    export_answer_model    writes a SavedModel for TensorFlow Serving
    Predictor              answers questions about images with a preset or a SavedModel
    Client, ServerError    talks to a model server

InputError is raised for whatever the user can correct; its message is one line.

Example:
    >>> from lxmert_tf import Predictor, read_image
    >>> predictor = Predictor.from_saved_model("saved_models/easy_vqa")
    >>> predictor.answer(read_image("picture.png"), ["what color is the shape?"])
"""

import importlib
import importlib.util
import os
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lxmert_tf.converters.exporting import export_weights
    from lxmert_tf.converters.importing import import_weights
    from lxmert_tf.data.answer_table import AnswerTable
    from lxmert_tf.data.batches import (
        answer_batches,
        example_batches,
        find_records,
        read_records,
        statement_batches,
    )
    from lxmert_tf.data.masking_rates import MaskingRates
    from lxmert_tf.data.pretraining_batches import pretraining_batches
    from lxmert_tf.detector.config import DetectorConfig
    from lxmert_tf.detector.detector import Detector
    from lxmert_tf.detector.importing import import_detector
    from lxmert_tf.errors import InputError
    from lxmert_tf.models.answer_classifier import LxmertAnswerClassifier
    from lxmert_tf.models.backbone import LxmertBackbone
    from lxmert_tf.models.config import LxmertConfig
    from lxmert_tf.models.pair_classifier import LxmertPairClassifier
    from lxmert_tf.models.presets import load_preset
    from lxmert_tf.models.pretrainer import LxmertPretrainer
    from lxmert_tf.models.soft_answers import SoftAccuracy, SoftAnswerLoss
    from lxmert_tf.models.text_preprocessor import LxmertTextPreprocessor
    from lxmert_tf.regions.extractor import RegionExtractor, Regions
    from lxmert_tf.regions.image import read_image
    from lxmert_tf.regions.registry import make_extractor
    from lxmert_tf.serving.client import Client
    from lxmert_tf.serving.errors import ServerError
    from lxmert_tf.serving.export import export_answer_model
    from lxmert_tf.serving.predictor import Predictor
    from lxmert_tf.training.optimization import BertAdamW, WarmupLinearDecay

__all__ = [
    "AnswerTable",
    "BertAdamW",
    "Client",
    "Detector",
    "DetectorConfig",
    "InputError",
    "LxmertAnswerClassifier",
    "LxmertBackbone",
    "LxmertConfig",
    "LxmertPairClassifier",
    "LxmertPretrainer",
    "LxmertTextPreprocessor",
    "MaskingRates",
    "Predictor",
    "RegionExtractor",
    "Regions",
    "ServerError",
    "SoftAccuracy",
    "SoftAnswerLoss",
    "WarmupLinearDecay",
    "answer_batches",
    "example_batches",
    "export_answer_model",
    "export_weights",
    "find_records",
    "import_detector",
    "import_weights",
    "load_preset",
    "make_extractor",
    "pretraining_batches",
    "read_image",
    "read_records",
    "statement_batches",
]

# The only place that states the version; pyproject.toml reads it.
__version__ = "0.1.0"

# TensorFlow 2.16 and later use Keras 3 unless this is set before Keras is first used. Without the
# package tf_keras, which is Keras 2, setting it would break Keras.
if importlib.util.find_spec("tf_keras"):
    os.environ.setdefault("TF_USE_LEGACY_KERAS", "1")
    # Only Keras 3 has a function that returns its version.
    if "tensorflow" in sys.modules and hasattr(sys.modules["tensorflow"].keras, "version"):
        raise ImportError(
            "TensorFlow uses Keras 3 already: import lxmert_tf before tensorflow_text and tfx, and "
            "before tf.keras is used, or set TF_USE_LEGACY_KERAS=1"
        )

# Module -> names. Imported at first use, so that `lxmert --help` need not wait for TensorFlow.
_MODULES = {
    "converters.exporting": ["export_weights"],
    "converters.importing": ["import_weights"],
    "data.answer_table": ["AnswerTable"],
    "data.batches": [
        "answer_batches",
        "example_batches",
        "find_records",
        "read_records",
        "statement_batches",
    ],
    "data.masking_rates": ["MaskingRates"],
    "data.pretraining_batches": ["pretraining_batches"],
    "detector.config": ["DetectorConfig"],
    "detector.detector": ["Detector"],
    "detector.importing": ["import_detector"],
    "errors": ["InputError"],
    "models.answer_classifier": ["LxmertAnswerClassifier"],
    "models.backbone": ["LxmertBackbone"],
    "models.config": ["LxmertConfig"],
    "models.pair_classifier": ["LxmertPairClassifier"],
    "models.presets": ["load_preset"],
    "models.pretrainer": ["LxmertPretrainer"],
    "models.soft_answers": ["SoftAccuracy", "SoftAnswerLoss"],
    "models.text_preprocessor": ["LxmertTextPreprocessor"],
    "regions.extractor": ["RegionExtractor", "Regions"],
    "regions.image": ["read_image"],
    "regions.registry": ["make_extractor"],
    "serving.client": ["Client"],
    "serving.errors": ["ServerError"],
    "serving.export": ["export_answer_model"],
    "serving.predictor": ["Predictor"],
    "training.optimization": ["BertAdamW", "WarmupLinearDecay"],
}
_EXPORTS = {name: f"{__name__}.{module}" for module, names in _MODULES.items() for name in names}


def __getattr__(name: str):
    if name not in _EXPORTS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(_EXPORTS[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
