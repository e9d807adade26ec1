"""Settings of `lxmert benchmark`: sizes of models and lengths of sentences."""

import dataclasses
import importlib.resources

import numpy as np

from lxmert_tf.models.config import LxmertConfig

# Files in configs/model.
MODELS = ("base", "mini")
# Answers of the published VQA model; the published pre-training has 9,500.
VQA_ANSWERS = 3129
# Lengths of the 38,575 training questions of easy-VQA 1.0 in pieces of BERT's uncased vocabulary
# (30,522 pieces), and the number of questions of each length. The mean is 9.3.
QUESTIONS = {7: 3137, 8: 11840, 9: 7333, 10: 6235, 11: 6512, 12: 3195, 13: 323}
# Distributions of sentence lengths: word pieces with [CLS] and [SEP] -> weight.
LENGTHS: dict[str, dict[int, int]] = {
    "fixed20": {20: 1},
    "questions": QUESTIONS,
    "captions": {19: 1},
}
# The published model pads to this length.
MAX_LENGTH = 20


@dataclasses.dataclass(frozen=True)
class Setting:
    """A setting to measure.

    Args:
        task: "answer", "finetune" or "pretrain".
        model: A name in `MODELS`.
        precision: "float32" or "bfloat16". With bfloat16, training uses Keras's policy
            mixed_bfloat16, and answering uses bfloat16 weights as `lxmert export` writes them.
        lengths: Distribution of sentence lengths, a key of `LENGTHS`.
        batch_size: Images per step.
        questions_per_image: Questions about each image, if the task is "answer".
        steps: Number of timed steps.
        plain: Whether to turn off the shortcuts: packing, heads on labeled positions alone, and
            encoding an image once for several questions.
        xla: Whether XLA compiles the model, which then computes padding, as with `plain`.
    """

    task: str
    model: str
    precision: str
    lengths: str
    batch_size: int
    questions_per_image: int
    steps: int
    plain: bool
    xla: bool = False

    @property
    def pads(self) -> bool:
        """Whether padding is computed on, and an image is encoded for each of its questions."""
        return self.plain or self.xla


def model_sizes(model: str, task: str) -> LxmertConfig:
    """Return the config of a model.

    Args:
        model: A name in `MODELS`.
        task: "answer", "finetune" or "pretrain"; "base" has as many answers as the published
            model for the task.
    """
    file = importlib.resources.files("lxmert_tf.configs") / "model" / f"{model}.yaml"
    config = LxmertConfig.from_file(file)
    if model == "base" and task != "pretrain":
        return dataclasses.replace(config, num_answers=VQA_ANSWERS)
    return config


def draw_lengths(name: str, count: int, random: np.random.Generator) -> np.ndarray:
    """Draw sentence lengths.

    Args:
        name: Distribution, a key of `LENGTHS`.
        count: Number of sentences.
        random: Source of randomness.

    Returns:
        int64 [count], in word pieces.
    """
    weights = LENGTHS[name]
    total = sum(weights.values())
    return random.choice(list(weights), count, p=[weight / total for weight in weights.values()])
