"""Configuration of a pipeline run: a file in configs/pipeline/."""

import dataclasses
import pathlib
from collections.abc import Sequence
from typing import Annotated, Any, TypeVar

import pydantic

from lxmert_tf.config_file import check_fields, load_config
from lxmert_tf.errors import InputError
from lxmert_tf.models.config import LxmertConfig
from lxmert_tf.regions.registry import make_extractor
from lxmert_tf.training.config import FinetuningConfig, PretrainingConfig
from pipeline.ingest.config import IngestConfig, PartConfig, SplitConfig
from pipeline.ingest.inputs import check_scenes, check_split
from pipeline.ingest.registry import make_data_set

T = TypeVar("T")

# Keys that name a file, as they begin an override of a value in it.
_FILES = ("model.", "task.", "pretraining.")
SPLITS = ("train", "validation", "test")
# The challenge that the statements of a format are from.
CHALLENGES = {"nlvr": "nlvr", "nlvr2_release": "nlvr2", "nlvr2_official": "nlvr2"}
Share = Annotated[float, pydantic.Field(ge=0, le=1)]
Name = Annotated[str, pydantic.Field(pattern=r"^[A-Za-z0-9_-]+$")]


@dataclasses.dataclass(frozen=True)
class PipelineConfig:
    """One TFX pipeline from images, or files with their regions, to a pushed model.

    Args:
        name: Name of the pipeline and of the pushed model's folder.
        model: A model configuration, relative to this file.
        task: A task configuration, relative to this file.
        splits: `train`, `validation` and `test`, each taken from splits of the data set or parts;
            also those that stages of the pre-training name.
        least_accuracy: Soft accuracy on `test` that a model must reach to be pushed, in 0..1.
        may_drop: How far the accuracy may be below that of the last blessed model, in 0..1.
        pretraining: A pre-training configuration, relative to this file; None to skip this stage.
        source: Name of a data set; None for files.
        parts: Files by name, as in `IngestConfig`.
        extractor: Makes regions from images; None if the files contain regions.
        max_reject_fraction: Fraction of a split's images or sentences that may be rejected.
        image_id_regex: Selects the id within images' names, as in `IngestConfig`.
        init_from: A preset that the first training starts from, relative to the working directory;
            None to use that of its own configuration.
        infra_validation: Tags of the Docker image tensorflow/serving, in which a model must load
            and answer before it is pushed; empty to skip this check.
    """

    name: Name
    model: str
    task: str
    splits: dict[str, SplitConfig]
    least_accuracy: Share
    may_drop: Share = 0.0
    pretraining: str | None = None
    source: str | None = None
    parts: dict[str, PartConfig] = dataclasses.field(default_factory=dict)
    extractor: dict[str, Any] | None = None
    max_reject_fraction: Share = 0.01
    image_id_regex: str | None = None
    init_from: str | None = None
    infra_validation: tuple[str, ...] = ()

    def __post_init__(self):
        check_fields(self)
        missing = [name for name in SPLITS if name not in self.splits]
        if missing:
            raise InputError(
                f"splits are {', '.join(self.splits)}; {', '.join(missing)} must be among them"
            )
        if self.splits["test"].layout != "flat":
            raise InputError("splits.test.layout is 'grouped'; the Evaluator needs 'flat'")
        if self.ingestion.source and self.extractor is None:
            raise InputError("the key 'extractor' is missing; images need one")

    @property
    def ingestion(self) -> IngestConfig:
        """The configuration of SceneExampleGen."""
        options: dict[str, Any] = {} if self.extractor is None else {"extractor": self.extractor}
        return IngestConfig(
            source=self.source,
            parts=self.parts,
            splits=self.splits,
            max_reject_fraction=self.max_reject_fraction,
            image_id_regex=self.image_id_regex,
            **options,
        )


@dataclasses.dataclass(frozen=True)
class LoadedPipeline:
    """A pipeline configuration with the content of the files that it names.

    Args:
        pipeline: The pipeline itself.
        model: Sizes of the model.
        task: The training for the task.
        pretraining: The training before it; None to skip this stage.
    """

    pipeline: PipelineConfig
    model: LxmertConfig
    task: FinetuningConfig
    pretraining: PretrainingConfig | None = None

    @property
    def challenge(self) -> str | None:
        """The challenge whose statements `test` has: "nlvr", "nlvr2", or None for others."""
        settings = self.pipeline
        formats = {
            files.format
            for name in settings.splits["test"].names
            if name in settings.parts
            for files in settings.parts[name].sentences
        }
        challenges = {CHALLENGES.get(name) for name in formats}
        return challenges.pop() if len(challenges) == 1 else None

    @property
    def pretraining_splits(self) -> list[str]:
        """The splits that the pre-training reads: those that its stages name, otherwise `train`."""
        stages = self.pretraining.stages if self.pretraining else ()
        return sorted({stage.split or "train" for stage in stages})

    def __post_init__(self):
        wanted = {*SPLITS, *self.pretraining_splits}
        if self.pipeline.splits.keys() != wanted:
            raise InputError(
                f"splits are {', '.join(self.pipeline.splits)}; with this pre-training they must "
                f"be {', '.join([*SPLITS, *sorted(wanted - set(SPLITS))])}"
            )
        pairs = self.task.task == "statements"
        if pairs and self.pretraining:
            raise InputError(
                "pretraining reads scenes of one image, the task 'statements' of two; "
                "use init_from with a pre-trained preset instead"
            )
        check_scenes(self.pipeline.ingestion, f"the task {self.task.task!r}", 2 if pairs else 1)
        if self.pipeline.extractor is None:
            return
        stages = {"task": self.task, "pretraining": self.pretraining}
        max_regions = make_extractor(self.pipeline.extractor).max_regions
        for name, stage in stages.items():
            if stage and max_regions > stage.max_regions:
                raise InputError(
                    f"the extractor makes up to {max_regions} regions, but max_regions of the "
                    f"{name} is {stage.max_regions}"
                )


def load_pipeline(path, overrides: Sequence[str] = ()) -> LoadedPipeline:
    """Read and check a pipeline configuration and the files that it names.

    Args:
        path: A YAML or JSON file.
        overrides: Changes, as for `load_config`. A KEY that begins with "model.", "task.", or
            "pretraining." changes that file.

    Raises:
        InputError: A file is missing or has a wrong value; the message names file and key.

    Example:
        >>> load_pipeline("configs/pipeline/easy_vqa.yaml").pipeline.least_accuracy
        0.99
    """
    path = pathlib.Path(path)
    own = [change for change in overrides if not change.startswith(_FILES)]
    config = load_config(PipelineConfig, path, own)

    def load(cls: type[T], key: str) -> T:
        changes = [change for change in overrides if change.startswith(f"{key}.")]
        return load_config(cls, path.parent / getattr(config, key), changes, prefix=f"{key}.")

    model, task = load(LxmertConfig, "model"), load(FinetuningConfig, "task")
    pretraining = load(PretrainingConfig, "pretraining") if config.pretraining else None
    if pretraining is None:
        for change in overrides:
            if change.startswith("pretraining."):
                raise InputError(f"--set {change}: {path} has no pretraining")
    try:
        _check_splits(config)
        if config.init_from and pretraining:
            pretraining = dataclasses.replace(pretraining, init_from=config.init_from)
        elif config.init_from:
            task = dataclasses.replace(task, init_from=config.init_from)
        return LoadedPipeline(config, model, task, pretraining)
    except InputError as error:
        raise InputError(f"{path}: {error}") from error


def _check_splits(config: PipelineConfig) -> None:
    if config.source is None:
        return
    source = make_data_set(config.source)
    for split in config.splits.values():
        for name in split.names:
            check_split(source, name)
