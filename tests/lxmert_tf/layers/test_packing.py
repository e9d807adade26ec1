"""Leaving out what is not there: the same rows come back, the same gradients, nothing mixed up."""

import numpy as np
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from lxmert_tf.layers.packing import Positions

MASKS = arrays.arrays(
    np.int32, st.tuples(st.integers(1, 4), st.integers(1, 6)), elements=st.integers(0, 1)
)


def numbered(mask):
    """A batch [B, L, 2] in which every place has its own numbers."""
    return tf.reshape(tf.range(2 * mask.size, dtype=tf.float32), [*mask.shape, 2])


def kept(mask):
    there = mask.astype(bool)
    there[:, 0] = True
    return there


@settings(deadline=None, max_examples=40)
@given(MASKS)
def test_packed_rows_are_what_is_there_and_the_first_place_in_order(mask):
    batch, positions = numbered(mask), Positions(mask, packed=True)
    rows = positions.to_rows(batch)
    np.testing.assert_array_equal(rows, batch.numpy()[kept(mask)])
    again = positions.to_batch(rows).numpy()
    np.testing.assert_array_equal(again[kept(mask)], batch.numpy()[kept(mask)])
    np.testing.assert_array_equal(positions.first_rows(rows), batch[:, 0])
    # What is not there shows the same example's first place, and never another example.
    np.testing.assert_array_equal(again, np.where(kept(mask)[..., None], batch, batch[:, :1]))


@settings(deadline=None, max_examples=20)
@given(MASKS)
def test_all_places_are_rows_where_nothing_is_packed(mask):
    batch, positions = numbered(mask), Positions(mask)
    rows = positions.to_rows(batch)
    np.testing.assert_array_equal(rows, tf.reshape(batch, [-1, 2]))
    np.testing.assert_array_equal(positions.to_batch(rows), batch)
    np.testing.assert_array_equal(positions.first_rows(rows), batch[:, 0])


@settings(deadline=None, max_examples=20)
@given(MASKS)
def test_gradients_go_to_the_places_that_they_came_from(mask):
    batch, positions = numbered(mask), Positions(mask, packed=True)
    weights = tf.cast(kept(mask), tf.float32)[..., tf.newaxis] * tf.sqrt(batch + 1)
    with tf.GradientTape() as tape:
        tape.watch(batch)
        total = tf.reduce_sum(positions.to_batch(positions.to_rows(batch)) * weights)
    np.testing.assert_array_equal(tape.gradient(total, batch), weights)


def test_a_batch_without_regions_is_possible():
    positions = Positions(np.zeros([2, 0], np.int32), packed=True)
    rows = positions.to_rows(tf.zeros([2, 0, 3]))
    assert rows.shape == (0, 3)
    assert positions.to_batch(rows).shape == (2, 0, 3)


def test_masked_columns_get_the_reference_constant():
    bias = Positions(np.array([[1, 0], [1, 1]])).bias
    assert bias.shape == (2, 1, 1, 2)
    np.testing.assert_array_equal(bias[:, 0, 0], [[0, -10000], [0, 0]])


def test_a_width_is_known_whichever_was_traced_before():
    widths = []

    def pack(batch):
        rows = Positions(np.array([[1, 0]], np.int32), packed=True).to_rows(batch)
        widths.append(rows.shape[-1])

    # The features of records have a width that only their bytes tell.
    for width in (None, 2):
        graph = tf.function(pack, autograph=False)
        graph.get_concrete_function(tf.TensorSpec([1, 2, width]))
    assert widths == [None, 2]
