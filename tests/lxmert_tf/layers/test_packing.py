"""Packed sequences: the same rows come back, gradients reach them, and nothing is mixed up."""

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from tensorflow import keras

from lxmert_tf.layers import packing as packing_module
from lxmert_tf.layers.packing import PackedSequence, Packing, as_given, as_rows
from lxmert_tf.layers.transformer import CrossModalityLayer, TransformerLayer

MASKS = arrays.arrays(
    np.int32, st.tuples(st.integers(1, 4), st.integers(1, 6)), elements=st.integers(0, 1)
)


def numbered(mask):
    """Return a batch [B, L, 2] with other numbers at every position."""
    return tf.reshape(tf.range(2 * mask.size, dtype=tf.float32), [*mask.shape, 2])


def pack(batch, mask) -> PackedSequence:
    packing = Packing(mask)
    return PackedSequence(packing.pack(batch), packing)


def kept(mask):
    there = mask.astype(bool)
    there[:, 0] = True
    return there


@settings(max_examples=30)
@given(MASKS)
def test_packed_rows_are_the_kept_positions_in_order(mask):
    batch = numbered(mask)
    packed = pack(batch, mask)
    np.testing.assert_array_equal(packed.rows, batch.numpy()[kept(mask)])
    np.testing.assert_array_equal(packed.first(), batch[:, 0])
    # Padding shows the first position of its own example, never another example.
    expected = np.where(kept(mask)[..., None], batch, batch[:, :1])
    np.testing.assert_array_equal(packed.unpack(), expected)
    np.testing.assert_array_equal(packed.with_rows(2 * packed.rows).unpack(), 2 * expected)
    assert as_rows(packed) is packed
    assert as_given(packed, packed) is packed


@settings(max_examples=15)
@given(MASKS)
def test_gradients_reach_the_positions_that_they_came_from(mask):
    batch = numbered(mask)
    weights = tf.cast(kept(mask), tf.float32)[..., tf.newaxis] * tf.sqrt(batch + 1)
    with tf.GradientTape() as tape:
        tape.watch(batch)
        total = tf.reduce_sum(pack(batch, mask).unpack() * weights)
    np.testing.assert_array_equal(tf.convert_to_tensor(tape.gradient(total, batch)), weights)


def test_all_positions_of_a_padded_batch_may_be_rows():
    batch = numbered(np.ones([2, 3], np.int32))
    rows = as_rows(batch)
    np.testing.assert_array_equal(rows.rows, tf.reshape(batch, [6, 2]))
    np.testing.assert_array_equal(as_given(rows, batch), batch)
    np.testing.assert_array_equal(rows.first(), batch[:, 0])


def test_a_batch_without_regions_can_be_packed():
    packed = pack(tf.zeros([2, 0, 3]), np.zeros([2, 0], np.int32))
    assert packed.rows.shape == (0, 3)
    assert packed.unpack().shape == (2, 0, 3)


@pytest.mark.parametrize("width", [None, 2])
def test_the_width_of_packed_rows_is_known_where_that_of_the_batch_is(width):
    widths = []

    def trace(batch):
        widths.append(Packing(np.array([[1, 0]], np.int32)).pack(batch).shape[-1])

    tf.function(trace, autograph=False).get_concrete_function(tf.TensorSpec([1, 2, width]))
    assert widths == [width]


@pytest.mark.parametrize("pooled_only", [False, True])
def test_layers_compute_the_same_on_packed_sequences(pooled_only):
    keras.utils.set_random_seed(0)
    words, regions = (np.array(m, np.int32) for m in ([[1, 1, 0], [1, 0, 0]], [[1, 1], [1, 0]]))
    language, vision = tf.random.normal([2, 3, 8]), tf.random.normal([2, 2, 8])
    single = TransformerLayer(2, 12, initializer_range=0.4)
    cross = CrossModalityLayer(2, 12, initializer_range=0.4, pooled_only=pooled_only)
    expected = single(language, words)
    packed = single(pack(language, words), words)
    np.testing.assert_allclose(packed.unpack()[words == 1], expected[words == 1], atol=1e-6)

    expected = cross(language, vision, words, regions)
    outputs = cross(pack(language, words), pack(vision, regions), words, regions)
    if pooled_only:
        np.testing.assert_allclose(outputs, expected, rtol=0, atol=1e-6)
        return
    for output, plain, mask in zip(outputs, expected, (words, regions)):
        np.testing.assert_allclose(output.unpack()[mask == 1], plain[mask == 1], atol=1e-6)


def test_rows_of_any_width_need_only_one_more_trace():
    before = packing_module._shared_gather.experimental_get_tracing_count()
    mask = np.array([[1, 0]], np.int32)

    @tf.function(autograph=False)
    def pack_all(batches):
        return [Packing(mask).pack(batch) for batch in batches]

    batches = [numbered(mask)[..., :1] * tf.ones([width]) for width in range(21, 27)]
    for rows, batch in zip(pack_all(batches), batches):
        np.testing.assert_array_equal(rows, batch[0, :1])
        assert rows.shape == [1, batch.shape[-1]]
    assert packing_module._shared_gather.experimental_get_tracing_count() - before <= 2
