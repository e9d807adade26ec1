"""An OpenVINO model as the server runs it."""

import pathlib
from typing import Any

import numpy as np

from lxmert_tf.errors import InputError
from lxmert_tf.serving.errors import RequestError
from lxmert_tf.serving.input_spec import STRING, InputSpec
from lxmert_tf.serving.openvino_session import OpenVinoSession
from lxmert_tf.serving.server.served_model import Arrays, ServedModel

# Regions per image, as published, and questions of different lengths.
REGIONS = 36
QUESTIONS = (b"what color is it?", b"how many people are to the left of the small red car?")
# TensorFlow's names of dtypes.
_DTYPES = {STRING: "DT_STRING", np.dtype(np.float32): "DT_FLOAT", np.dtype(np.int32): "DT_INT32"}


class ServedOpenVino(ServedModel):
    """An OpenVINO model, loaded and warmed up.

    Args:
        directory: The OpenVINO model.

    Raises:
        InputError: The model cannot be loaded.
    """

    def __init__(self, directory: pathlib.Path):
        self._session = OpenVinoSession(directory)
        self.specs = self._session.specs
        outputs = self._warm_up(directory)
        self.metadata = {name: self._signature(name, outputs[name]) for name in self.specs}

    def run(self, signature: str, inputs: Arrays) -> Arrays:
        try:
            return self._session.run(signature, inputs)
        except InputError as error:
            raise RequestError(400, str(error)) from error

    def _warm_up(self, directory: pathlib.Path) -> dict[str, Arrays]:
        """Call each signature, and return its outputs."""
        outputs = {}
        for name, specs in self.specs.items():
            for questions in (QUESTIONS[:1], QUESTIONS):
                inputs = {key: _example(key, spec, questions) for key, spec in specs.items()}
                try:
                    outputs[name] = self._session.run(name, inputs)
                except Exception as error:
                    raise InputError(f"{directory}: warm-up failed: {error}") from error
        return outputs

    def _signature(self, name: str, outputs: Arrays) -> dict[str, Any]:
        """Return a SignatureDef in the JSON form of TensorFlow Serving."""
        output_specs = {
            key: InputSpec((None,) * (values.ndim - 1) + values.shape[-1:], values.dtype)
            for key, values in outputs.items()
        }
        return {
            "inputs": {key: _tensor_info(key, spec) for key, spec in self.specs[name].items()},
            "outputs": {key: _tensor_info(key, spec) for key, spec in output_specs.items()},
            "method_name": "tensorflow/serving/predict",
            "defaults": {},
        }


def _example(name: str, spec: InputSpec, questions: tuple[bytes, ...]) -> np.ndarray:
    """Return an input for each of some questions, with as many regions as published."""
    if spec.dtype == STRING:
        return np.array(questions, STRING)
    batch, *rest = spec.shape
    shape = [batch or len(questions), *(size or REGIONS for size in rest)]
    return np.full(shape, REGIONS if name == "region_count" else 0.5, spec.dtype)


def _tensor_info(name: str, spec: InputSpec) -> dict[str, Any]:
    sizes = [{"size": str(-1 if size is None else size), "name": ""} for size in spec.shape]
    return {
        "dtype": _DTYPES[spec.dtype],
        "tensor_shape": {"dim": sizes, "unknown_rank": False},
        "name": name,
    }
