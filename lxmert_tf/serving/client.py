"""Client of TensorFlow Serving or `lxmert serve`, over REST or gRPC."""

import urllib.parse
from collections.abc import Sequence
from typing import Any

import numpy as np

from lxmert_tf.errors import InputError, check_is_list
from lxmert_tf.serving.errors import ServerError
from lxmert_tf.serving.transports import Arrays, GrpcTransport, RestTransport, as_text

__all__ = ["Client", "ServerError"]

# Answers with scores, best first.
Answers = list[tuple[str, float]]

# Outputs of each signature that the client calls.
ANSWERS = ("answers", "scores")
ERROR = "error"
PICTURE_ANSWERS = (*ANSWERS, ERROR)
OUTPUTS = {
    "serving_default": ANSWERS,
    "serve_examples": (*ANSWERS, "probabilities"),
    "encode_image": ("image_state",),
    "encode_question": ("question_state",),
    "answer_about_image": ANSWERS,
    "answer_pairs": ANSWERS,
    "answer_image": PICTURE_ANSWERS,
    "answer_about_picture": PICTURE_ANSWERS,
    "encode_picture": ("image_state", ERROR),
}
# Inputs of strings or bytes.
STRINGS = ("question", "image", "examples")

URL_NAME_RULE = "it must not be empty, only dots, or have a '/', a ':' or a control character"


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
        self._transport: RestTransport | GrpcTransport
        if scheme == "grpc":
            self._transport = GrpcTransport(address, model_name, version, label, timeout)
        else:
            url = f"{scheme}://{address}/v1/models/{urllib.parse.quote(model_name)}"
            if version is not None:
                url += f"/versions/{version}"
            if label is not None:
                url += f"/labels/{urllib.parse.quote(label)}"
            self._transport = RestTransport(url, timeout)

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

    def encode_question(self, questions: Sequence[str]) -> np.ndarray:
        """Encode questions once, for any number of images.

        Args:
            questions: B questions.

        Returns:
            float32 [B, T, H].

        Raises:
            ServerError: The server gave no question state; the message says why.
        """
        outputs = self.call("encode_question", {"question": questions})
        return outputs["question_state"].astype(np.float32)

    def answer_pairs(self, question_state, image_state) -> list[Answers]:
        """Answer a question about an image, both encoded, in each row.

        Args:
            question_state: float [B, T, H], rows from `encode_question`.
            image_state: float [B, R, H], rows from `encode_image`.

        Returns:
            For each row its best answers with scores, best first.

        Raises:
            ServerError: The server gave no answers; the message says why.
        """
        states = {"question_state": question_state, "image_state": image_state}
        inputs = {name: np.asarray(state, np.float32) for name, state in states.items()}
        return best_answers(self.call("answer_pairs", inputs))

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
            signature: `serving_default`, `serve_examples`, `encode_image`, `encode_question`,
                `answer_about_image` or `answer_pairs`; or, if the model was exported with a
                detector, `answer_image`, `answer_about_picture` or `encode_picture`.
            inputs: Arrays by name, a list of texts as `question`, of the bytes of files as `image`,
                and of serialized scenes as `examples`.

        Returns:
            The outputs by name; texts are `str`.

        Raises:
            InputError: The signature is none of these, or one text or file is given in place of a
                list.
            ServerError: The server cannot be reached, refuses the request, or answers something
                else.
        """
        if signature not in OUTPUTS:
            raise InputError(f"signature {signature!r}: must be one of {', '.join(OUTPUTS)}")
        for name in STRINGS:
            check_is_list(inputs.get(name, ()), name)
        arrays = {
            name: np.array(list(value), object) if name in STRINGS else value
            for name, value in inputs.items()
        }
        try:
            return self._transport.predict(signature, arrays, OUTPUTS[signature])
        except ServerError as error:
            address = self._transport.address
            # The address may have the same word.
            is_named = signature in str(error).removeprefix(address)
            if "image" not in inputs or not is_named or not self._lacks(signature):
                raise
            raise ServerError(
                f"{address}: the model does not take pictures; export it with "
                "`lxmert export --detector`"
            ) from error

    def _lacks(self, signature: str) -> bool:
        """Return whether the server says that the model has no such signature."""
        try:
            return signature not in self.signatures()
        except ServerError:
            return False

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
    return [[(as_text(answer), float(score)) for answer, score in zip(*row)] for row in rows]


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


def _version_and_label(given: str | int | None) -> tuple[int | None, str | None]:
    if isinstance(given, int):
        return given, None
    if given is not None and given.isdecimal():
        return int(given), None
    return None, given
