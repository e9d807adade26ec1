"""Training configurations: the files under configs/task/, configs/pretraining/, configs/ablation/.

The module does not import TensorFlow, so that commands refuse a wrong file at once.
"""

import dataclasses
import re
import typing
from collections.abc import Sequence
from typing import Annotated, Literal

import pydantic

from lxmert_tf.data.masking_rates import MaskingRates
from lxmert_tf.errors import InputError
from lxmert_tf.json_file import describe_mismatch
from lxmert_tf.models.config import PRETRAINING_TASKS, PretrainingTask

Count = Annotated[int, pydantic.Field(ge=1)]
# The bounds also refuse NaN.
Positive = Annotated[float, pydantic.Field(gt=0, allow_inf_nan=False)]
NonNegative = Annotated[float, pydantic.Field(ge=0, allow_inf_nan=False)]
LossWeights = dict[PretrainingTask, NonNegative]


@dataclasses.dataclass(frozen=True)
class StageConfig:
    """Epochs that train with the same loss weights on the same records.

    Args:
        epochs: Number of epochs.
        loss_weights: Weight of each task; others keep the weight of the whole run.
        split: Name of the folder whose records are read, such as "lessons"; by default all
            training records are.
    """

    epochs: Count
    loss_weights: LossWeights = dataclasses.field(default_factory=dict)
    split: str | None = None

    def __post_init__(self):
        _check_fields(self)


@dataclasses.dataclass(frozen=True)
class TrainingConfig:
    """Settings of all training. Paths are relative to the working directory.

    Args:
        init_from: Preset to start from, with its sizes and vocabulary; random weights if left out.
        vocabulary: A vocab.txt; by default the preset's, or one made from the training sentences.
        vocabulary_size: Most pieces of a vocabulary that is made.
        answers: Answer table (see `read_answer_table`); by default the answers of the training
            data, the most frequent first.
        max_length: Word pieces per sentence, [CLS] and [SEP] included.
        max_regions: Most regions of an image.
        batch_size: Sentences per step, over all replicas.
        bucket_by_length: Batch sentences of similar length together. This saves padding, which
            costs little here and much under XLA. Where questions follow patterns, a batch of one
            length holds few patterns, and training takes more epochs.
        peak_learning_rate: Learning rate at the end of the warm-up.
        warmup: Share of the steps in which the rate rises, in [0, 1); then it falls to zero.
        weight_decay: Decoupled weight decay of every parameter.
        clip_norm: Largest global norm of the gradients.
        beta_2: Decay rate of the optimizer's second moment. 0.98 lets a model that starts from
            scratch learn sooner; see docs/experiments.md.
        precision: Keras dtype policy.
        seed: Seed of initial weights, dropout, order, and masking.
        checkpoint_steps: Steps between checkpoints; there is also one after each epoch.
        checkpoints: Number of checkpoints to keep.
        best_by: Validation metric, such as "val_loss", by which to choose the epoch whose weights
            are the result; the last epoch if left out.
        strategy: "mirrored" for the devices of this machine, "multi_worker" for those of the
            machines in TF_CONFIG.
    """

    init_from: str | None = None
    vocabulary: str | None = None
    # The five special pieces and at least one other.
    vocabulary_size: Annotated[int, pydantic.Field(ge=6)] = 30522
    answers: str | None = None
    max_length: Annotated[int, pydantic.Field(ge=3)] = 20
    max_regions: Count = 36
    batch_size: Count = 32
    bucket_by_length: bool = False
    peak_learning_rate: Positive = 5e-5
    warmup: Annotated[float, pydantic.Field(ge=0, lt=1)] = 0.1
    weight_decay: NonNegative = 0.01
    clip_norm: Positive = 5.0
    beta_2: Annotated[float, pydantic.Field(ge=0, lt=1)] = 0.999
    precision: Literal["float32", "mixed_bfloat16"] = "float32"
    seed: Annotated[int, pydantic.Field(ge=0)] = 0
    checkpoint_steps: Count = 1000
    checkpoints: Count = 2
    best_by: str | None = None
    strategy: Literal["mirrored", "multi_worker"] = "mirrored"

    def __post_init__(self):
        _check_fields(self)
        if self.init_from and self.vocabulary:
            raise InputError("init_from and vocabulary are both set; a preset has a vocabulary")
        metrics = self.validation_metrics()
        if self.best_by is not None and self.best_by not in metrics:
            raise InputError(f"best_by is {self.best_by!r}; it must be one of {', '.join(metrics)}")

    def check_validation(self, files: Sequence[str]) -> None:
        """Raise an InputError if there are no files on which to find the best epoch."""
        if self.best_by and not files:
            raise InputError(f"best_by is {self.best_by!r}, but there are no validation files")

    def validation_metrics(self) -> list[str]:
        """Return the names of the metrics that are measured on the validation data."""
        return ["val_loss"]


@dataclasses.dataclass(frozen=True)
class FinetuningConfig(TrainingConfig):
    """Fine-tuning, or training from scratch, on questions or statements (paper section 4.2).

    Args:
        task: "answers" for questions about an image (VQA, GQA), "statements" for statements about
            two images, which are true or false (NLVR2).
        epochs: Passes over the training sentences.
    """

    task: Literal["answers", "statements"] = "answers"
    epochs: Count = 4

    @property
    def stages(self) -> tuple[StageConfig, ...]:
        """The single stage of fine-tuning."""
        return (StageConfig(self.epochs),)

    def validation_metrics(self) -> list[str]:
        accuracy = {"answers": "soft_accuracy", "statements": "accuracy"}[self.task]
        return ["val_loss", f"val_{accuracy}"]


@dataclasses.dataclass(frozen=True)
class PretrainingConfig(TrainingConfig):
    """Pre-training on images and sentences (paper section 3); the defaults are the published ones.

    The learning rate rises and falls once over all stages.

    Args:
        stages: Stages, one after the other.
        loss_weights: Weight of each task: masked_lm, matched, objects, attributes,
            region_features, answers. The default is 1; 0 switches a task off.
        masking: How often words and regions are masked and sentences swapped.
        optimizer: "bert_adamw", or "lamb" for large batches (needs tensorflow-addons).
        accumulation_steps: Parts into which a batch is split to save memory; a step still
            updates with the gradient of the whole batch.
        freeze_first_rows: Give row 0 of each embedding table no gradient from look-ups, as the
            release does; see `LanguageEmbeddings`.
    """

    batch_size: Count = 256
    peak_learning_rate: Positive = 1e-4
    warmup: Annotated[float, pydantic.Field(ge=0, lt=1)] = 0.05
    clip_norm: Positive = 1.0
    stages: tuple[StageConfig, ...] = dataclasses.field(default_factory=lambda: (StageConfig(20),))
    loss_weights: LossWeights = dataclasses.field(default_factory=dict)
    masking: MaskingRates = dataclasses.field(default_factory=MaskingRates)
    optimizer: Literal["bert_adamw", "lamb"] = "bert_adamw"
    accumulation_steps: Count = 1
    freeze_first_rows: bool = False

    def __post_init__(self):
        super().__post_init__()
        if not self.stages:
            raise InputError("stages is empty; it must have at least one stage")
        for number, stage in enumerate(self.stages, start=1):
            if not any(self.weights_of(stage).values()):
                raise InputError(f"stage {number} trains nothing; all its loss weights are 0")

    def validation_metrics(self) -> list[str]:
        weights = [self.weights_of(stage) for stage in self.stages]
        on = [task for task in PRETRAINING_TASKS if all(each[task] for each in weights)]
        return [
            # The sum of losses with other weights is another quantity.
            *(["val_loss"] if all(each == weights[0] for each in weights) else []),
            *(f"val_{task}_loss" for task in on),
            *(f"val_{task}_accuracy" for task in on if task != "region_features"),
        ]

    @property
    def epochs(self) -> int:
        """Epochs of all stages together."""
        return sum(stage.epochs for stage in self.stages)

    def weights_of(self, stage: StageConfig) -> dict[str, float]:
        """Return the weight of each task in a stage."""
        given = {**self.loss_weights, **stage.loss_weights}
        return {task: given.get(task, 1.0) for task in PRETRAINING_TASKS}


@dataclasses.dataclass(frozen=True)
class AblationConfig:
    """Named variants of pre-training: a file under configs/ablation/.

    Args:
        variants: Changes to the pre-training configuration by the variant's name, "KEY=VALUE" each
            (see `load_config`); null for a variant without pre-training.
    """

    variants: dict[str, list[str] | None]

    def __post_init__(self):
        if not self.variants:
            raise InputError("variants is empty; it must have at least one variant")
        folders = [folder_of(variant) for variant in self.variants]
        if len(set(folders)) < len(folders) or "" in folders:
            raise InputError("variants need names that differ in letters or digits")


def folder_of(variant: str) -> str:
    """Return the name of a variant's folder."""
    return re.sub(r"[^a-z0-9]+", "-", variant.lower()).strip("-")


def _check_fields(config) -> None:
    """Check a dataclass against the types and bounds in its annotations.

    `config_from_mapping` has done so for files; this is for configurations made in Python.
    """
    for name, kind in typing.get_type_hints(type(config), include_extras=True).items():
        try:
            pydantic.TypeAdapter(kind).validate_python(getattr(config, name))
        except pydantic.ValidationError as error:
            problem = error.errors()[0]
            problem["loc"] = (name, *problem["loc"])
            raise InputError(describe_mismatch(problem)) from error
