"""Folders of artifacts as local ones: models and logs are written by what knows a disk only."""

import contextlib
import json
import pathlib
import tempfile
from collections.abc import Iterator

from tfx.utils import io_utils


@contextlib.contextmanager
def written_folder(uri: str) -> Iterator[pathlib.Path]:
    """The folder of an artifact; of one elsewhere (gs://...) a local one that is copied there.

    Args:
        uri: of the folder. What it held elsewhere is replaced, at the end and not after an error.
    """
    if "://" not in uri:
        yield pathlib.Path(uri)
        return
    with tempfile.TemporaryDirectory(prefix="artifact-") as folder:
        yield pathlib.Path(folder)
        io_utils.copy_dir(folder, uri)


@contextlib.contextmanager
def read_folder(uri: str) -> Iterator[pathlib.Path]:
    """The folder of an artifact; of one elsewhere (gs://...) a local copy."""
    if "://" not in uri:
        yield pathlib.Path(uri)
        return
    with tempfile.TemporaryDirectory(prefix="artifact-") as folder:
        io_utils.copy_dir(uri, folder)
        yield pathlib.Path(folder)


TRAINING_SUMMARY = "training.json"


def write_training_summary(artifact, seconds: float) -> None:
    """Writes `training.json` into a model artifact."""
    text = json.dumps({"train_seconds": round(seconds, 1)}) + "\n"
    (pathlib.Path(artifact) / TRAINING_SUMMARY).write_text(text, encoding="utf-8")


def read_training_seconds(artifact_uri: str) -> float:
    """How long the training of a model artifact took."""
    path = pathlib.Path(artifact_uri) / TRAINING_SUMMARY
    return json.loads(path.read_text(encoding="utf-8"))["train_seconds"]
