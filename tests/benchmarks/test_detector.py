"""Operations of the detector as its benchmark counts them."""

import pytest

from benchmarks.detector_keras import count_flops
from lxmert_tf.detector.config import DetectorConfig


def test_operations_of_the_published_detector():
    flops = count_flops(DetectorConfig(), 600, 800)
    # 300 regions of 14 x 14 cells: 1 x 1 and 3 x 3 kernels of three blocks, and the shortcut.
    block = 9 * 512 * 512 + 512 * 2048
    products = (1024 * 512 + block) + 2 * (2048 * 512 + block) + 1024 * 2048
    assert flops["res5"] == 2 * 300 * 196 * products
    # The map has 38 x 50 cells.
    assert flops["proposal head"] == 2 * 38 * 50 * (9 * 1024 * 512 + 512 * 60)
    assert sum(flops.values()) == pytest.approx(1918e9, rel=1e-3)
