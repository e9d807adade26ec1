"""The small detector of the golden numbers, with its weights, and what it was run on."""

import functools

import numpy as np
from PIL import Image

from lxmert_tf.detector.config import CaffeRules, DetectorConfig, HfRules
from lxmert_tf.detector.detector import Detector
from lxmert_tf.detector.weight_names import detector_variables
from tests import golden

CONFIG = DetectorConfig(
    stem_channels=8,
    bottleneck_channels=8,
    stage_channels=32,
    blocks=(1, 2, 2, 3),
    proposal_channels=64,
    anchor_sizes=(24, 48, 96, 192),
    proposals_before_nms=32,
    max_proposals=16,
    num_objects=20,
    num_attributes=8,
    class_embedding_size=32,
    attribute_hidden_size=64,
    min_regions=8,
    max_regions=8,
    hf=HfRules(shorter_side=224, longest_side=296, nms_thresholds=(0.15, 0.25, 0.4)),
    caffe=CaffeRules(shorter_side=224, longest_side=297),
)


def folder():
    """The folder of the detector's golden numbers; skips the test where it is absent."""
    return golden.golden_directory("detector")


@functools.cache
def arrays(name: str) -> dict[str, np.ndarray]:
    """The arrays of a file of the golden numbers."""
    return dict(np.load(folder() / name))


@functools.cache
def detector(flavor: str) -> Detector:
    """The golden detector with its weights."""
    model = Detector(CONFIG, flavor=flavor)
    unused = golden.load_weights(detector_variables(model), folder())
    assert all(name.endswith("num_batches_tracked") for name in unused)
    return model


@functools.cache
def picture() -> np.ndarray:
    """The golden picture: uint8 [300, 451, 3], RGB."""
    return np.asarray(Image.open(folder() / "images/chelsea.png").convert("RGB"))


def assert_near(ours, theirs, atol):
    """Check arrays of one shape against golden numbers with an absolute tolerance."""
    ours, theirs = np.asarray(ours), np.asarray(theirs)
    assert ours.shape == theirs.shape
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=atol)


def assert_regions(ours, golden, slack=1.0):
    """Check the regions of one picture against the golden ones, tolerances times `slack`."""
    names = {
        "object_ids": ("obj_ids", "objects_id"),
        "attribute_ids": ("attr_ids", "attrs_id"),
        "object_confidences": ("obj_probs", "objects_conf"),
        "attribute_confidences": ("attr_probs", "attrs_conf"),
        "features": ("roi_features", "features"),
        "boxes": ("boxes",),
    }
    tolerances = {"features": 1e-4, "boxes": 1e-2}
    for name, theirs in names.items():
        expected = golden[next(key for key in theirs if key in golden)]
        values = np.asarray(ours[name][0])
        if name.endswith("ids"):
            np.testing.assert_array_equal(values, expected)
        else:
            assert_near(values, expected, slack * tolerances.get(name, 5e-5))
