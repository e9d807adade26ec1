"""The records and steps of each stage of a training run."""

import math
import os
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from lxmert_tf.errors import InputError
from lxmert_tf.training.config import StageConfig

# What TFX puts before the name of a split in the name of its folder.
_TFX_PREFIX = "Split-"


class StagePlan(NamedTuple):
    """A stage with its place in the run.

    Args:
        stage: Its configuration.
        files: Its records.
        steps_per_epoch: Steps in each of its epochs.
        first_epoch: Epochs of the stages before it.
        first_step: Steps of the stages before it.
    """

    stage: StageConfig
    files: Sequence[str]
    steps_per_epoch: int
    first_epoch: int
    first_step: int

    @property
    def last_epoch(self) -> int:
        """Epochs of the run up to the end of the stage."""
        return self.first_epoch + self.stage.epochs

    @property
    def last_step(self) -> int:
        """Steps of the run up to the end of the stage."""
        return self.first_step + self.stage.epochs * self.steps_per_epoch

    def locate(self, step: int) -> tuple[int, int]:
        """Return the epoch of the run that a step of this stage is in, and the steps before it."""
        epoch, done = divmod(step - self.first_step, self.steps_per_epoch)
        return self.first_epoch + epoch, done


def plan_stages(
    stages: Sequence[StageConfig],
    files: Sequence[str],
    sentences: Mapping[str, int],
    batch_size: int,
) -> list[StagePlan]:
    """Plan the stages of a run.

    Args:
        stages: The stages, one after the other.
        files: All training records.
        sentences: Number of sentences in the records of each split; see `group_by_split`.
        batch_size: Sentences per step.

    Raises:
        InputError: There are no records of a stage's split.
    """
    groups = group_by_split(files)
    plans: list[StagePlan] = []
    for number, stage in enumerate(stages, start=1):
        if stage.split is not None and stage.split not in groups:
            raise InputError(
                f"stage {number}: no training records are in a folder named {stage.split!r}; the "
                f"folders are {', '.join(groups)}"
            )
        names = [stage.split] if stage.split is not None else list(groups)
        before = plans[-1] if plans else None
        plans.append(
            StagePlan(
                stage,
                sorted(file for name in names for file in groups[name]),
                math.ceil(sum(sentences[name] for name in names) / batch_size),
                before.last_epoch if before else 0,
                before.last_step if before else 0,
            )
        )
    return plans


def group_by_split(files: Sequence[str]) -> dict[str, list[str]]:
    """Group record files by their split, the name of their folder.

    Args:
        files: Record files. TFX's folders are named Split-NAME; their split is NAME.

    Example:
        >>> group_by_split(["records/train/scenes.tfrecord", "examples/Split-train/data_0.gz"])
        {'train': ['records/train/scenes.tfrecord', 'examples/Split-train/data_0.gz']}
    """
    groups: dict[str, list[str]] = {}
    for file in files:
        folder = os.path.basename(os.path.dirname(os.fspath(file)))
        groups.setdefault(folder.removeprefix(_TFX_PREFIX), []).append(file)
    return groups
