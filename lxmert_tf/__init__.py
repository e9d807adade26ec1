"""LXMERT (Tan & Bansal 2019, arXiv 1908.07490) in TensorFlow."""

__version__ = "0.1.0"

# Name -> module. Loaded at first use, so that a command line answers --help without TensorFlow.
_EXPORTS = {
    "LxmertAnswerClassifier": "lxmert_tf.tasks.answering",
    "LxmertBackbone": "lxmert_tf.backbone",
    "LxmertConfig": "lxmert_tf.config",
    "LxmertPairClassifier": "lxmert_tf.tasks.pair_classification",
    "LxmertPretrainer": "lxmert_tf.tasks.pretraining",
    "LxmertTextPreprocessor": "lxmert_tf.text",
    "SoftAccuracy": "lxmert_tf.tasks.soft_answers",
    "SoftAnswerLoss": "lxmert_tf.tasks.soft_answers",
}

__all__ = sorted(_EXPORTS)


def __getattr__(name):
    if name not in _EXPORTS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module(_EXPORTS[name]), name)
