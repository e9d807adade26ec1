"""Predict calls to TensorFlow Serving over REST."""

import json

import numpy as np
import requests

from lxmert_tf.serving.server_error import ServerError


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
