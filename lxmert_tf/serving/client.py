"""Client of TensorFlow Serving or `lxmert serve`, over REST or gRPC."""

import ipaddress
import json
import urllib.parse
from collections.abc import Sequence
from typing import Any

import numpy as np
import requests

from lxmert_tf.errors import InputError
from lxmert_tf.serving.errors import ServerError

__all__ = ["Client", "ServerError"]

# Answers with scores, best first.
Answers = list[tuple[str, float]]
Arrays = dict[str, np.ndarray]

# Outputs of each signature that the client calls.
ANSWERS = ("answers", "scores")
OUTPUTS = {
    "serving_default": ANSWERS,
    "encode_image": ("image_state",),
    "answer_about_image": ANSWERS,
}

URL_NAME_RULE = "it must not be empty, only dots, or have a '/', a ':' or a control character"

# gRPC's default limit of 4 MB is less than 14 images of 36 regions.
GRPC_OPTIONS = [("grpc.max_send_message_length", -1), ("grpc.max_receive_message_length", -1)]


class Client:
    """Client of one model on a server.

    Args:
        endpoint: `http://HOST:PORT` or `https://HOST:PORT` for REST; `grpc://HOST:PORT` or
            `HOST:PORT` for gRPC, which needs the extra `grpc`.
        model_name: Name of the model on the server.
        label_or_version: Version number, or label of a version such as "canary". Default: the
            server chooses.
        timeout: Seconds per call.

    The proxy of the environment (`http_proxy`, ...) is used, except for addresses of this machine.

    Raises:
        InputError: The endpoint, name or label is malformed.

    Example:
        ```python
        client = Client("http://localhost:8501", "easy_vqa")
        state = client.encode_image([features], [boxes], [len(boxes)])
        [answers] = client.answer_about_image(["what shape is it?"], state)
        answers[0]  # ("circle", 0.98)
        ```
    """

    def __init__(
        self,
        endpoint: str,
        model_name: str,
        label_or_version: str | int | None = None,
        timeout: float = 60.0,
    ):
        for kind, name in (("model name", model_name), ("label", label_or_version)):
            if isinstance(name, str) and not is_url_name(name):
                raise InputError(f"{kind} {name!r}: {URL_NAME_RULE}")
        scheme, address = _parse_endpoint(endpoint)
        version, label = _version_and_label(label_or_version)
        self._transport: _RestTransport | _GrpcTransport
        if scheme == "grpc":
            self._transport = _GrpcTransport(address, model_name, version, label, timeout)
        else:
            url = f"{scheme}://{address}/v1/models/{urllib.parse.quote(model_name)}"
            if version is not None:
                url += f"/versions/{version}"
            if label is not None:
                url += f"/labels/{urllib.parse.quote(label)}"
            self._transport = _RestTransport(f"{url}:predict", timeout)

    def answer(
        self, questions: Sequence[str], region_features, region_boxes, region_count
    ) -> list[Answers]:
        """Answer one question per image, or judge one statement per two images.

        Args:
            questions: B questions or statements.
            region_features: float [B, R, F]; [B, 2, R, F] for a model of two images.
            region_boxes: float [B, R, 4] in 0..1; or [B, 2, R, 4].
            region_count: int [B] or [B, 2]: number of regions; the rest is padding.

        Returns:
            For each question its best answers with scores, best first.

        Raises:
            ServerError: The server gave no answers; the message says why.
        """
        inputs = _region_arrays(region_features, region_boxes, region_count)
        return best_answers(self.call("serving_default", {"question": questions, **inputs}))

    def encode_image(self, region_features, region_boxes, region_count) -> np.ndarray:
        """Encode images once, for any number of questions.

        Args:
            region_features: float [B, R, F].
            region_boxes: float [B, R, 4] in 0..1.
            region_count: int [B]: number of regions; the rest is padding.

        Returns:
            float32 [B, R, H].

        Raises:
            ServerError: The server gave no image state; the message says why.
        """
        inputs = _region_arrays(region_features, region_boxes, region_count)
        return self.call("encode_image", inputs)["image_state"].astype(np.float32)

    def answer_about_image(self, questions: Sequence[str], image_state) -> list[Answers]:
        """Answer any number of questions about one image.

        Args:
            questions: The questions.
            image_state: float [1, R, H], from `encode_image`.

        Returns:
            For each question its best answers with scores, best first.

        Raises:
            ServerError: The server gave no answers; the message says why.
        """
        state = np.asarray(image_state, np.float32)
        return best_answers(
            self.call("answer_about_image", {"question": questions, "image_state": state})
        )

    def call(self, signature: str, inputs: dict[str, Any]) -> Arrays:
        """Call a signature.

        Args:
            signature: `serving_default`, `encode_image` or `answer_about_image`.
            inputs: Arrays by name, and texts as `question`.

        Returns:
            The outputs by name; texts are `str`.

        Raises:
            ServerError: The server cannot be reached, refuses the request, or answers something
                else.
        """
        arrays = {
            name: np.array(list(value), object) if name == "question" else value
            for name, value in inputs.items()
        }
        return self._transport.predict(signature, arrays, OUTPUTS[signature])


def is_url_name(name: str) -> bool:
    """Return whether a name can be a part of a URL's path, quoted."""
    # A colon begins the method. Clients remove "." and ".." from paths.
    return bool(name.strip(".")) and not {"/", ":"} & set(name) and name.isprintable()


def best_answers(outputs: Arrays) -> list[Answers]:
    """Return the outputs `answers` and `scores` of a signature as one list per question."""
    rows = zip(outputs["answers"], outputs["scores"])
    return [[(_text(answer), float(score)) for answer, score in zip(*row)] for row in rows]


class _RestTransport:
    """Calls the signatures of a model over REST, at the URL that ends in `:predict`."""

    def __init__(self, url: str, timeout: float):
        self._url = url
        self._timeout = timeout
        self._session = requests.Session()
        # None keeps the environment's proxy for a scheme from being used; requests' types lack it.
        no_proxy: Any = dict.fromkeys(("http", "https", "all"))
        self._proxies = no_proxy if _is_local(url) else None

    def predict(self, signature: str, inputs: Arrays, outputs: Sequence[str]) -> Arrays:
        columns = {name: values.tolist() for name, values in inputs.items()}
        body = json.dumps({"signature_name": signature, "inputs": columns})
        try:
            response = self._session.post(
                self._url, data=body.encode(), timeout=self._timeout, proxies=self._proxies
            )
        except requests.Timeout as error:
            raise ServerError(f"{self._url}: no answer within {self._timeout:g} s") from error
        except requests.RequestException as error:
            raise ServerError(f"{self._url}: cannot connect: {_cause(error)}") from error
        try:
            content = response.json()
        except ValueError as error:
            raise ServerError(
                f"{self._url}: status {response.status_code} without JSON; is it TensorFlow "
                "Serving?"
            ) from error
        if not response.ok:
            reason = content.get("error") if isinstance(content, dict) else None
            reason = reason or f"status {response.status_code}"
            raise ServerError(f"{self._url}: {_one_line(reason)}")
        try:
            found = content["outputs"]
            # A single output comes without its name.
            found = {outputs[0]: found} if len(outputs) == 1 else found
            return {name: np.array(found[name]) for name in outputs}
        except (KeyError, TypeError, ValueError) as error:
            raise _missing_outputs(self._url, outputs) from error


class _GrpcTransport:
    """Calls the signatures of a model over gRPC, of at most one of a version or a label."""

    def __init__(
        self, address: str, model: str, version: int | None, label: str | None, timeout: float
    ):
        # Imported here, because only this transport needs TensorFlow and the extra `grpc`.
        import grpc
        from tensorflow_serving.apis import predict_pb2, prediction_service_pb2_grpc

        self._address = address
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
        import grpc
        import tensorflow as tf

        request = type(self._request)()
        request.CopyFrom(self._request)
        request.model_spec.signature_name = signature
        for name, values in inputs.items():
            request.inputs[name].CopyFrom(tf.make_tensor_proto(values))
        try:
            response = self._stub.Predict(request, timeout=self._timeout)
        except grpc.RpcError as error:
            reason = _one_line(error.details())
            raise ServerError(f"{self._address}: {error.code().name}: {reason}") from error
        if any(name not in response.outputs for name in outputs):
            raise _missing_outputs(self._address, outputs)
        arrays = {name: tf.make_ndarray(response.outputs[name]) for name in outputs}
        return {
            name: np.vectorize(_text, otypes=[object])(array) if array.dtype == object else array
            for name, array in arrays.items()
        }


def _missing_outputs(server: str, outputs: Sequence[str]) -> ServerError:
    return ServerError(f"{server}: the response lacks {' or '.join(outputs)}")


def _text(text: str | bytes) -> str:
    return text.decode("utf-8", "replace") if isinstance(text, bytes) else str(text)


def _cause(error: BaseException) -> str:
    """Return the innermost reason, such as "Connection refused"."""
    while error.__context__ is not None:
        error = error.__context__
    return getattr(error, "strerror", None) or _one_line(str(error)) or type(error).__name__


def _one_line(text: str) -> str:
    return " ".join(str(text).split())


def _region_arrays(features, boxes, count) -> Arrays:
    return {
        "region_features": np.asarray(features, np.float32),
        "region_boxes": np.asarray(boxes, np.float32),
        "region_count": np.asarray(count, np.int32),
    }


def _parse_endpoint(endpoint: str) -> tuple[str, str]:
    """Return the scheme and HOST:PORT."""
    malformed = InputError(
        f"endpoint {endpoint!r}: must be http://HOST:PORT, https://HOST:PORT, grpc://HOST:PORT or "
        "HOST:PORT"
    )
    try:
        parts = urllib.parse.urlsplit(endpoint if "://" in endpoint else f"grpc://{endpoint}")
        port = parts.port
    except ValueError as error:
        raise malformed from error
    if parts.scheme not in ("http", "https", "grpc") or not parts.hostname or parts.path.strip("/"):
        raise malformed
    # gRPC has no default port.
    if parts.scheme == "grpc" and port is None:
        raise malformed
    return parts.scheme, parts.netloc


def _is_local(url: str) -> bool:
    """Return whether a URL leads to this machine, which a proxy elsewhere cannot reach."""
    host = urllib.parse.urlsplit(url).hostname or ""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")
    # Connecting to 0.0.0.0 reaches this machine, too.
    return address.is_loopback or address.is_unspecified


def _version_and_label(given: str | int | None) -> tuple[int | None, str | None]:
    if isinstance(given, int):
        return given, None
    if given is not None and given.isdecimal():
        return int(given), None
    return None, given
