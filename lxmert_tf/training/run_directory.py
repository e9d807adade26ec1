"""The directory of a training run: what it was told, its checkpoints, its log, its result.

run.json        what the run was told, to be compared when it is resumed
checkpoints/    TensorFlow checkpoints of model and optimizer, and the weights of the best epoch
log.jsonl       see `TrainingLog`
tensorboard/    event files
preset/         the trained model, at the end
"""

import dataclasses
import fcntl
import hashlib
import json
import os
import pathlib
import shutil
from typing import Any

import tensorflow as tf
from rich.console import Console

from lxmert_tf.atomic_write import PARTIAL
from lxmert_tf.config_file import read_mapping
from lxmert_tf.errors import InputError
from lxmert_tf.models.presets import PresetModel
from lxmert_tf.text_file import write_text
from lxmert_tf.training.checkpointing import WRITING, reason_of
from lxmert_tf.training.config import TrainingConfig
from lxmert_tf.training.dataset_info import DatasetInfo

RUN = "run.json"
PRESET = "preset"


class RunDirectory:
    """Begins a run, or goes on with one; a context in which no other process has the directory.

    What a killed process was about to write is deleted. `run.json` is the first thing in a run:
    a run that was killed before it has left nothing, so that resuming it begins it.

    Args:
        path: the directory.
        settings: what the run is told, as JSON holds it; a resumed run must be told the same.
        resume: whether to go on with the run that is there, if there is one.
        writes: whether this process is the one that writes; of several workers one does, and the
            others only read the checkpoints.

    Raises:
        InputError: there is a run and it is not to be resumed, or it was told something else, or
            another process trains there.
    """

    def __init__(self, path, settings: dict[str, Any], resume: bool, writes: bool = True):
        self.path = pathlib.Path(path)
        self.checkpoints = self.path / "checkpoints"
        self.preset = self.path / PRESET
        self._lock = None
        if not writes:
            return
        self.path.mkdir(parents=True, exist_ok=True)
        self._lock = _lock(self.path)
        try:
            self._begin(settings, resume)
        except BaseException:
            self.__exit__()
            raise

    def _begin(self, settings: dict[str, Any], resume: bool) -> None:
        file = self.path / RUN
        if file.exists() and not resume:
            raise InputError(
                f"{self.path}: holds a run; --resume goes on with it, or name another directory"
            )
        if file.exists():
            _check_same(json.loads(json.dumps(settings)), read_mapping(file), file)
            self._delete_unfinished()
            return
        if resume:
            text = f"{self.path}: holds no run yet; this one begins"
            Console(stderr=True, highlight=False).print(text, soft_wrap=True)
        write_text(file, json.dumps(settings, indent=1) + "\n")

    def __enter__(self) -> "RunDirectory":
        return self

    def __exit__(self, *exception) -> None:
        if self._lock is not None:
            os.close(self._lock)

    def save_preset(self, model: PresetModel) -> None:
        """Writes the trained model, if this process is the one that writes.

        Raises:
            InputError: it cannot be written, for example because the disk is full.
        """
        if self._lock is None:
            return
        try:
            model.save_preset(self.preset)
        except (tf.errors.OpError, OSError) as error:
            raise InputError(
                f"{self.preset}: cannot be written: {reason_of(error)}; once it can, --resume "
                "writes it"
            ) from error

    def _delete_unfinished(self) -> None:
        shutil.rmtree(self.checkpoints / WRITING, ignore_errors=True)
        for path in self.path.glob(f".{PRESET}-*"):
            shutil.rmtree(path, ignore_errors=True)
        for folder in (self.path, self.checkpoints):
            for path in folder.glob(f".*{PARTIAL}"):
                if path.is_dir():
                    shutil.rmtree(path, ignore_errors=True)
                else:
                    path.unlink()


def _lock(path: pathlib.Path) -> int:
    """A descriptor of the directory; its lock ends with the process, however that ends."""
    directory = os.open(path, os.O_RDONLY)
    try:
        fcntl.flock(directory, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        os.close(directory)
        raise InputError(f"{path}: another process trains there") from error
    return directory


def _check_same(now: dict[str, Any], then: dict[str, Any], file: pathlib.Path) -> None:
    for key in sorted(set(now) | set(then)):
        ours, theirs = now.get(key), then.get(key)
        if isinstance(ours, dict) and isinstance(theirs, dict):
            _check_same(ours, theirs, file)
        elif ours != theirs:
            raise InputError(
                f"{file}: {key} was {json.dumps(theirs)} and is {json.dumps(ours)} now; a run is "
                "resumed with what it was begun with"
            )


def run_settings(
    kind: str, config: TrainingConfig, model: PresetModel, words: DatasetInfo
) -> dict[str, Any]:
    """The settings of a `RunDirectory`.

    Args:
        kind: of training; the key of `config` among them.
        config: how to train.
        model: that is trained. Of its words and answers only a digest is kept.
        words: of the training sentences.
    """
    text = "\n".join([*model.vocabulary, *(model.answers or ())])
    return {
        kind: dataclasses.asdict(config),
        "model": model.config.to_dict(),
        "sentences": words.sentences,
        "words_sha256": hashlib.sha256(text.encode()).hexdigest(),
    }
