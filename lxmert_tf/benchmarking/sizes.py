"""The sizes of the models that are measured."""

import dataclasses
import importlib.resources

from lxmert_tf.config import LxmertConfig

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
