"""One version of a model in memory, which a server calls."""

import inspect
import pathlib
from collections.abc import Iterator

import numpy as np
import tensorflow as tf
import tensorflow_text  # noqa: F401  (registers the tokenizer's ops, which a SavedModel contains)
from google.protobuf import json_format
from tensorflow.core.protobuf import saved_model_pb2

from lxmert_tf.errors import InputError
from lxmert_tf.serving.predict_json import Specs
from lxmert_tf.serving.refusal import Refusal
from lxmert_tf.serving.warmup import Request, pair_warmup_requests, warmup_requests

# What Protocol Buffers 5 calls the option that version 3 calls by another name.
_WITH_DEFAULTS = "always_print_fields_with_no_presence"
if _WITH_DEFAULTS not in inspect.signature(json_format.MessageToDict).parameters:
    _WITH_DEFAULTS = "including_default_value_fields"


class ServedModel:
    """A loaded and warmed-up SavedModel.

    Args:
        directory: of the SavedModel.

    Attributes:
        specs: the inputs of each signature.
        metadata: its SignatureDefs, as TensorFlow Serving tells them in JSON.

    Raises:
        InputError: it cannot be loaded, or is no answer model.
    """

    def __init__(self, directory: pathlib.Path):
        try:
            # The model itself is kept too: its functions know it by a weak reference only.
            self._model = tf.saved_model.load(str(directory))
            self.metadata = _signature_defs(directory)
        except Exception as error:
            # A copy that is under way can fail anywhere in the loading.
            reason = (str(error).strip() or type(error).__name__).splitlines()[0]
            raise InputError(f"{directory}: the SavedModel cannot be loaded: {reason}") from error
        self._signatures = dict(self._model.signatures)
        self.specs: dict[str, Specs] = {
            name: dict(sorted(function.structured_input_signature[1].items()))
            for name, function in self._signatures.items()
        }
        self._warm_up(directory)

    def run(self, signature: str, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Calls a signature.

        Raises:
            Refusal: 400, what the graph itself says against the inputs.
        """
        try:
            tensors = {
                name: tf.constant(value, self.specs[signature][name].dtype)
                for name, value in inputs.items()
            }
            outputs = self._signatures[signature](**tensors)
        except tf.errors.InvalidArgumentError as error:
            raise Refusal(400, _reason(error)) from error
        return {name: tensor.numpy() for name, tensor in outputs.items()}

    def can_batch(self, signature: str) -> bool:
        """Whether requests can be put together: each input has a row per row of the output."""
        return all(spec.shape[0] is None for spec in self.specs[signature].values())

    def _warm_up(self, directory) -> None:
        try:
            for signature, protos in self._requests():
                self.run(signature, {k: tf.make_ndarray(proto) for k, proto in protos.items()})
        except KeyError as error:
            raise InputError(
                f"{directory}: has no signature or input {error}; export an answer model"
            ) from error
        except Refusal as error:
            raise InputError(f"{directory}: fails its warm-up: {error.reason}") from error

    def _requests(self) -> Iterator[Request]:
        regions = self.specs["serving_default"]["region_features"].shape
        if regions.rank == 4:
            return pair_warmup_requests(regions[-1])
        hidden_size = self.specs["answer_about_image"]["image_state"].shape[-1]
        return warmup_requests(regions[-1], hidden_size)


def _signature_defs(directory: pathlib.Path) -> dict:
    saved = saved_model_pb2.SavedModel()
    saved.ParseFromString((directory / "saved_model.pb").read_bytes())
    [graph] = saved.meta_graphs
    definitions = graph.signature_def
    return {
        name: json_format.MessageToDict(
            definitions[name],
            preserving_proto_field_name=True,
            **{_WITH_DEFAULTS: True},
        )
        for name in sorted(definitions)
    }


def _reason(error: tf.errors.OpError) -> str:
    """What the graph says, without where TensorFlow found it."""
    preamble = ("Graph execution error", "Detected at node", "<stack traces")
    lines = [line.strip() for line in error.message.splitlines()]
    told = next(line for line in lines if line and not line.startswith(preamble))
    # An assertion lists its message and then its tensors, each in brackets.
    return told.removeprefix("assertion failed: ").split("] [")[0].strip("[]")
