"""What `lxmert benchmark` can be asked to measure: sizes of models and lengths of sentences."""

import dataclasses
import importlib.resources

import numpy as np

from lxmert_tf.models.config import LxmertConfig

# Of configs/model.
MODELS = ("base", "mini")
# As published for VQA, instead of the answers of pre-training.
VQA_ANSWERS = 3129


def model_sizes(model: str, task: str) -> LxmertConfig:
    """The config of one of `MODELS`; the published one has the answers of the task."""
    file = importlib.resources.files("lxmert_tf.configs") / "model" / f"{model}.yaml"
    config = LxmertConfig.from_file(file)
    if model == "base" and task != "pretrain":
        return dataclasses.replace(config, num_answers=VQA_ANSWERS)
    return config


# The 38,575 training questions of easy-VQA 1.0, cut by BERT's uncased vocabulary (30,522 pieces):
# how many have how many pieces. Their mean is 9.3.
QUESTIONS = {7: 3137, 8: 11840, 9: 7333, 10: 6235, 11: 6512, 12: 3195, 13: 323}
# Pieces -> weight.
LENGTHS: dict[str, dict[int, int]] = {
    "fixed20": {20: 1},
    "questions": QUESTIONS,
    "captions": {19: 1},
}
# What the published model pads to.
MAX_LENGTH = 20


def draw_lengths(name: str, count: int, random: np.random.Generator) -> np.ndarray:
    """As many lengths of a distribution of `LENGTHS`, int64."""
    weights = LENGTHS[name]
    total = sum(weights.values())
    return random.choice(list(weights), count, p=[weight / total for weight in weights.values()])
