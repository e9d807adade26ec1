"""One version of a model in memory, which a server calls."""

import inspect
import pathlib
from collections.abc import Iterator

import numpy as np
import tensorflow as tf
from google.protobuf import json_format
from tensorflow.core.protobuf import meta_graph_pb2

from lxmert_tf.errors import InputError
from lxmert_tf.serving.refusal import Refusal
from lxmert_tf.serving.saved_model_session import SavedModelSession
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
        self._session = SavedModelSession(directory)
        self.specs = self._session.specs
        self.metadata = {
            name: _json(definition) for name, definition in self._session.signature_defs.items()
        }
        self._warm_up(directory)

    def run(self, signature: str, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Calls a signature.

        Raises:
            Refusal: 400, what the graph itself says against the inputs.
        """
        try:
            return self._session.run(signature, inputs)
        except tf.errors.InvalidArgumentError as error:
            raise Refusal(400, _reason(error)) from error

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


def _json(definition: meta_graph_pb2.SignatureDef) -> dict:
    return json_format.MessageToDict(
        definition, preserving_proto_field_name=True, **{_WITH_DEFAULTS: True}
    )


def _reason(error: tf.errors.OpError) -> str:
    """What the graph says, without where TensorFlow found it."""
    preamble = ("Graph execution error", "Detected at node", "<stack traces")
    lines = [line.strip() for line in error.message.splitlines()]
    told = next(line for line in lines if line and not line.startswith(preamble))
    # An assertion lists its message and then its tensors, each in brackets.
    return told.removeprefix("assertion failed: ").split("] [")[0].strip("[]")
