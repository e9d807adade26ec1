"""Serving of answer models: predictions from Python, export, a local server, and a client."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lxmert_tf.serving.client import Client
    from lxmert_tf.serving.errors import ServerError
    from lxmert_tf.serving.export import cast_weights, export_answer_model, export_version
    from lxmert_tf.serving.model_card import write_model_card
    from lxmert_tf.serving.openvino_export import export_openvino
    from lxmert_tf.serving.predictor import Predictor
    from lxmert_tf.serving.ranker import Ranker
    from lxmert_tf.serving.warmup import write_warmup

__all__ = [
    "Client",
    "Predictor",
    "Ranker",
    "ServerError",
    "cast_weights",
    "export_answer_model",
    "export_openvino",
    "export_version",
    "write_model_card",
    "write_warmup",
]

# Name -> module. Imported at first use: a client over REST does not wait for TensorFlow.
_MODULES = {
    "Client": "client",
    "Predictor": "predictor",
    "Ranker": "ranker",
    "ServerError": "errors",
    "cast_weights": "export",
    "export_answer_model": "export",
    "export_openvino": "openvino_export",
    "export_version": "export",
    "write_model_card": "model_card",
    "write_warmup": "warmup",
}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module(f"{__name__}.{_MODULES[name]}"), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_MODULES])
