"""Client of TensorFlow Serving or `lxmert serve`, over REST or gRPC."""

import base64
import ipaddress
import json
import urllib.parse
from collections.abc import Callable, Sequence
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
ERROR = "error"
PICTURE_ANSWERS = (*ANSWERS, ERROR)
OUTPUTS = {
    "serving_default": ANSWERS,
    "encode_image": ("image_state",),
    "answer_about_image": ANSWERS,
    "answer_image": PICTURE_ANSWERS,
    "answer_about_picture": PICTURE_ANSWERS,
    "encode_picture": ("image_state", ERROR),
}
# Inputs of strings or bytes.
STRINGS = ("question", "image")

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
            self._transport = _RestTransport(url, timeout)

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

    def answer_image(self, images: Sequence[bytes], questions: Sequence[str]) -> list[Answers]:
        """Answer one question per picture, with a model that was exported with a detector.

        Args:
            images: B JPEG or PNG files.
            questions: B questions.

        Returns:
            For each question its best answers with scores, best first.

        Raises:
            ServerError: The server gave no answers, or refused a picture; the message says why.
                To keep the answers about the other pictures, use `call`.
        """
        outputs = self.call("answer_image", {"image": images, "question": questions})
        return self._picture_answers(outputs)

    def answer_about_picture(self, questions: Sequence[str], image: bytes) -> list[Answers]:
        """Answer any number of questions about one picture; see `answer_image`.

        Args:
            questions: The questions.
            image: A JPEG or PNG file.

        Returns:
            For each question its best answers with scores, best first.

        Raises:
            ServerError: The server gave no answers, or refused the picture; the message says why.
        """
        outputs = self.call("answer_about_picture", {"image": [image], "question": questions})
        return self._picture_answers(outputs)

    def encode_picture(self, images: Sequence[bytes]) -> np.ndarray:
        """Encode pictures once, for any number of questions; see `answer_image`.

        Args:
            images: B JPEG or PNG files.

        Returns:
            float32 [B, R, H]; a part [1, R, H] is an image state for `answer_about_image`.

        Raises:
            ServerError: The server gave no image state, or refused a picture; the message says why.
        """
        outputs = self.call("encode_picture", {"image": images})
        self._check_pictures(outputs)
        return outputs["image_state"].astype(np.float32)

    def signatures(self) -> list[str]:
        """Return the names of the model's signatures.

        Raises:
            ServerError: The server does not tell; the message says why.
        """
        return self._transport.signatures()

    def call(self, signature: str, inputs: dict[str, Any]) -> Arrays:
        """Call a signature.

        Args:
            signature: `serving_default`, `encode_image` or `answer_about_image`; or, if the model
                was exported with a detector, `answer_image`, `answer_about_picture` or
                `encode_picture`.
            inputs: Arrays by name, texts as `question`, and the bytes of files as `image`.

        Returns:
            The outputs by name; texts are `str`.

        Raises:
            ServerError: The server cannot be reached, refuses the request, or answers something
                else.
        """
        arrays = {
            name: np.array(list(value), object) if name in STRINGS else value
            for name, value in inputs.items()
        }
        try:
            return self._transport.predict(signature, arrays, OUTPUTS[signature])
        except ServerError as error:
            is_missing = "image" in inputs and signature in str(error)
            if not is_missing or signature in self.signatures():
                raise
            raise ServerError(
                f"{self._transport.address}: the model does not take pictures; export it with "
                "`lxmert export --detector`"
            ) from error

    def _picture_answers(self, outputs: Arrays) -> list[Answers]:
        self._check_pictures(outputs)
        return best_answers(outputs)

    def _check_pictures(self, outputs: Arrays) -> None:
        errors = [str(error) for error in outputs[ERROR]]
        for number, error in enumerate(errors, start=1):
            if error:
                which = f"image {number} of {len(errors)}: " if len(set(errors)) > 1 else ""
                raise ServerError(f"{self._transport.address}: {which}{error}")


def is_url_name(name: str) -> bool:
    """Return whether a name can be a part of a URL's path, quoted."""
    # A colon begins the method. Clients remove "." and ".." from paths.
    return bool(name.strip(".")) and not {"/", ":"} & set(name) and name.isprintable()


def best_answers(outputs: Arrays) -> list[Answers]:
    """Return the outputs `answers` and `scores` of a signature as one list per question."""
    rows = zip(outputs["answers"], outputs["scores"])
    return [[(_text(answer), float(score)) for answer, score in zip(*row)] for row in rows]


class _RestTransport:
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
            raise ServerError(f"{url}: no answer within {self._timeout:g} s") from error
        except requests.RequestException as error:
            raise ServerError(f"{url}: cannot connect: {_cause(error)}") from error
        try:
            content = response.json()
        except ValueError as error:
            raise ServerError(
                f"{url}: status {response.status_code} without JSON; is it TensorFlow Serving?"
            ) from error
        if not response.ok:
            reason = content.get("error") if isinstance(content, dict) else None
            reason = reason or f"status {response.status_code}"
            raise ServerError(f"{url}: {_one_line(reason)}")
        return content


class _GrpcTransport:
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
            name: np.vectorize(_text, otypes=[object])(array) if array.dtype == object else array
            for name, array in arrays.items()
        }

    def signatures(self) -> list[str]:
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
            raise ServerError(f"{self.address}: {error.code().name}: {reason}") from error


def _missing_outputs(server: str, outputs: Sequence[str]) -> ServerError:
    return ServerError(f"{server}: the response lacks {' or '.join(outputs)}")


def _json_column(values: np.ndarray) -> list:
    if values.dtype != object:
        return values.tolist()
    return [
        {"b64": base64.b64encode(value).decode()} if isinstance(value, bytes) else value
        for value in values
    ]


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
