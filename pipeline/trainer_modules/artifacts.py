"""Artifacts of the Trainers: local folders for remote ones, and the training summary."""

import contextlib
import json
import pathlib
import tempfile
from collections.abc import Iterator

from tfx.utils import io_utils

TRAINING_SUMMARY = "training.json"


@contextlib.contextmanager
def written_folder(uri: str) -> Iterator[pathlib.Path]:
    """Yield a local folder to write an artifact to.

    For a remote URI (gs://...) this is a temporary folder. It replaces the content of the URI at
    the end of the block, unless the block raises.

    Args:
        uri: The folder of the artifact.
    """
    if "://" not in uri:
        yield pathlib.Path(uri)
        return
    with tempfile.TemporaryDirectory(prefix="artifact-") as folder:
        yield pathlib.Path(folder)
        io_utils.copy_dir(folder, uri)


@contextlib.contextmanager
def read_folder(uri: str) -> Iterator[pathlib.Path]:
    """Yield a local folder to read an artifact from; a copy if the URI is remote (gs://...)."""
    if "://" not in uri:
        yield pathlib.Path(uri)
        return
    with tempfile.TemporaryDirectory(prefix="artifact-") as folder:
        io_utils.copy_dir(uri, folder)
        yield pathlib.Path(folder)


def write_training_summary(artifact: pathlib.Path, seconds: float) -> None:
    """Write the duration of a training to `training.json` in its model artifact."""
    text = json.dumps({"train_seconds": round(seconds, 1)}) + "\n"
    (artifact / TRAINING_SUMMARY).write_text(text, encoding="utf-8")


def read_training_seconds(artifact_uri: str) -> float:
    """Read the duration of a training from its model artifact."""
    path = pathlib.Path(artifact_uri) / TRAINING_SUMMARY
    return json.loads(path.read_text(encoding="utf-8"))["train_seconds"]
