"""What a pipeline run does: a file under configs/pipeline/."""

import dataclasses
import pathlib
from typing import Any

from lxmert_tf.config_file import load_config
from lxmert_tf.errors import InputError
from lxmert_tf.models.config import LxmertConfig
from lxmert_tf.regions.registry import make_extractor
from lxmert_tf.training.config import FinetuningConfig, PretrainingConfig
from pipeline.ingest.config import IngestConfig, PartConfig, SplitConfig
from pipeline.ingest.inputs import check_scenes, check_split
from pipeline.ingest.registry import make_data_set

SPLITS = ("train", "validation", "test")


@dataclasses.dataclass(frozen=True)
class PipelineConfig:
    """One TFX pipeline from pictures, or files with their regions, to a pushed model.

    Args:
        name: of the pipeline, and of the pushed model's folder.
        model, task: files, relative to this one.
        splits: `train`, `validation` and `test`, each out of a split of the source, or of parts.
        least_accuracy: soft accuracy on `test` below which a model is not pushed, 0..1.
        may_drop: how much below the blessed model's it may be.
        pretraining: the file of a stage before the task's, relative to this one; None for none.
        source: which data set; None for files.
        parts: files by name, as `IngestConfig` has them.
        extractor: what makes regions of pictures; None where the files hold regions.
        max_reject_fraction: of a split's images or sentences; above it the run stops.
        init_from: a preset that the first training starts from, relative to the working
            directory; None for what its file says.
        infra_validation: tags of Docker's image tensorflow/serving, in which a model must load and
            answer before it is pushed; none for no such check.
    """

    name: str
    model: str
    task: str
    splits: dict[str, SplitConfig]
    least_accuracy: float
    may_drop: float = 0.0
    pretraining: str | None = None
    source: str | None = None
    parts: dict[str, PartConfig] = dataclasses.field(default_factory=dict)
    extractor: dict[str, Any] | None = None
    max_reject_fraction: float = 0.01
    init_from: str | None = None
    infra_validation: tuple[str, ...] = ()

    def __post_init__(self):
        if sorted(self.splits) != sorted(SPLITS):
            raise InputError(f"splits are {', '.join(self.splits)}; needed are {', '.join(SPLITS)}")
        if not 0 <= self.least_accuracy <= 1:
            raise InputError(f"least_accuracy is {self.least_accuracy}; it must be in [0, 1]")
        if not 0 <= self.may_drop <= 1:
            raise InputError(f"may_drop is {self.may_drop}; it must be in [0, 1]")
        if not self.name.replace("_", "").replace("-", "").isalnum():
            raise InputError(f"name is {self.name!r}; letters, digits, - and _ make a good one")
        if self.splits["test"].layout != "flat":
            raise InputError("splits.test.layout is 'grouped'; the Evaluator reads 'flat'")
        if self.ingestion.source and self.extractor is None:
            raise InputError("extractor is missing; it says what makes regions of the pictures")

    @property
    def ingestion(self) -> IngestConfig:
        """What SceneExampleGen reads."""
        options = {} if self.extractor is None else {"extractor": self.extractor}
        return IngestConfig(
            source=self.source,
            parts=self.parts,
            splits=self.splits,
            max_reject_fraction=self.max_reject_fraction,
            **options,
        )


@dataclasses.dataclass(frozen=True)
class LoadedPipeline:
    """A pipeline's configuration with the files that it names."""

    pipeline: PipelineConfig
    model: LxmertConfig
    task: FinetuningConfig
    pretraining: PretrainingConfig | None = None

    def __post_init__(self):
        pairs = self.task.task == "statements"
        if pairs and self.pretraining:
            raise InputError(
                "pretraining reads scenes of one image, the task 'statements' of two; name a "
                "pre-trained preset as init_from"
            )
        check_scenes(self.pipeline.ingestion, f"the task {self.task.task!r}", 2 if pairs else 1)
        if self.pipeline.extractor is None:
            return
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
        _check_splits(config)
        return LoadedPipeline(config, model, *_started(config.init_from, task, pretraining))
    except InputError as error:
        raise InputError(f"{path}: {error}") from error


def _check_splits(config: PipelineConfig) -> None:
    if config.source is None:
        return
    source = make_data_set(config.source)
    for split in config.splits.values():
        for name in split.names:
            check_split(source, name)


def _started(init_from: str | None, task: FinetuningConfig, pretraining: PretrainingConfig | None):
    """The stages, of which the first one starts from a preset."""
    if init_from is None:
        return task, pretraining
    if pretraining:
        return task, dataclasses.replace(pretraining, init_from=init_from)
    return dataclasses.replace(task, init_from=init_from), None
