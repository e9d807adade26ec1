"""The convolution with fewer products beside TensorFlow's, and the features that it gives."""

import numpy as np
import pytest
import tensorflow as tf

from lxmert_tf.detector import heads
from lxmert_tf.detector.heads import RegionFeatures
from lxmert_tf.detector.roi_pooling import (
    distinct_windows,
    pool_bins,
    pool_windows,
    region_bins,
    window_maxima,
)
from lxmert_tf.detector.winograd import convolve, transform_kernel


@pytest.mark.parametrize("side", [1, 2, 4, 5, 7, 9])
def test_the_convolution_is_tensorflows(side):
    random = np.random.default_rng(side)
    maps = random.normal(size=[3, side, side, 64]).astype(np.float32)
    kernel = random.normal(size=[3, 3, 64, 5]).astype(np.float32)
    cells_first = tf.reshape(tf.transpose(maps, [1, 2, 0, 3]), [side * side, 3, 64])
    ours = convolve(cells_first, transform_kernel(tf.constant(kernel)), side)
    theirs = tf.nn.conv2d(maps, kernel, 1, "SAME")
    ours = tf.transpose(tf.reshape(ours, [side, side, 3, 5]), [2, 0, 1, 3])
    # Sums of 576 products, of about 24 in absolute value.
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=5e-4)
    assert np.sqrt(np.mean(np.square(ours - theirs))) < 5e-5


def random_regions(seed=0, count=40):
    random = np.random.default_rng(seed)
    maps = random.normal(size=[2, 9, 12, 8]).astype(np.float32)
    sizes = np.int32([[9, 12], [8, 10]])
    corners = np.sort(random.uniform(-20, 210, [2, count, 2, 2]), axis=2)
    return maps, sizes, corners.reshape(2, count, 4).astype(np.float32)


def test_distinct_windows_give_the_same_maxima():
    maps, sizes, boxes = random_regions()
    region_maps = np.repeat(np.int32([0, 1]), 40)
    bins = region_bins(boxes.reshape(-1, 4), tf.gather(sizes, region_maps), 14, 16)
    tables = window_maxima(maps, bins)
    rows, columns = bins[:, 0, :, tf.newaxis], bins[:, 1, tf.newaxis]
    windows, numbers = distinct_windows(
        tables, region_maps[:, np.newaxis, np.newaxis], rows, columns
    )
    every = np.concatenate(
        [
            np.broadcast_to(region_maps[:, np.newaxis, np.newaxis, np.newaxis], [80, 14, 14, 1]),
            np.broadcast_to(rows, [80, 14, 14, 2]),
            np.broadcast_to(columns, [80, 14, 14, 2]),
        ],
        axis=-1,
    )
    assert len(windows[0]) == len(np.unique(every.reshape(-1, 5), axis=0)) < 80 * 14 * 14 / 2
    pooled = tf.gather(pool_windows(tables, *windows), numbers)
    expected = pool_bins(tables, region_maps, bins)
    np.testing.assert_array_equal(tf.reshape(pooled, expected.shape), expected)


@pytest.mark.parametrize("grid", [14, 6])
def test_features_are_those_of_the_blocks(grid, monkeypatch):
    # Both loops take several turns, the last ones shorter.
    monkeypatch.setattr(heads, "REGIONS_AT_ONCE", 32)
    monkeypatch.setattr(heads, "REGIONS_PER_STEP", 10)
    maps, sizes, boxes = random_regions(1)
    counts = np.int32([40, 23])
    layer = RegionFeatures(16, 24, num_blocks=2, grid=grid)
    features = layer(maps, sizes, boxes, counts)
    random = np.random.default_rng(2)
    for weight in layer.weights:
        value = random.normal(1 if "gamma" in weight.name else 0, 0.2, weight.shape)
        weight.assign(np.abs(value) + 0.5 if "variance" in weight.name else value)
    features = tf.function(layer)(maps, sizes, boxes, counts)
    for number, count in enumerate(counts):
        bins = region_bins(boxes[number], np.repeat(sizes[number : number + 1], 40, 0), grid, 16)
        hidden = pool_bins(window_maxima(maps, bins), np.full([40], number, np.int32), bins)
        for block in layer.blocks:
            hidden = block(hidden)
        expected = tf.reduce_mean(hidden, axis=[1, 2])[:count]
        assert np.abs(expected).mean() > 0.1
        np.testing.assert_allclose(features[number, :count], expected, rtol=0, atol=1e-5)
        assert not np.any(features[number, count:])
