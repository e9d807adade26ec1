"""A SavedModel as the server runs it."""

import inspect
import itertools
import pathlib
from collections.abc import Iterator

import numpy as np
import tensorflow as tf
from google.protobuf import json_format
from tensorflow.core.protobuf import meta_graph_pb2

from lxmert_tf.errors import InputError, first_line
from lxmert_tf.serving.errors import RequestError
from lxmert_tf.serving.server.served_model import ServedModel
from lxmert_tf.serving.session import SavedModelSession
from lxmert_tf.serving.warmup import (
    Request,
    pair_warmup_requests,
    picture_warmup_requests,
    warmup_requests,
)

# Name of an option in protobuf 5, and in protobuf 3 and 4.
_WITH_DEFAULTS = "always_print_fields_with_no_presence"
if _WITH_DEFAULTS not in inspect.signature(json_format.MessageToDict).parameters:
    _WITH_DEFAULTS = "including_default_value_fields"


class ServedSavedModel(ServedModel):
    """A SavedModel, loaded and warmed up.

    Args:
        directory: The SavedModel.

    Raises:
        InputError: The SavedModel cannot be loaded, or is not an answer model.
    """

    def __init__(self, directory: pathlib.Path):
        self._session = SavedModelSession(directory)
        self.specs = self._session.specs
        self.metadata = {
            name: _json(definition) for name, definition in self._session.signature_defs.items()
        }
        self._warm_up(directory)

    def run(self, signature: str, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        try:
            return self._session.run(signature, inputs)
        except tf.errors.InvalidArgumentError as error:
            raise RequestError(400, _assertion_message(error)) from error

    def _warm_up(self, directory: pathlib.Path) -> None:
        try:
            for signature, protos in self._warmup_requests():
                # Exports of earlier versions have fewer.
                if signature in self.specs:
                    self.run(signature, {k: tf.make_ndarray(proto) for k, proto in protos.items()})
        except KeyError as error:
            raise InputError(
                f"{directory}: no signature or input {error}; not an answer model"
            ) from error
        # Among them a ValueError for inputs of other shapes than those of an answer model.
        except Exception as error:
            raise InputError(f"{directory}: warm-up failed: {first_line(error)}") from error

    def _warmup_requests(self) -> Iterator[Request]:
        features = self.specs["serving_default"]["region_features"]
        if len(features.shape) == 4:
            return pair_warmup_requests(features.width)
        hidden_size = self.specs["answer_about_image"]["image_state"].width
        requests = warmup_requests(features.width, hidden_size)
        if "answer_image" not in self.specs:
            return requests
        return itertools.chain(requests, picture_warmup_requests())


def _json(definition: meta_graph_pb2.SignatureDef) -> dict:
    return json_format.MessageToDict(
        definition, preserving_proto_field_name=True, **{_WITH_DEFAULTS: True}
    )


def _assertion_message(error: tf.errors.OpError) -> str:
    """Return the message of an assertion, without TensorFlow's account of where it failed."""
    preamble = ("Graph execution error", "Detected at node", "<stack traces")
    lines = [line.strip() for line in error.message.splitlines()]
    message = next(line for line in lines if line and not line.startswith(preamble))
    # An assertion lists its message and then its tensors, each in brackets.
    return message.removeprefix("assertion failed: ").split("] [")[0].strip("[]")
