"""Predict calls to TensorFlow Serving over REST."""

import json

import grpc
import numpy as np
import requests
import tensorflow as tf
from tensorflow_serving.apis import predict_pb2, prediction_service_pb2_grpc

from lxmert_tf.serving.errors import ServerError


class RestTransport:
    """Calls the signatures of one model.

    Args:
        url: of the server, such as "http://localhost:8501".
        model: its name there.
        place: "", "/versions/N" or "/labels/NAME".
        timeout: seconds for a call.
    """

    def __init__(self, url: str, model: str, place: str, timeout: float):
        self._url = f"{url.rstrip('/')}/v1/models/{model}{place}:predict"
        self._timeout = timeout
        self._session = requests.Session()

    def predict(self, signature: str, inputs: dict[str, np.ndarray], outputs: tuple[str, ...]):
        """The named outputs as arrays, texts as `str`.

        Raises:
            ServerError: there is no answer, or another one.
        """
        columns = {name: values.tolist() for name, values in inputs.items()}
        body = json.dumps({"signature_name": signature, "inputs": columns})
        try:
            response = self._session.post(self._url, data=body.encode(), timeout=self._timeout)
        except requests.Timeout as error:
            raise ServerError(f"{self._url}: no answer within {self._timeout:g} s") from error
        except requests.RequestException as error:
            raise ServerError(f"{self._url}: cannot be reached: {_cause(error)}") from error
        try:
            content = response.json()
        except ValueError as error:
            raise ServerError(
                f"{self._url}: answers with status {response.status_code} and no JSON; is it a "
                "TensorFlow Serving?"
            ) from error
        if not response.ok:
            reason = content.get("error") if isinstance(content, dict) else None
            raise ServerError(f"{self._url}: {_line(reason or f'status {response.status_code}')}")
        try:
            columns = content["outputs"]
            # An output that is alone comes without its name.
            columns = {outputs[0]: columns} if len(outputs) == 1 else columns
            return {name: np.array(columns[name]) for name in outputs}
        except (KeyError, TypeError, ValueError) as error:
            raise ServerError(f"{self._url}: the answer lacks {', '.join(outputs)}") from error


def _cause(error: BaseException) -> str:
    """The innermost reason, such as "Connection refused"."""
    while error.__context__ is not None:
        error = error.__context__
    return getattr(error, "strerror", None) or _line(str(error)) or type(error).__name__


def _line(text: str) -> str:
    return " ".join(str(text).split())


# Its own limit of 4 MB is less than 14 images of 36 regions.
OPTIONS = [("grpc.max_send_message_length", -1), ("grpc.max_receive_message_length", -1)]


class GrpcTransport:
    """Calls the signatures of one model.

    Args:
        address: of the server, such as "localhost:8500".
        model: its name there.
        version, label: which of its versions, at most one of both.
        timeout: seconds for a call.
    """

    def __init__(
        self, address: str, model: str, version: int | None, label: str | None, timeout: float
    ):
        self._address = address
        self._timeout = timeout
        self._stub = prediction_service_pb2_grpc.PredictionServiceStub(
            grpc.insecure_channel(address, OPTIONS)
        )
        self._request = predict_pb2.PredictRequest()
        self._request.model_spec.name = model
        if version is not None:
            self._request.model_spec.version.value = version
        if label is not None:
            self._request.model_spec.version_label = label

    def predict(self, signature: str, inputs: dict[str, np.ndarray], outputs: tuple[str, ...]):
        """The named outputs as arrays, texts as `str`.

        Raises:
            ServerError: there is no answer, or another one.
        """
        request = predict_pb2.PredictRequest()
        request.CopyFrom(self._request)
        request.model_spec.signature_name = signature
        for name, values in inputs.items():
            request.inputs[name].CopyFrom(tf.make_tensor_proto(values))
        try:
            response = self._stub.Predict(request, timeout=self._timeout)
        except grpc.RpcError as error:
            reason = " ".join(error.details().split())
            raise ServerError(f"{self._address}: {error.code().name}: {reason}") from error
        if missing := [name for name in outputs if name not in response.outputs]:
            raise ServerError(f"{self._address}: the answer lacks {', '.join(missing)}")
        arrays = {name: tf.make_ndarray(response.outputs[name]) for name in outputs}
        return {
            name: _texts(array) if array.dtype == object else array
            for name, array in arrays.items()
        }


def _texts(array: np.ndarray) -> np.ndarray:
    return np.vectorize(lambda text: text.decode("utf-8", "replace"), otypes=[object])(array)
