"""The directory of a training run.

run.json        settings, compared when the run is resumed
dataset.json    number of sentences of each split, vocabulary, and answers of the training data
checkpoints/    TensorFlow checkpoints of model and optimizer, and the weights of the best epoch
log.jsonl       see `TrainingLog`
tensorboard/    event files, with sample answers of each epoch
preset/         the trained model, at the end
"""

import dataclasses
import fcntl
import hashlib
import json
import os
import pathlib
import shutil
from collections.abc import Sequence
from typing import Any

import tensorflow as tf

from lxmert_tf.atomic_write import PARTIAL
from lxmert_tf.config_file import read_mapping
from lxmert_tf.errors import InputError
from lxmert_tf.models.presets import PresetModel
from lxmert_tf.storage import describe_file, is_url, join
from lxmert_tf.terminal import make_console
from lxmert_tf.text_file import write_text
from lxmert_tf.training.checkpointing import WRITING, reason_of
from lxmert_tf.training.config import TrainingConfig
from lxmert_tf.training.dataset_info import DatasetInfo
from lxmert_tf.training.run_mirror import RUN, RunMirror

PRESET = "preset"


class RunDirectory:
    """A new run, or one that is resumed; a context in which no other process uses the directory.

    Files that a killed process was writing are deleted. `run.json` is written first: a run that
    was killed before has left nothing, and resuming it starts it.

    Args:
        path: The directory, or its URL; `self.path` is then a local copy, which `push` uploads.
        settings: Settings of the run, as JSON holds them; a resumed run must have the same.
        resume: Continue the run in the directory, if there is one.
        writes: Whether this process writes; of several workers one does, and the others only
            read the checkpoints.

    Raises:
        InputError: There is a run and `resume` is false, it has other settings, or another process
            uses the directory.
    """

    def __init__(self, path, settings: dict[str, Any], resume: bool, writes: bool = True):
        self._mirror = RunMirror(path, resume, writes) if is_url(path) else None
        self.path = self._mirror.folder if self._mirror else pathlib.Path(path)
        self.checkpoints = self.path / "checkpoints"
        self.preset = join(path, PRESET)
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
                f"{self.path}: holds a run already; continue it with --resume, or name another "
                "directory"
            )
        if file.exists():
            _check_same(json.loads(json.dumps(settings)), read_mapping(file), file)
            self._delete_unfinished()
            return
        if resume:
            text = f"{self.path}: no run to resume; starting a new one"
            make_console(stderr=True).print(text, soft_wrap=True)
        write_text(file, json.dumps(settings, indent=1) + "\n")
        self.push()

    def __enter__(self) -> "RunDirectory":
        return self

    def __exit__(self, *exception) -> None:
        if self._lock is not None:
            os.close(self._lock)
        if self._mirror is not None:
            self._mirror.close()

    def push(self) -> None:
        """Upload what is new in the directory, if it has a URL.

        Raises:
            InputError: The URL cannot be written.
        """
        if self._mirror is not None:
            self._mirror.push()

    def save_dataset_info(self, info: DatasetInfo) -> None:
        """Write `dataset.json`, if this process is the one that writes."""
        if self._lock is not None:
            info.save(self.path)
            self.push()

    def save_preset(self, model: PresetModel) -> None:
        """Write the trained model, if this process is the one that writes.

        Raises:
            InputError: It cannot be written, for example because the disk is full.
        """
        if self._lock is None:
            return
        self.push()
        try:
            model.save_preset(self.preset)
        except (tf.errors.OpError, OSError) as error:
            raise InputError(
                f"{self.preset}: cannot write the preset: {reason_of(error)}; try again with "
                "--resume"
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
    """Lock a directory; return its descriptor. The lock ends with the process."""
    directory = os.open(path, os.O_RDONLY)
    try:
        fcntl.flock(directory, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        os.close(directory)
        raise InputError(f"{path}: another process is training there") from error
    return directory


def _check_same(now: dict[str, Any], then: dict[str, Any], file: pathlib.Path) -> None:
    for key in sorted(set(now) | set(then)):
        ours, theirs = now.get(key), then.get(key)
        if isinstance(ours, dict) and isinstance(theirs, dict):
            _check_same(ours, theirs, file)
        elif ours != theirs:
            raise InputError(
                f"{file}: {key} was {json.dumps(theirs)} and is {json.dumps(ours)} now; a run must "
                "be resumed with the settings it started with"
            )


def run_settings(
    kind: str,
    config: TrainingConfig,
    model: PresetModel,
    info: DatasetInfo,
    files: Sequence[str],
) -> dict[str, Any]:
    """Return the settings of a `RunDirectory`.

    Args:
        kind: "finetuning" or "pretraining"; the key of `config`.
        config: How to train.
        model: Model to train. Only a digest of its vocabulary and answers is kept.
        info: Facts about the training data.
        files: Training files. Their total size stands for their content.
    """
    text = "\n".join([*(model.vocabulary or ()), *(model.answers or ())])
    return {
        kind: dataclasses.asdict(config),
        "model": model.config.to_dict(),
        "sentences": info.sentences,
        "record_bytes": sum(describe_file(name).size for name in files),
        "words_sha256": hashlib.sha256(text.encode()).hexdigest(),
    }
