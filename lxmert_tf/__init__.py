"""LXMERT (Tan & Bansal 2019, arXiv 1908.07490) in TensorFlow."""

import importlib.util
import os
import sys

# Since TensorFlow 2.16 its Keras is version 3, unless this is set before it is first used and the
# package tf_keras, which is version 2, is there. Where it is not, this would break Keras.
if importlib.util.find_spec("tf_keras"):
    os.environ.setdefault("TF_USE_LEGACY_KERAS", "1")
    # Only Keras 3 tells its version by a function.
    if "tensorflow" in sys.modules and hasattr(sys.modules["tensorflow"].keras, "version"):
        raise ImportError(
            "TensorFlow uses Keras 3 already: import lxmert_tf before tensorflow_text and tfx, and "
            "before tf.keras is used, or set TF_USE_LEGACY_KERAS=1"
        )

__version__ = "0.1.0"

# Name -> module. Loaded at first use, so that a command line answers --help without TensorFlow.
_EXPORTS = {
    "LxmertAnswerClassifier": "lxmert_tf.models.answer_classifier",
    "LxmertBackbone": "lxmert_tf.models.backbone",
    "LxmertConfig": "lxmert_tf.models.config",
    "LxmertPairClassifier": "lxmert_tf.models.pair_classifier",
    "LxmertPretrainer": "lxmert_tf.models.pretrainer",
    "LxmertTextPreprocessor": "lxmert_tf.models.text_preprocessor",
    "SoftAccuracy": "lxmert_tf.models.soft_answers",
    "SoftAnswerLoss": "lxmert_tf.models.soft_answers",
}

__all__ = sorted(_EXPORTS)


def __getattr__(name):
    if name not in _EXPORTS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module(_EXPORTS[name]), name)
