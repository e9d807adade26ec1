"""Versions of a model on disk: loaded, warmed up, and replaced while requests are answered."""

import inspect
import itertools
import os
import pathlib
from collections.abc import Callable, Iterator

import numpy as np
import tensorflow as tf
from google.protobuf import json_format
from tensorflow.core.protobuf import meta_graph_pb2

from lxmert_tf.errors import InputError
from lxmert_tf.serving.errors import RequestError
from lxmert_tf.serving.layout import is_saved_model, numbered_versions
from lxmert_tf.serving.session import SavedModelSession
from lxmert_tf.serving.warmup import (
    Request,
    pair_warmup_requests,
    picture_warmup_requests,
    warmup_requests,
)

# Path, size and modification time of every file of a version.
Fingerprint = tuple[tuple[str, int, int], ...]

# Name of an option in protobuf 5, and in protobuf 3 and 4.
_WITH_DEFAULTS = "always_print_fields_with_no_presence"
if _WITH_DEFAULTS not in inspect.signature(json_format.MessageToDict).parameters:
    _WITH_DEFAULTS = "including_default_value_fields"


class ServedModel:
    """A SavedModel, loaded and warmed up.

    Args:
        directory: The SavedModel.

    Attributes:
        specs: Inputs of each signature.
        metadata: SignatureDefs in the JSON form of TensorFlow Serving.

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
        """Call a signature.

        Args:
            signature: Name of the signature.
            inputs: Its inputs by name.

        Returns:
            Its outputs by name.

        Raises:
            RequestError: An assertion in the graph refuses the inputs (status 400).
        """
        try:
            return self._session.run(signature, inputs)
        except tf.errors.InvalidArgumentError as error:
            raise RequestError(400, _assertion_message(error)) from error

    def can_batch(self, signature: str) -> bool:
        """Return whether requests can share a call: all inputs have the same batch axis.

        Requests with pictures do not, because the model sees one picture after the other: each
        would only wait for the pictures of the others.
        """
        specs = self.specs[signature]
        return "image" not in specs and all(spec.shape[0] is None for spec in specs.values())

    def _warm_up(self, directory: pathlib.Path) -> None:
        try:
            for signature, protos in self._warmup_requests():
                self.run(signature, {k: tf.make_ndarray(proto) for k, proto in protos.items()})
        except KeyError as error:
            raise InputError(
                f"{directory}: no signature or input {error}; not an answer model"
            ) from error
        except RequestError as error:
            raise InputError(f"{directory}: warm-up failed: {error.reason}") from error

    def _warmup_requests(self) -> Iterator[Request]:
        regions = self.specs["serving_default"]["region_features"].shape
        if regions.rank == 4:
            return pair_warmup_requests(regions[-1])
        hidden_size = self.specs["answer_about_image"]["image_state"].shape[-1]
        requests = warmup_requests(regions[-1], hidden_size)
        if "answer_image" not in self.specs:
            return requests
        return itertools.chain(requests, picture_warmup_requests())


class ModelVersions:
    """Serves the highest version that can be loaded, and the versions that have a label.

    A version is replaced only after the next one is loaded and warmed up. A request ends with the
    version with which it began.

    Args:
        directory: A folder of numbered SavedModels, or one SavedModel, whose version is its name
            if that is a number, or the name that a symbolic link leads to, and 1 otherwise.
        labels: Version numbers by label.
        log: Called with a line when a version is served or cannot be loaded.

    Raises:
        InputError: No version can be loaded, or a label names a version that does not exist.
    """

    def __init__(self, directory, labels: dict[str, int], log: Callable[[str], None]):
        self.directory = pathlib.Path(directory)
        self._labels = labels
        self._log = log
        self._seen: dict[int, Fingerprint] = {}
        self._failed: dict[int, Fingerprint] = {}
        self._served: dict[int, ServedModel] = {}
        found = self._find()
        if not found:
            raise InputError(f"{directory}: no SavedModel and no numbered versions of one")
        for label, number in labels.items():
            if number not in found:
                raise InputError(f"{directory}: no version {number} for the label {label!r}")
        self._seen = {number: _fingerprint(path) for number, path in found.items()}
        while not self._served and not self._failed.keys() >= found.keys():
            self.refresh()
        if not self._served:
            raise InputError(f"{directory}: no version can be loaded")

    def refresh(self) -> None:
        """Load new versions and drop those no longer served. Slow; never call it concurrently.

        A version is loaded once its files have stayed the same between two calls, because copying
        them takes time.
        """
        found = self._find()
        fingerprints = {number: _fingerprint(path) for number, path in found.items()}
        loadable = {n for n in found if self._failed.get(n) != fingerprints[n]}
        wanted = {n for n in self._labels.values() if n in loadable}
        if loadable:
            wanted.add(max(loadable))
        for number in sorted(wanted - self._served.keys()):
            if self._seen.get(number) == fingerprints[number]:
                self._load(number, found[number], fingerprints[number])
        self._seen = fingerprints
        self._drop(found)

    def get(self, version: str | None = None, label: str | None = None) -> tuple[int, ServedModel]:
        """Return a version number and its model.

        Args:
            version: Number of the version.
            label: Label of the version. Default without either: the highest version.

        Raises:
            RequestError: The version is not served (status 404).
        """
        served = self._served
        number = max(served)
        if label is not None:
            number = self._labels.get(label, -1)
        elif version is not None:
            number = next((n for n in served if str(n) == version), -1)
        if number not in served:
            what = f"label {label!r}" if label is not None else f"version {version!r}"
            versions = ", ".join(map(str, sorted(served)))
            raise RequestError(404, f"{what} is not served; versions: {versions}")
        return number, served[number]

    def numbers(self) -> list[int]:
        """Return the versions that are served, highest first."""
        return sorted(self._served, reverse=True)

    def _load(self, number: int, path: pathlib.Path, fingerprint: Fingerprint) -> None:
        try:
            model = ServedModel(path)
        except InputError as error:
            self._failed[number] = fingerprint
            self._log(str(error))
            return
        self._served = {**self._served, number: model}
        self._log(f"serving version {number}")

    def _drop(self, found: dict[int, pathlib.Path]) -> None:
        kept = {n for n in self._labels.values() if n in self._served}
        # If all files are gone, the model in memory still answers.
        kept.add(max(self._served.keys() & found.keys() or self._served.keys(), default=-1))
        self._served = {n: model for n, model in self._served.items() if n in kept}

    def _find(self) -> dict[int, pathlib.Path]:
        if is_saved_model(self.directory):
            names = (
                os.path.basename(os.path.abspath(self.directory)),
                self.directory.resolve().name,
            )
            numbers = [int(name) for name in names if name.isdecimal()]
            return {next(iter(numbers), 1): self.directory}
        try:
            return numbered_versions(self.directory)
        except OSError as error:
            if self._served:
                return {}
            raise InputError(f"{self.directory}: {error.strerror}") from error


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


def _fingerprint(directory: pathlib.Path) -> Fingerprint:
    files = []
    for path in directory.rglob("*"):
        try:
            status = path.stat()
        except OSError:
            # Removed since it was listed; the next fingerprint will differ.
            continue
        files.append((str(path.relative_to(directory)), status.st_size, status.st_mtime_ns))
    return tuple(sorted(files))
