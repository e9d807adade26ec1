"""The versions of a model that a server answers with, kept up with what is pushed."""

import pathlib
from collections.abc import Callable

from lxmert_tf.errors import InputError
from lxmert_tf.serving.refusal import Refusal
from lxmert_tf.serving.served_model import ServedModel

# Every file of a version with its size and time.
Fingerprint = tuple[tuple[str, int, int], ...]


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
            Refusal: 404, it is not served.
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
            raise Refusal(404, f"{what} is not served; versions are {there}")
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
