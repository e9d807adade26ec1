"""A client of TensorFlow Serving, or of `lxmert serve`, for answer models."""

import re
import urllib.parse
from collections.abc import Sequence

import numpy as np

from lxmert_tf.errors import InputError
from lxmert_tf.serving.errors import ServerError
from lxmert_tf.serving.transports import RestTransport

__all__ = ["Client", "ServerError"]

# Answers with scores, best first.
Answers = list[tuple[str, float]]


class Client:
    """Asks a model on a server.

    Args:
        endpoint: "http://HOST:PORT" (or https) speaks REST, "grpc://HOST:PORT" or "HOST:PORT"
            speaks gRPC, which needs the extra `grpc`.
        model_name: the model's name on the server.
        label_or_version: a version by its number or by its label, such as "canary"; None leaves
            the choice to the server.
        timeout: seconds for a call.

    Raises:
        InputError: the endpoint or a name is none.

    Example:
        client = Client("http://localhost:8501", "easy_vqa")
        state = client.encode_image(features, boxes, [len(boxes[0])])
        [answers] = client.answer_about_image(["what shape is it?"], state)
        answers[0]  # ("circle", 0.98)
    """

    def __init__(
        self,
        endpoint: str,
        model_name: str,
        label_or_version: str | int | None = None,
        timeout: float = 60.0,
    ):
        for what, name in (("model", model_name), ("label", label_or_version)):
            # They become a part of a path.
            if isinstance(name, str) and not re.fullmatch(r"[\w.-]+", name):
                raise InputError(
                    f"the {what} {name!r} must be of letters, digits, '.', '-' and '_'"
                )
        scheme, address = _parse_endpoint(endpoint)
        version, label = _version_and_label(label_or_version)
        if scheme in ("http", "https"):
            place = f"/versions/{version}" if version is not None else f"/labels/{label}"
            place = "" if version is label is None else place
            self._transport = RestTransport(f"{scheme}://{address}", model_name, place, timeout)
            return
        from lxmert_tf.serving.transports import GrpcTransport

        self._transport = GrpcTransport(address, model_name, version, label, timeout)

    def answer(
        self, questions: Sequence[str], region_features, region_boxes, region_count
    ) -> list[Answers]:
        """One question about each image, or one statement about each two.

        Args:
            questions: B, in words.
            region_features: float [B, R, F]; of a model of two images [B, 2, R, F].
            region_boxes: float [B, R, 4], in 0..1; or [B, 2, R, 4].
            region_count: int [B], the regions that are there, the rest is padding; or [B, 2].

        Raises:
            ServerError: the server gave no answers; the text says why.
        """
        inputs = _regions(region_features, region_boxes, region_count)
        return self._ask("serving_default", questions, inputs)

    def encode_image(self, region_features, region_boxes, region_count) -> np.ndarray:
        """What images alone decide, float32 [B, R, H]; arguments and errors as for `answer`."""
        inputs = _regions(region_features, region_boxes, region_count)
        outputs = self._transport.predict("encode_image", inputs, ("image_state",))
        return outputs["image_state"].astype(np.float32)

    def answer_about_image(self, questions: Sequence[str], image_state) -> list[Answers]:
        """Any number of questions about one image.

        Args:
            questions: in words.
            image_state: float [1, R, H], from `encode_image`.

        Raises:
            ServerError: as for `answer`.
        """
        state = np.asarray(image_state, np.float32)
        return self._ask("answer_about_image", questions, {"image_state": state})

    def _ask(self, signature: str, questions: Sequence[str], inputs) -> list[Answers]:
        texts = np.array(list(questions), object)
        outputs = self._transport.predict(
            signature, {"question": texts, **inputs}, ("answers", "scores")
        )
        rows = zip(outputs["answers"], outputs["scores"])
        return [[(str(a), float(s)) for a, s in zip(*row)] for row in rows]


def _regions(features, boxes, count) -> dict[str, np.ndarray]:
    return {
        "region_features": np.asarray(features, np.float32),
        "region_boxes": np.asarray(boxes, np.float32),
        "region_count": np.asarray(count, np.int32),
    }


def _parse_endpoint(endpoint: str) -> tuple[str, str]:
    """Its scheme and HOST:PORT."""
    text = endpoint if "://" in endpoint else f"grpc://{endpoint}"
    try:
        parts = urllib.parse.urlsplit(text)
        port = parts.port
    except ValueError:
        parts, port = None, None
    known = parts and parts.scheme in ("http", "https", "grpc") and parts.hostname
    # gRPC has no port that goes without saying.
    if not known or (parts.scheme == "grpc" and port is None) or parts.path.strip("/"):
        raise InputError(
            f"the endpoint {endpoint!r} must be http://HOST:PORT, https://HOST:PORT, "
            "grpc://HOST:PORT or HOST:PORT"
        )
    return parts.scheme, parts.netloc


def _version_and_label(given: str | int | None) -> tuple[int | None, str | None]:
    if isinstance(given, int):
        return given, None
    if given is not None and given.isdecimal():
        return int(given), None
    return None, given
