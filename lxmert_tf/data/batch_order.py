"""Which sentences come in which batch: all of them once, an order that a seed decides."""

import tensorflow as tf

# What the draws of one window, or of one batch, are for; keeps them apart.
_ORDER, _BATCHES, _PLACE = range(3)


def batch_parts(
    lengths: tf.Tensor, before, batch_size: int, window=0, seed=None, bucket_by_length: bool = False
) -> tf.RaggedTensor:
    """Orders the sentences of a window and cuts them where batches end.

    All batches but the last of the data have `batch_size` sentences, so the one that a window ends
    with goes on in the next. With buckets the sentences of that one are of similar length too:
    both windows take them from the same place of their sentences, sorted by length, and which
    place that is is drawn for each batch.

    Args:
        lengths: int [N], of the window's sentences in any unit.
        before: int64 scalar, the sentences in the windows before.
        batch_size: sentences per batch.
        window: the window's number, an integer scalar.
        seed: int64 scalar that shuffles sentences and batches; None keeps the sentences' order,
            or without one the batches are the shorter sentences first.
        bucket_by_length: whether sentences of similar length come together.

    Returns:
        ragged int32 [parts, (rows)], a permutation of 0..N-1: what completes the batch that was
        begun, whole batches, and what begins the next.
    """
    before = tf.cast(before, tf.int64)
    count = tf.size(lengths)
    first = tf.minimum(tf.cast(-before % batch_size, tf.int32), count)
    whole, last = (count - first) // batch_size, (count - first) % batch_size
    rows = tf.range(count)
    if seed is not None:
        rows = tf.random.experimental.stateless_shuffle(rows, _stream(seed, window, _ORDER))
    if bucket_by_length:
        rows = tf.gather(rows, tf.argsort(tf.gather(lengths, rows), stable=True))
        begun = before // batch_size
        next_begun = (before + tf.cast(count, tf.int64)) // batch_size
        ending, rows = _taken(rows, first, _place(seed, begun))
        starting, rows = _taken(rows, last, _place(seed, next_begun))
        batches = tf.reshape(rows, [whole, batch_size])
        if seed is not None:
            stream = _stream(seed, window, _BATCHES)
            batches = tf.random.experimental.stateless_shuffle(batches, stream)
        rows = tf.concat([ending, tf.reshape(batches, [-1]), starting], axis=0)
    sizes = tf.concat([[first], tf.fill([whole], batch_size), [last]], axis=0)
    return tf.RaggedTensor.from_row_lengths(rows, tf.boolean_mask(sizes, sizes > 0))


def _taken(rows, count, place) -> tuple[tf.Tensor, tf.Tensor]:
    """`count` neighbours of `rows` at a place in 0..1, and the others."""
    start = tf.cast(place * tf.cast(tf.size(rows) - count, tf.float32), tf.int32)
    others = tf.concat([rows[:start], rows[start + count :]], axis=0)
    return rows[start : start + count], others


def _place(seed, batch) -> tf.Tensor:
    if seed is None:
        return tf.constant(0.5)
    return tf.random.stateless_uniform([], _stream(seed, batch, _PLACE))


def _stream(seed, number, purpose: int) -> tf.Tensor:
    pair = tf.stack([tf.cast(seed, tf.int64), tf.cast(number, tf.int64)])
    return tf.random.experimental.stateless_fold_in(pair, purpose)
