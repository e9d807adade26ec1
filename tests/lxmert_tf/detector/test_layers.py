"""Every layer of the detector alone, as Keras users expect it."""

import numpy as np
import pytest
from tensorflow import keras

from lxmert_tf.detector.backbone import Bottleneck, ConvNorm, MapSizes, Stem
from lxmert_tf.detector.heads import RegionClassifier, RegionFeatures
from lxmert_tf.detector.proposals import ProposalHead, ProposalSelection
from lxmert_tf.detector.selection import CaffeSelection, HfSelection
from tests.lxmert_tf.keras_checks import check_layer

RANDOM = np.random.default_rng(0)


def normal(*shape):
    return RANDOM.normal(size=shape).astype(np.float32)


MAPS = normal(2, 5, 7, 6)
SIZES = np.int32([[5, 6], [4, 7]])
IMAGE_SIZES = 16 * SIZES
SCALES = np.float32([[2, 1.5], [0.5, 0.5]])
COUNTS = np.int32([4, 2])
CORNERS = np.sort(RANDOM.uniform(0, 60, [2, 4, 2, 2]), axis=2)
PROPOSALS = CORNERS.reshape(2, 4, 4).astype(np.float32)
LOGITS = (normal(2, 4, 8), normal(2, 4, 6))
FEATURES = normal(2, 4, 9)
BLOCK = {"inner_filters": 3, "filters": 6, "epsilon": 0.1}
REGIONS = {"min_regions": 2, "max_regions": 3}

LAYERS = [
    (
        ConvNorm,
        {
            "filters": 4,
            "kernel_size": 3,
            "strides": 2,
            "dilation": 1,
            "relu": False,
            "epsilon": 0.1,
        },
        (MAPS,),
    ),
    (Stem, {"filters": 4, "epsilon": 0.1}, (normal(2, 13, 18, 3), np.int32([[13, 12], [9, 18]]))),
    (Bottleneck, {**BLOCK, "dilation": 2}, (MAPS, SIZES)),
    (Bottleneck, {**BLOCK, "strides": 2, "shortcut": True}, (MAPS, (SIZES + 1) // 2)),
    (MapSizes, {"stride": 8}, (IMAGE_SIZES,)),
    (ProposalHead, {"filters": 4, "num_anchors": 2}, (MAPS, SIZES)),
    (
        ProposalSelection,
        {
            "anchor_sizes": [24],
            "anchor_ratios": [0.5, 1.5],
            "most_compared": 9,
            "most": 4,
            "threshold": 0.4,
            "smallest": 5,
            "flavor": "caffe",
        },
        (normal(2, 5, 7, 2), normal(2, 5, 7, 8), SIZES, IMAGE_SIZES, SCALES),
    ),
    (
        RegionFeatures,
        {"inner_filters": 3, "filters": 9, "num_blocks": 2, "grid": 4, "epsilon": 0.1},
        (MAPS, SIZES, PROPOSALS, COUNTS),
    ),
    (
        RegionClassifier,
        {"num_objects": 7, "num_attributes": 5, "embedding_size": 3, "hidden_size": 4},
        (FEATURES,),
    ),
    (
        HfSelection,
        {"thresholds": [0.2, 0.4], **REGIONS},
        (PROPOSALS, COUNTS, FEATURES, *LOGITS, normal(2, 4, 7, 4), IMAGE_SIZES, SCALES),
    ),
    (
        CaffeSelection,
        {"threshold": 0.4, "min_confidence": 0.3, **REGIONS},
        (PROPOSALS, COUNTS, FEATURES, *LOGITS, SCALES),
    ),
]


@pytest.mark.parametrize("policy", ["float32", "mixed_bfloat16"])
@pytest.mark.parametrize(
    ("cls", "arguments", "inputs"), LAYERS, ids=lambda v: getattr(v, "__name__", "")
)
def test_a_layer_behaves_as_keras_layers_do(cls, arguments, inputs, policy, tmp_path):
    check_layer(cls, arguments, inputs, policy, tmp_path)


def test_every_layer_class_is_in_the_test_above():
    registered = {
        value
        for name, value in keras.utils.get_custom_objects().items()
        if name.startswith("lxmert_tf>") and value.__module__.startswith("lxmert_tf.detector.")
    }
    assert {cls for cls in registered if not issubclass(cls, keras.Model)} == {
        cls for cls, _, _ in LAYERS
    }


def test_the_normalization_is_that_of_keras():
    layer = ConvNorm(4, 3, dilation=2, epsilon=0.01)
    layer.build(MAPS.shape)
    layer.set_weights([np.abs(normal(*weight.shape)) for weight in layer.weights])
    kernel, *norm = layer.get_weights()
    convolution = keras.layers.Conv2D(4, 3, padding="same", dilation_rate=2, use_bias=False)
    normalization = keras.layers.BatchNormalization(epsilon=0.01)
    plain = keras.Sequential([convolution, normalization, keras.layers.ReLU()])
    plain.build(MAPS.shape)
    plain.set_weights([kernel, *norm])
    np.testing.assert_allclose(layer(MAPS), plain(MAPS, training=False), rtol=0, atol=1e-5)
