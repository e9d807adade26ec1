"""How models are trained: files under configs/task/ and configs/pretraining/."""

import dataclasses
import math
from typing import Literal

from lxmert_tf.data.masking_rates import MaskingRates
from lxmert_tf.errors import InputError

# The pre-training tasks' losses, by the names that configs use.
PRETRAINING_TASKS = (
    "masked_lm",
    "matched",
    "objects",
    "attributes",
    "region_features",
    "answers",
)


@dataclasses.dataclass(frozen=True)
class TrainingConfig:
    """What all training is told. Files are named relative to the working directory.

    Args:
        init_from: a preset to start from, with its sizes and words; if left out, weights are
            random.
        vocabulary: a vocab.txt; if left out, it is the preset's, or one is made of the training
            sentences.
        vocabulary_size: the most pieces of a vocabulary that is made.
        answers: a table of answers (see `read_answer_table`); if left out, the training answers,
            commonest first.
        max_length: word pieces per sentence, with [CLS] and [SEP].
        max_regions: the most regions that an image has.
        batch_size: sentences per step, over all replicas.
        bucket_by_length: whether sentences of similar length come together. That saves padding,
            which costs little here and much under XLA; but where questions come from patterns, a
            batch of one length is one of few patterns, and training takes more epochs.
        peak_learning_rate: at the end of the warm-up.
        warmup: share of the steps in which the rate rises; then it falls to zero.
        weight_decay: decoupled, on every parameter.
        clip_norm: the most that the global norm of the gradients may be.
        precision: the Keras policy.
        seed: of initial weights, dropout, order, and what is hidden.
        checkpoint_steps: steps between checkpoints; there is one after each epoch, too.
        checkpoints: how many are kept.
        best_by: a validation metric, such as "val_loss"; the result is then the epoch that was
            best by it, and if left out the last.
        strategy: "mirrored" for the devices of this machine, "multi_worker" for those of the
            machines in TF_CONFIG.
    """

    init_from: str | None = None
    vocabulary: str | None = None
    vocabulary_size: int = 30522
    answers: str | None = None
    max_length: int = 20
    max_regions: int = 36
    batch_size: int = 32
    bucket_by_length: bool = False
    peak_learning_rate: float = 5e-5
    warmup: float = 0.1
    weight_decay: float = 0.01
    clip_norm: float = 5.0
    precision: Literal["float32", "mixed_bfloat16"] = "float32"
    seed: int = 0
    checkpoint_steps: int = 1000
    checkpoints: int = 2
    best_by: str | None = None
    strategy: Literal["mirrored", "multi_worker"] = "mirrored"

    def __post_init__(self):
        if self.init_from and self.vocabulary:
            raise InputError("init_from and vocabulary are both given; a preset has its own words")
        for name in ("vocabulary_size", "max_regions", "batch_size", "checkpoints"):
            _check_at_least(self, name, 1)
        _check_at_least(self, "max_length", 3)
        _check_at_least(self, "checkpoint_steps", 1)
        _check_at_least(self, "seed", 0)
        if not 0 <= self.warmup < 1:
            raise InputError(f"warmup is {self.warmup}; it must be in [0, 1)")
        for name in ("peak_learning_rate", "clip_norm"):
            if not 0 < getattr(self, name) < math.inf:
                raise InputError(f"{name} is {getattr(self, name)}; it must be above 0")
        if not 0 <= self.weight_decay < math.inf:
            raise InputError(f"weight_decay is {self.weight_decay}; it must not be negative")
        metrics = self.validation_metrics()
        if self.best_by is not None and self.best_by not in metrics:
            raise InputError(f"best_by is {self.best_by!r}; it must be one of {', '.join(metrics)}")

    def check_validation(self, files) -> None:
        """Raises an InputError if the best epoch is wanted and there are no files to find it on."""
        if self.best_by and not files:
            raise InputError(f"best_by is {self.best_by!r}, but there are no validation files")

    def validation_metrics(self) -> list[str]:
        """The names of what is measured on the validation data after every epoch."""
        return ["val_loss"]


@dataclasses.dataclass(frozen=True)
class FinetuningConfig(TrainingConfig):
    """Fine-tuning, or training from scratch, on questions or statements (paper section 4.2).

    Args:
        task: "answers" for questions about an image (VQA, GQA), "statements" for statements about
            two, which are true or false (NLVR2).
        epochs: how often each sentence is seen.
    """

    task: Literal["answers", "statements"] = "answers"
    epochs: int = 4

    def __post_init__(self):
        super().__post_init__()
        _check_at_least(self, "epochs", 1)

    def validation_metrics(self) -> list[str]:
        accuracy = {"answers": "soft_accuracy", "statements": "accuracy"}[self.task]
        return ["val_loss", f"val_{accuracy}"]


@dataclasses.dataclass(frozen=True)
class StageConfig:
    """Some epochs of pre-training in which the tasks have the same weights.

    Args:
        epochs: how many.
        loss_weights: by task; one that is not named has the weight of the whole run.
    """

    epochs: int
    loss_weights: dict[str, float] = dataclasses.field(default_factory=dict)

    def __post_init__(self):
        _check_at_least(self, "epochs", 1)
        _check_loss_weights(self.loss_weights)


@dataclasses.dataclass(frozen=True)
class PretrainingConfig(TrainingConfig):
    """Pre-training on images and sentences (paper section 3); defaults as published.

    The learning rate rises and falls once, over all stages together.

    Args:
        stages: one after the other.
        loss_weights: by task: masked_lm, matched, objects, attributes, region_features, answers.
            A task that is not named has weight 1; a weight of 0 switches it off.
        masking: how often what is hidden or swapped.
        optimizer: "bert_adamw", or "lamb" for large batches (needs tensorflow-addons).
        accumulation_steps: the parts that a batch is cut into to save memory; the step is that
            of the whole batch.
        freeze_first_rows: whether look-ups give row 0 of each embedding table no gradient, as in
            the release; see `LanguageEmbeddings`.
    """

    batch_size: int = 256
    peak_learning_rate: float = 1e-4
    warmup: float = 0.05
    clip_norm: float = 1.0
    stages: tuple[StageConfig, ...] = dataclasses.field(default_factory=lambda: (StageConfig(20),))
    loss_weights: dict[str, float] = dataclasses.field(default_factory=dict)
    masking: MaskingRates = dataclasses.field(default_factory=MaskingRates)
    optimizer: Literal["bert_adamw", "lamb"] = "bert_adamw"
    accumulation_steps: int = 1
    freeze_first_rows: bool = False

    def __post_init__(self):
        super().__post_init__()
        _check_loss_weights(self.loss_weights)
        _check_at_least(self, "accumulation_steps", 1)
        if not self.stages:
            raise InputError("stages is empty; it must hold at least one")
        for number, stage in enumerate(self.stages, start=1):
            if not any(self.weights_of(stage).values()):
                raise InputError(f"in stage {number} every loss has weight 0; nothing would train")

    def validation_metrics(self) -> list[str]:
        weights = [self.weights_of(stage) for stage in self.stages]
        on = [task for task in PRETRAINING_TASKS if all(each[task] for each in weights)]
        return [
            # With other weights it is another loss.
            *(["val_loss"] if all(each == weights[0] for each in weights) else []),
            *(f"val_{task}_loss" for task in on),
            *(f"val_{task}_accuracy" for task in on if task != "region_features"),
        ]

    @property
    def epochs(self) -> int:
        """Of all stages together."""
        return sum(stage.epochs for stage in self.stages)

    def weights_of(self, stage: StageConfig) -> dict[str, float]:
        """The weight of each task in a stage."""
        given = {**self.loss_weights, **stage.loss_weights}
        return {task: given.get(task, 1.0) for task in PRETRAINING_TASKS}


def _check_at_least(config, name: str, least: int) -> None:
    value = getattr(config, name)
    if value < least:
        raise InputError(f"{name} is {value}; it must be at least {least}")


def _check_loss_weights(weights: dict[str, float]) -> None:
    for task, weight in weights.items():
        if task not in PRETRAINING_TASKS:
            raise InputError(f"no task is named {task!r}; there are {', '.join(PRETRAINING_TASKS)}")
        if not 0 <= weight < math.inf:
            raise InputError(f"the loss weight of {task} is {weight}; it must not be negative")
