"""What several tests of the detector start from: a tiny detector, and pictures of many sizes."""

import dataclasses

import numpy as np

from lxmert_tf.detector.config import CaffeRules, DetectorConfig, HfRules
from lxmert_tf.detector.detector import Detector

# Sizes that differ, so that axes cannot be mistaken for each other.
CONFIG = DetectorConfig(
    stem_channels=4,
    bottleneck_channels=4,
    stage_channels=6,
    blocks=(1, 2, 1, 2),
    proposal_channels=10,
    anchor_sizes=(24, 48),
    proposals_before_nms=50,
    max_proposals=12,
    num_objects=7,
    num_attributes=5,
    class_embedding_size=3,
    attribute_hidden_size=9,
    min_regions=4,
    max_regions=6,
    hf=HfRules(shorter_side=64, longest_side=100),
    caffe=CaffeRules(shorter_side=60, longest_side=96),
)


def pictures(*sizes, seed=0) -> list[np.ndarray]:
    """Pictures of noise: uint8 [height, width, 3] each."""
    random = np.random.default_rng(seed)
    return [random.integers(0, 256, [*size, 3], np.uint8) for size in sizes]


def write_detector(directory, **kwargs) -> Detector:
    """Write a preset of a detector with random weights, and return the detector.

    Args:
        directory: Where to write.
        **kwargs: Arguments of its constructor, `config` if not `CONFIG`.
    """
    detector = Detector(**{"config": CONFIG, **kwargs})
    randomize(detector)
    detector.save_preset(directory)
    return detector


def write_named_detector(directory) -> None:
    """Write a preset whose features are as wide as `tests.serving.tiny` reads them, with names."""
    config = dataclasses.replace(CONFIG, stage_channels=8)
    write_detector(
        directory,
        config=config,
        object_names=[f"thing {i}" for i in range(config.num_objects)],
        attribute_names=[f"nice {i}" for i in range(config.num_attributes)],
    )


def randomize(model, seed=0) -> None:
    """Set a model's weights at random, wide enough that a wrong one shows, and keep its anchors."""
    random = np.random.default_rng(seed)
    for weight in model.weights:
        shape = weight.shape.as_list()
        if "anchors" in weight.name:
            continue
        if "variance" in weight.name:
            value = random.uniform(0.5, 2, shape)
        else:
            value = random.normal(0, 1 / np.sqrt(max(np.prod(shape[:-1]), 4)), shape)
        weight.assign(value)
