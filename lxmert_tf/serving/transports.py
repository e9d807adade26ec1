"""How requests of the client reach a server: over REST or gRPC."""

import base64
import ipaddress
import json
import urllib.parse
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import requests

from lxmert_tf.serving.errors import ServerError, Unavailable

Arrays = dict[str, np.ndarray]

# Statuses of servers, and of proxies before them, that cannot answer now.
UNAVAILABLE = (502, 503, 504)
# gRPC's default limit of 4 MB is less than 14 images of 36 regions.
GRPC_OPTIONS = [("grpc.max_send_message_length", -1), ("grpc.max_receive_message_length", -1)]


class RestTransport:
    """Calls the signatures of a model over REST.

    Args:
        url: URL of the model.
        timeout: Seconds per call.

    Attributes:
        address: The URL, for messages.
    """

    def __init__(self, url: str, timeout: float):
        self.address = url
        self._timeout = timeout
        self._session = requests.Session()
        # None keeps the environment's proxy for a scheme from being used; requests' types lack it.
        no_proxy: Any = dict.fromkeys(("http", "https", "all"))
        self._proxies = no_proxy if _is_local(url) else None

    def predict(self, signature: str, inputs: Arrays, outputs: Sequence[str]) -> Arrays:
        """Return the named outputs of a signature."""
        columns = {name: _json_column(values) for name, values in inputs.items()}
        body = json.dumps({"signature_name": signature, "inputs": columns})
        content = self._request("POST", ":predict", body.encode())
        try:
            found = content["outputs"]
            # A single output comes without its name.
            found = {outputs[0]: found} if len(outputs) == 1 else found
            return {name: np.array(found[name]) for name in outputs}
        except (KeyError, TypeError, ValueError) as error:
            raise _missing_outputs(f"{self.address}:predict", outputs) from error

    def signatures(self) -> list[str]:
        """Return the names of the model's signatures."""
        content = self._request("GET", "/metadata")
        try:
            return sorted(content["metadata"]["signature_def"]["signature_def"])
        except (KeyError, TypeError) as error:
            raise _missing_outputs(f"{self.address}/metadata", ["signature_def"]) from error

    def _request(self, method: str, path: str, body: bytes | None = None) -> Any:
        """Return the JSON of a successful response."""
        url = f"{self.address}{path}"
        try:
            response = self._session.request(
                method, url, data=body, timeout=self._timeout, proxies=self._proxies
            )
        except requests.Timeout as error:
            raise Unavailable(f"{url}: no answer within {self._timeout:g} s") from error
        except requests.RequestException as error:
            raise Unavailable(f"{url}: cannot connect: {_cause(error)}") from error
        failure = Unavailable if response.status_code in UNAVAILABLE else ServerError
        try:
            content = response.json()
        except ValueError as error:
            raise failure(
                f"{url}: status {response.status_code} without JSON; is it TensorFlow Serving?"
            ) from error
        if not response.ok:
            reason = content.get("error") if isinstance(content, dict) else None
            reason = reason or f"status {response.status_code}"
            raise failure(f"{url}: {_one_line(reason)}")
        return content


class GrpcTransport:
    """Calls the signatures of a model over gRPC, of at most one of a version or a label.

    Args:
        address: HOST:PORT.
        model: Name of the model on the server.
        version: Number of the version, if chosen.
        label: Label of the version, if chosen.
        timeout: Seconds per call.

    Attributes:
        address: The address, for messages.
    """

    def __init__(
        self, address: str, model: str, version: int | None, label: str | None, timeout: float
    ):
        # Imported here, because only this transport needs TensorFlow and the extra `grpc`.
        import grpc
        from tensorflow_serving.apis import predict_pb2, prediction_service_pb2_grpc

        self.address = address
        self._timeout = timeout
        no_proxy = [("grpc.enable_http_proxy", 0)] if _is_local(f"grpc://{address}") else []
        self._stub = prediction_service_pb2_grpc.PredictionServiceStub(
            grpc.insecure_channel(address, [*GRPC_OPTIONS, *no_proxy])
        )
        self._request = predict_pb2.PredictRequest()
        self._request.model_spec.name = model
        if version is not None:
            self._request.model_spec.version.value = version
        if label is not None:
            self._request.model_spec.version_label = label

    def predict(self, signature: str, inputs: Arrays, outputs: Sequence[str]) -> Arrays:
        """Return the named outputs of a signature."""
        import tensorflow as tf

        request = type(self._request)()
        request.CopyFrom(self._request)
        request.model_spec.signature_name = signature
        for name, values in inputs.items():
            request.inputs[name].CopyFrom(tf.make_tensor_proto(values))
        response = self._call(self._stub.Predict, request)
        if any(name not in response.outputs for name in outputs):
            raise _missing_outputs(self.address, outputs)
        arrays = {name: tf.make_ndarray(response.outputs[name]) for name in outputs}
        return {
            name: np.vectorize(as_text, otypes=[object])(array) if array.dtype == object else array
            for name, array in arrays.items()
        }

    def signatures(self) -> list[str]:
        """Return the names of the model's signatures."""
        from tensorflow_serving.apis import get_model_metadata_pb2

        request = get_model_metadata_pb2.GetModelMetadataRequest(
            model_spec=self._request.model_spec, metadata_field=["signature_def"]
        )
        response = self._call(self._stub.GetModelMetadata, request)
        signatures = get_model_metadata_pb2.SignatureDefMap()
        if not response.metadata["signature_def"].Unpack(signatures):
            raise _missing_outputs(self.address, ["signature_def"])
        return sorted(signatures.signature_def)

    def _call(self, method: Callable, request) -> Any:
        """Return the response to a request."""
        import grpc

        try:
            return method(request, timeout=self._timeout)
        except grpc.RpcError as error:
            reason = _one_line(error.details())
            later = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED)
            failure = Unavailable if error.code() in later else ServerError
            raise failure(f"{self.address}: {error.code().name}: {reason}") from error


def as_text(text: str | bytes) -> str:
    """Return a text that a server sent, as bytes over gRPC, as a string."""
    return text.decode("utf-8", "replace") if isinstance(text, bytes) else str(text)


def _missing_outputs(server: str, outputs: Sequence[str]) -> ServerError:
    return ServerError(f"{server}: the response lacks {' or '.join(outputs)}")


def _json_column(values: np.ndarray) -> list:
    if values.dtype != object:
        return values.tolist()
    return [
        {"b64": base64.b64encode(value).decode()} if isinstance(value, bytes) else value
        for value in values
    ]


def _cause(error: BaseException) -> str:
    """Return the innermost reason, such as "Connection refused"."""
    while error.__context__ is not None:
        error = error.__context__
    return getattr(error, "strerror", None) or _one_line(str(error)) or type(error).__name__


def _one_line(text: str) -> str:
    return " ".join(str(text).split())


def _is_local(url: str) -> bool:
    """Return whether a URL leads to this machine, which a proxy elsewhere cannot reach."""
    host = urllib.parse.urlsplit(url).hostname or ""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")
    # Connecting to 0.0.0.0 reaches this machine, too.
    return address.is_loopback or address.is_unspecified
