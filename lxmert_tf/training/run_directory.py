"""The directory of a training run: what it was told, its checkpoints, its log, its result.

run.json        what the run was told, to be compared when it is resumed
checkpoints/    TensorFlow checkpoints of model and optimizer
log.jsonl       see `TrainingLog`
tensorboard/    event files
preset/         the trained model, at the end
"""

import json
import pathlib
from typing import Any

from lxmert_tf.config_file import read_mapping
from lxmert_tf.errors import InputError
from lxmert_tf.text_file import write_text

RUN = "run.json"


class RunDirectory:
    """Begins a run, or goes on with one.

    Args:
        path: the directory.
        settings: what the run is told, as JSON holds it; a resumed run must be told the same.
        resume: whether a run is there already.

    Raises:
        InputError: there is a run and it is not to be resumed, there is none and it is, or the
            one that is there was told something else.
    """

    def __init__(self, path, settings: dict[str, Any], resume: bool):
        self.path = pathlib.Path(path)
        self.checkpoints = self.path / "checkpoints"
        self.preset = self.path / "preset"
        file = self.path / RUN
        if resume:
            if not file.exists():
                raise InputError(f"{self.path}: holds no run to resume; leave out --resume")
            _check_same(json.loads(json.dumps(settings)), read_mapping(file), file)
            return
        if file.exists():
            raise InputError(
                f"{self.path}: holds a run; --resume goes on with it, or name another directory"
            )
        self.path.mkdir(parents=True, exist_ok=True)
        write_text(file, json.dumps(settings, indent=1) + "\n")


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
