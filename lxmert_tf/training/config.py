"""How an answer model is trained: a file under configs/task/."""

import dataclasses
import math
from typing import Literal

from lxmert_tf.errors import InputError


@dataclasses.dataclass(frozen=True)
class AnsweringConfig:
    """Fine-tuning, or training from scratch, on questions with answers.

    Args:
        vocabulary: a vocab.txt; if left out, one is made of the training sentences.
        vocabulary_size: the most pieces of a vocabulary that is made.
        answers: a file with an answer a line; if left out, the training answers, commonest first.
        max_length: word pieces per question, with [CLS] and [SEP].
        max_regions: the most regions that an image has.
        batch_size: questions per step, over all replicas.
        epochs: how often each question is seen.
        peak_learning_rate: at the end of the warm-up.
        warmup: share of the steps in which the rate rises; then it falls to zero.
        weight_decay: decoupled, on every parameter.
        clip_norm: the most that the global norm of the gradients may be.
        precision: the Keras policy.
        seed: of initial weights, dropout and order.
    """

    vocabulary: str | None = None
    vocabulary_size: int = 30522
    answers: str | None = None
    max_length: int = 20
    max_regions: int = 36
    batch_size: int = 32
    epochs: int = 4
    peak_learning_rate: float = 5e-5
    warmup: float = 0.1
    weight_decay: float = 0.01
    clip_norm: float = 5.0
    precision: Literal["float32", "mixed_bfloat16"] = "float32"
    seed: int = 0

    def __post_init__(self):
        for name in ("vocabulary_size", "max_regions", "batch_size", "epochs"):
            if getattr(self, name) < 1:
                raise InputError(f"{name} is {getattr(self, name)}; it must be at least 1")
        if self.max_length < 3:
            raise InputError(f"max_length is {self.max_length}; it must be at least 3")
        if not 0 <= self.warmup < 1:
            raise InputError(f"warmup is {self.warmup}; it must be in [0, 1)")
        for name in ("peak_learning_rate", "clip_norm"):
            if not 0 < getattr(self, name) < math.inf:
                raise InputError(f"{name} is {getattr(self, name)}; it must be above 0")
        if not 0 <= self.weight_decay < math.inf:
            raise InputError(f"weight_decay is {self.weight_decay}; it must not be negative")
