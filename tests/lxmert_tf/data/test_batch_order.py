"""Sentences of windows to batches: each once, batches full, similar lengths together."""

import numpy as np
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from lxmert_tf.data.batches import split_window


def parts_of(windows, batch_size, seed, bucket_by_length=True) -> list[list[list[tuple[int, int]]]]:
    """Of each window the parts, as (window, row) pairs."""
    seed = None if seed is None else tf.constant(seed, tf.int64)
    before, result = 0, []
    for number, lengths in enumerate(windows):
        parts = split_window(
            tf.constant(lengths, tf.int32), before, batch_size, number, seed, bucket_by_length
        )
        result.append([[(number, row) for row in part] for part in parts.to_list()])
        before += len(lengths)
    return result


@settings(max_examples=60, deadline=None)
@given(
    windows=st.lists(st.lists(st.integers(1, 20), max_size=30), min_size=1, max_size=5),
    batch_size=st.integers(1, 12),
    seed=st.none() | st.integers(0, 2**40),
    bucket_by_length=st.booleans(),
)
def test_every_sentence_comes_once_and_parts_end_where_batches_do(
    windows, batch_size, seed, bucket_by_length
):
    parts = parts_of(windows, batch_size, seed, bucket_by_length)
    for number, (lengths, window) in enumerate(zip(windows, parts)):
        rows = sorted(pair for part in window for pair in part)
        assert rows == [(number, row) for row in range(len(lengths))]
    ends = np.cumsum([len(part) for window in parts for part in window])
    total = sum(map(len, windows))
    assert set(range(batch_size, total + 1, batch_size)) <= set(ends.tolist())
    assert parts == parts_of(windows, batch_size, seed, bucket_by_length)


def test_without_seed_and_buckets_nothing_changes_places():
    parts = parts_of([[3, 1, 2], [5, 4]], 2, None, bucket_by_length=False)
    assert parts == [[[(0, 0), (0, 1)], [(0, 2)]], [[(1, 0)], [(1, 1)]]]


def test_a_batch_has_sentences_of_similar_length_also_where_windows_meet():
    random = np.random.default_rng(0)
    windows = [random.integers(1, 21, size).tolist() for size in (500, 333, 410)]
    spread = {}
    for bucket_by_length in (False, True):
        parts = parts_of(windows, 32, 7, bucket_by_length)
        order = [windows[w][row] for window in parts for part in window for w, row in part]
        batches = [order[i : i + 32] for i in range(0, len(order), 32)]
        spread[bucket_by_length] = [max(batch) - min(batch) for batch in batches]
    assert min(spread[False][:-1]) >= 15
    assert max(spread[True]) <= 4


def test_batches_of_a_window_do_not_come_by_length():
    lengths = list(range(320))
    first, second = (
        [part[0][1] // 32 for part in parts_of([lengths], 32, seed)[0]] for seed in (1, 2)
    )
    assert sorted(first) == sorted(second) == list(range(10))
    assert first != sorted(first) and first != second


def test_which_lengths_end_a_window_is_drawn():
    lengths = list(range(300))
    ends = [parts_of([lengths], 32, seed)[0][-1][0][1] for seed in range(12)]
    assert len(set(ends)) > 6
    assert min(ends) < 100 and max(ends) > 200
