"""Sizes to which pictures are resized, where a half decides."""

import pytest

from lxmert_tf.detector.config import DetectorConfig
from lxmert_tf.detector.image_preparation import resized_size


@pytest.mark.parametrize(
    ("flavor", "size", "expected"),
    [
        # 812.5 and 1287.5: halves round up.
        ("hf", (64, 65), (800, 813)),
        ("hf", (103, 64), (1288, 800)),
        # 712.5 and 637.5: halves round to even numbers, as OpenCV rounds.
        ("caffe", (64, 76), (600, 712)),
        ("caffe", (68, 64), (638, 600)),
    ],
)
def test_halves_of_pixels(flavor, size, expected):
    resized, _ = resized_size(*size, DetectorConfig(flavor=flavor))
    assert tuple(resized.numpy()) == expected
