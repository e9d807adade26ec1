"""The versions of a model that a server answers with, kept up with what is pushed."""

import inspect
import pathlib
from collections.abc import Callable, Iterator

import numpy as np
import tensorflow as tf
from google.protobuf import json_format
from tensorflow.core.protobuf import meta_graph_pb2

from lxmert_tf.errors import InputError
from lxmert_tf.serving.errors import RequestError
from lxmert_tf.serving.session import SavedModelSession
from lxmert_tf.serving.warmup import Request, pair_warmup_requests, warmup_requests

# Every file of a version with its size and time.
Fingerprint = tuple[tuple[str, int, int], ...]


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
            RequestError: 400, what the graph itself says against the inputs.
        """
        try:
            return self._session.run(signature, inputs)
        except tf.errors.InvalidArgumentError as error:
            raise RequestError(400, _reason(error)) from error

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
        except RequestError as error:
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


class ModelVersions:
    """Serves the highest version that can be loaded, and those that have a label.

    A version is replaced only when the next one is loaded and warm; a request that has begun ends
    with the version with which it began.

    Args:
        directory: a folder of numbered SavedModels, or one SavedModel (version 1, or its name if
            that is a number).
        labels: numbers of versions by label.
        say: told in a line what is served and what cannot be.

    Raises:
        InputError: there is no version that can be loaded.
    """

    def __init__(self, directory, labels: dict[str, int], say: Callable[[str], None]):
        self.directory = pathlib.Path(directory)
        self._labels = labels
        self._say = say
        self._seen: dict[int, Fingerprint] = {}
        self._failed: dict[int, Fingerprint] = {}
        self._served: dict[int, ServedModel] = {}
        found = self._find()
        if not found:
            raise InputError(f"{directory}: holds no SavedModel and no numbered versions of one")
        for label, number in labels.items():
            if number not in found:
                raise InputError(f"{directory}: has no version {number} for the label {label!r}")
        self._seen = {number: _fingerprint(path) for number, path in found.items()}
        while not self._served and not self._failed.keys() >= found.keys():
            self.refresh()
        if not self._served:
            raise InputError(f"{directory}: none of its versions can be loaded")

    def refresh(self) -> None:
        """Loads what is new and drops what is no longer wanted; slow, and one call at a time.

        A version is loaded when nothing in it has changed since the last call, since copying it
        takes time.
        """
        found = self._find()
        fingerprints = {number: _fingerprint(path) for number, path in found.items()}
        hopeful = {n for n in found if self._failed.get(n) != fingerprints[n]}
        wanted = {n for n in self._labels.values() if n in hopeful}
        if hopeful:
            wanted.add(max(hopeful))
        for number in sorted(wanted - self._served.keys()):
            if self._seen.get(number) == fingerprints[number]:
                self._load(number, found[number], fingerprints[number])
        self._seen = fingerprints
        self._drop(found)

    def get(self, version: str | None = None, label: str | None = None) -> tuple[int, ServedModel]:
        """The model of a version or a label; of neither, the highest.

        Raises:
            RequestError: 404, it is not served.
        """
        served = self._served
        number = max(served)
        if label is not None:
            number = self._labels.get(label, -1)
        elif version is not None:
            number = next((n for n in served if str(n) == version), -1)
        if number not in served:
            what = f"label {label!r}" if label is not None else f"version {version!r}"
            there = ", ".join(map(str, sorted(served)))
            raise RequestError(404, f"{what} is not served; versions are {there}")
        return number, served[number]

    def numbers(self) -> list[int]:
        """The versions that are served, highest first."""
        return sorted(self._served, reverse=True)

    def _load(self, number: int, path: pathlib.Path, fingerprint: Fingerprint) -> None:
        try:
            model = ServedModel(path)
        except InputError as error:
            self._failed[number] = fingerprint
            self._say(str(error))
            return
        self._served = {**self._served, number: model}
        self._say(f"serving version {number}")

    def _drop(self, found: dict[int, pathlib.Path]) -> None:
        kept = {n for n in self._labels.values() if n in self._served}
        # Where the files of all are gone, what is in memory still answers.
        kept.add(max(self._served.keys() & found.keys() or self._served.keys(), default=-1))
        self._served = {n: model for n, model in self._served.items() if n in kept}

    def _find(self) -> dict[int, pathlib.Path]:
        if _is_saved_model(self.directory):
            name = self.directory.resolve().name
            return {int(name) if name.isdecimal() else 1: self.directory}
        try:
            folders = list(self.directory.iterdir())
        except OSError as error:
            if self._served:
                return {}
            raise InputError(f"{self.directory}: {error.strerror}") from error
        return {int(f.name): f for f in folders if f.name.isdecimal() and _is_saved_model(f)}


def _is_saved_model(directory: pathlib.Path) -> bool:
    return (directory / "saved_model.pb").is_file()


def _fingerprint(directory: pathlib.Path) -> Fingerprint:
    files = []
    for path in directory.rglob("*"):
        try:
            status = path.stat()
        except OSError:
            # Gone since it was listed: other than it will be next time.
            continue
        files.append((str(path.relative_to(directory)), status.st_size, status.st_mtime_ns))
    return tuple(sorted(files))


# What Protocol Buffers 5 calls the option that version 3 calls by another name.
_WITH_DEFAULTS = "always_print_fields_with_no_presence"
if _WITH_DEFAULTS not in inspect.signature(json_format.MessageToDict).parameters:
    _WITH_DEFAULTS = "including_default_value_fields"
