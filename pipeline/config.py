"""What a pipeline run does: a file under configs/pipeline/."""

import dataclasses
import pathlib
from typing import Any

from lxmert_tf.config import LxmertConfig
from lxmert_tf.config_file import load_config
from lxmert_tf.errors import InputError
from lxmert_tf.regions.registry import make_extractor
from lxmert_tf.training.config import FinetuningConfig, PretrainingConfig
from pipeline.ingest.config import SplitConfig
from pipeline.ingest.inputs import check_split
from pipeline.ingest.sources.registry import make_data_set

SPLITS = ("train", "validation", "test")


@dataclasses.dataclass(frozen=True)
class PipelineConfig:
    """One TFX pipeline from pictures to a pushed answer model.

    Args:
        name: of the pipeline, and of the pushed model's folder.
        source: which data set.
        model, task: files, relative to this one.
        pretraining: the file of a stage before the task's, relative to this one; None for none.
        splits: `train`, `validation` and `test`, each out of a split of the source.
        extractor: what makes regions of the pictures.
        least_accuracy: soft accuracy on `test` below which a model is not pushed, 0..1.
        may_drop: how much below the blessed model's it may be.
    """

    name: str
    source: str
    model: str
    task: str
    splits: dict[str, SplitConfig]
    extractor: dict[str, Any]
    least_accuracy: float
    may_drop: float = 0.0
    pretraining: str | None = None

    def __post_init__(self):
        if sorted(self.splits) != sorted(SPLITS):
            raise InputError(f"splits are {', '.join(self.splits)}; needed are {', '.join(SPLITS)}")
        if not 0 <= self.least_accuracy <= 1:
            raise InputError(f"least_accuracy is {self.least_accuracy}; it must be in [0, 1]")
        if not 0 <= self.may_drop <= 1:
            raise InputError(f"may_drop is {self.may_drop}; it must be in [0, 1]")
        if not self.name.replace("_", "").replace("-", "").isalnum():
            raise InputError(f"name is {self.name!r}; letters, digits, - and _ make a good one")


@dataclasses.dataclass(frozen=True)
class LoadedPipeline:
    """A pipeline's configuration with the files that it names."""

    pipeline: PipelineConfig
    model: LxmertConfig
    task: FinetuningConfig
    pretraining: PretrainingConfig | None = None

    def __post_init__(self):
        stages = {"task": self.task, "pretraining": self.pretraining}
        most = make_extractor(self.pipeline.extractor).max_regions
        for name, stage in stages.items():
            if stage and most > stage.max_regions:
                raise InputError(
                    f"the extractor makes up to {most} regions, but max_regions of the {name} is "
                    f"{stage.max_regions}"
                )


def load_pipeline(path) -> LoadedPipeline:
    """Reads a pipeline's file and those that it names, and checks what can be checked before a run.

    Raises:
        InputError: naming the file and the key.
    """
    path = pathlib.Path(path)
    config = load_config(PipelineConfig, path)
    model = LxmertConfig.from_file(path.parent / config.model)
    task = load_config(FinetuningConfig, path.parent / config.task)
    pretraining = None
    if config.pretraining:
        pretraining = load_config(PretrainingConfig, path.parent / config.pretraining)
    try:
        source = make_data_set(config.source)
        for split in config.splits.values():
            for name in split.names:
                check_split(source, name)
        return LoadedPipeline(config, model, task, pretraining)
    except InputError as error:
        raise InputError(f"{path}: {error}") from error
