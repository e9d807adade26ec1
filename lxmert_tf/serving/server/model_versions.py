"""Versions of a model: loaded, warmed up, and replaced while requests are answered."""

import os
import pathlib
import time
from collections.abc import Callable, Iterable, Mapping

from lxmert_tf import storage
from lxmert_tf.errors import InputError
from lxmert_tf.hub import local_directory
from lxmert_tf.serving.errors import RequestError
from lxmert_tf.serving.layout import engine_of, numbered_versions, versions_at_url
from lxmert_tf.serving.server.metrics import ServerMetrics
from lxmert_tf.serving.server.served_model import ServedModel

# Path, size and modification time of every file of a version; at a URL the version of the file.
Fingerprint = tuple[tuple[str, int, int | str], ...]


class ModelVersions:
    """Serves the highest version that can be loaded, and the versions that have a label.

    A version is replaced only after the next one is loaded and warmed up. A request ends with the
    version with which it began.

    Args:
        directory: A folder of numbered SavedModels or OpenVINO models, or one of either, whose
            version is its name if that is a number, or the name that a symbolic link leads to, and
            1 otherwise. At a URL, the folder; versions to serve are downloaded.
        labels: Version numbers by label.
        log: Called with a line when a version is served or cannot be loaded.
        engine: "tensorflow" or "openvino", to serve only the versions for it; None for all.

    Attributes:
        metrics: Counts the attempts to load a version; the server adds its own metrics.

    Raises:
        InputError: No version can be loaded, or a label names a version that does not exist.
    """

    def __init__(
        self,
        directory,
        labels: dict[str, int],
        log: Callable[[str], None],
        engine: str | None = None,
    ):
        self.directory = directory if storage.is_url(directory) else pathlib.Path(directory)
        self.metrics = ServerMetrics()
        self._engine = engine
        self._labels = labels
        self._log = log
        self._seen: dict[int, Fingerprint] = {}
        self._failed: dict[int, Fingerprint] = {}
        # Why a version cannot be downloaded, which is logged once.
        self._unreachable: dict[int, str] = {}
        self._served: dict[int, ServedModel] = {}
        found = self._find()
        if not found:
            raise InputError(f"{directory}: {_nothing_to_serve(self.directory, engine)}")
        for label, number in labels.items():
            if number not in found:
                raise InputError(f"{directory}: no version {number} for the label {label!r}")
        self._seen = self._fingerprints(found)
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
        fingerprints = self._fingerprints(found)
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

    def _load(self, number: int, place: pathlib.Path | str, fingerprint: Fingerprint) -> None:
        path = self._fetch(number, place)
        if path is None:
            return
        started = time.perf_counter()
        succeeded = False
        try:
            model = _load_model(path)
            succeeded = True
        except InputError as error:
            self._failed[number] = fingerprint
            self._log(str(error))
            return
        except ModuleNotFoundError as error:
            # At the start, the command says what to install.
            if not self._served:
                raise
            self._failed[number] = fingerprint
            self._log(f"{place}: needs the package {error.name!r}, which is not installed")
            return
        finally:
            self.metrics.record_load(str(place), succeeded, time.perf_counter() - started)
        self._served = {**self._served, number: model}
        self._log(f"serving version {number}")

    def _fetch(self, number: int, place: pathlib.Path | str) -> pathlib.Path | None:
        """Return where the files of a version are on this machine, or None if they cannot be had.

        Raises:
            InputError: They cannot be had, and nothing is served yet.
        """
        try:
            path = local_directory(place)
        except InputError as error:
            if not self._served:
                raise
            # Unlike a damaged model, it is tried again at the next check.
            if self._unreachable.get(number) != str(error):
                self._unreachable[number] = str(error)
                self._log(str(error))
            return None
        self._unreachable.pop(number, None)
        return path

    def _drop(self, found: Iterable[int]) -> None:
        kept = {n for n in self._labels.values() if n in self._served}
        # If all files are gone, the model in memory still answers.
        kept.add(max(self._served.keys() & set(found) or self._served.keys(), default=-1))
        self._served = {n: model for n, model in self._served.items() if n in kept}

    def _find(self) -> Mapping[int, pathlib.Path | str]:
        if isinstance(self.directory, str):
            return self._find_at_url(self.directory)
        if found := engine_of(self.directory):
            if self._engine not in (None, found):
                return {}
            names = (
                os.path.basename(os.path.abspath(self.directory)),
                self.directory.resolve().name,
            )
            numbers = [int(name) for name in names if name.isdecimal()]
            return {next(iter(numbers), 1): self.directory}
        try:
            return numbered_versions(self.directory, self._engine)
        except OSError as error:
            if self._served:
                return {}
            raise InputError(f"{self.directory}: {error.strerror}") from error

    def _find_at_url(self, url: str) -> dict[int, str]:
        try:
            self._files = storage.find_files(url)
        except InputError:
            # The models in memory still answer.
            if self._served:
                return {}
            raise
        return versions_at_url(url, self._files, self._engine)

    def _fingerprints(self, found: Mapping[int, pathlib.Path | str]) -> dict[int, Fingerprint]:
        if not isinstance(self.directory, str):
            return {number: _fingerprint(path) for number, path in found.items()}
        return {number: self._fingerprint_at_url(number) for number in found}

    def _fingerprint_at_url(self, number: int) -> Fingerprint:
        prefix = f"{number}/"
        return tuple(
            (name, about.size, about.version)
            for name, about in self._files.items()
            if name.startswith(prefix)
        )


def _load_model(path: pathlib.Path) -> ServedModel:
    # Imported here: OpenVINO does without TensorFlow, and TensorFlow without OpenVINO.
    if engine_of(path) == "openvino":
        from lxmert_tf.serving.server.served_openvino import ServedOpenVino

        return ServedOpenVino(path)
    from lxmert_tf.serving.server.served_saved_model import ServedSavedModel

    return ServedSavedModel(path)


def _nothing_to_serve(directory: pathlib.Path | str, engine: str | None) -> str:
    found = None if isinstance(directory, str) else engine_of(directory)
    if engine == "openvino":
        what = "a SavedModel" if found else "no OpenVINO model and no numbered versions of one"
        return f"{what}; --engine openvino needs one from lxmert export --format openvino"
    if engine == "tensorflow" and found:
        return "an OpenVINO model; --engine tensorflow needs a SavedModel (lxmert export)"
    if engine == "tensorflow":
        return "no SavedModel and no numbered versions of one"
    return "no SavedModel or OpenVINO model, and no numbered versions of one"


def _fingerprint(directory) -> Fingerprint:
    files = []
    for path in directory.rglob("*"):
        try:
            status = path.stat()
        except OSError:
            # Removed since it was listed; the next fingerprint will differ.
            continue
        files.append((str(path.relative_to(directory)), status.st_size, status.st_mtime_ns))
    return tuple(sorted(files))
