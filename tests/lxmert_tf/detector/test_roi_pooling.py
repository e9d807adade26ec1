"""RoIPool beside a plain loop over regions and bins."""

import numpy as np
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from lxmert_tf.detector.roi_pooling import pool_bins, region_bins, window_maxima

STRIDE = 16


def pool_plainly(maps, region_maps, boxes, map_sizes, grid):
    """RoIPool as caffe's roi_pooling_layer.cpp computes it."""
    pooled = np.zeros([len(boxes), grid, grid, maps.shape[-1]], np.float32)
    for n, (box, number) in enumerate(zip(boxes, region_maps)):
        scaled = box / np.float32(STRIDE)
        x1, y1, x2, y2 = (np.sign(scaled) * np.floor(np.abs(scaled) + 0.5)).astype(int)
        height, width = map_sizes[number]
        row_step = np.float32(max(y2 - y1 + 1, 1)) / np.float32(grid)
        column_step = np.float32(max(x2 - x1 + 1, 1)) / np.float32(grid)
        for i in range(grid):
            top = np.clip(int(np.floor(np.float32(i) * row_step)) + y1, 0, height)
            bottom = np.clip(int(np.ceil(np.float32(i + 1) * row_step)) + y1, 0, height)
            for j in range(grid):
                left = np.clip(int(np.floor(np.float32(j) * column_step)) + x1, 0, width)
                right = np.clip(int(np.ceil(np.float32(j + 1) * column_step)) + x1, 0, width)
                cells = maps[number, top:bottom, left:right]
                if cells.size:
                    pooled[n, i, j] = cells.max(axis=(0, 1))
    return pooled


@tf.function(reduce_retracing=True)
def pool(maps, region_maps, boxes, map_sizes, grid):
    bins = region_bins(boxes, tf.gather(map_sizes, region_maps), grid, STRIDE)
    return pool_bins(window_maxima(maps, bins), region_maps, bins)


@settings(max_examples=40)
@given(
    seed=st.integers(0, 2**16),
    height=st.integers(1, 40),
    width=st.integers(1, 40),
    grid=st.sampled_from([1, 3, 14]),
)
def test_any_regions_pool_as_in_a_plain_loop(seed, height, width, grid):
    random = np.random.default_rng(seed)
    maps = random.normal(size=[2, height, width, 3]).astype(np.float32)
    map_sizes = np.int32([[height, width], random.integers(1, [height + 1, width + 1])])
    # Also outside of the map, upside down, and halfway between two cells.
    boxes = random.uniform(-60, 16 * max(height, width) + 60, [12, 4])
    boxes = np.where(random.uniform(size=[12, 4]) < 0.3, np.round(boxes / 8) * 8, boxes)
    region_maps = random.integers(0, 2, [12]).astype(np.int32)
    boxes = boxes.astype(np.float32)
    ours = pool(maps, region_maps, boxes, map_sizes, grid)
    theirs = pool_plainly(maps, region_maps, boxes, map_sizes, grid)
    np.testing.assert_array_equal(ours, theirs)


def test_bins_are_those_of_division_before_multiplication_in_float32():
    lengths = np.arange(1, 101)
    ends = (16 * (lengths - 1)).astype(np.float32)
    boxes = np.stack([0 * ends, 0 * ends, ends, 0 * ends], axis=-1)
    sizes = np.tile(np.int32([[1, 100]]), [100, 1])
    # In a graph, whose optimizer could merge the two.
    bins = tf.function(lambda boxes: region_bins(boxes, sizes, 14, STRIDE))(boxes).numpy()
    places = np.arange(14)
    exact = np.stack(
        [places * lengths[:, None] // 14, -(-(places + 1) * lengths[:, None] // 14)], axis=-1
    )
    differ = (bins[:, 1] != exact).any(axis=(1, 2))
    assert lengths[differ].tolist() == [57, 62]


def test_no_regions():
    bins = region_bins(tf.zeros([0, 4]), tf.zeros([0, 2], tf.int32), 14, STRIDE)
    pooled = pool_bins(window_maxima(tf.zeros([1, 3, 4, 2]), bins), tf.zeros([0], tf.int32), bins)
    assert pooled.shape == (0, 14, 14, 2)
