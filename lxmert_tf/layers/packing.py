"""Which positions of a batch hold a word or a region, and which of them are computed on."""

import functools

import tensorflow as tf

from lxmert_tf.layers.own_gradient import with_own_gradient

# What a padded token or an absent region adds to its attention scores (BERT's constant): in
# float32, exp(-10000) is exactly zero beside any real score.
MASKED_SCORE = -10000.0


def attention_bias(mask) -> tf.Tensor:
    """Turns a mask [B, K] (1 = there) into what is added to scores, float32 [B, 1, 1, K]."""
    return (1.0 - tf.cast(mask, tf.float32))[:, tf.newaxis, tf.newaxis, :] * MASKED_SCORE


class Positions:
    """The places of a batch [B, L], as the rows [N, H] that the layers compute on.

    All of them, or (packed) only those that are there. No layer but attention looks at more than
    one row, and attention gives a place that is not there no weight: the results are the same.

    Args:
        mask: [B, L], 1 = there.
        packed: whether to leave out what is not there. The first place of each example is always
            computed: the pooler reads it, and an image without regions then has one, as it would
            if its padding were not left out.
    """

    def __init__(self, mask, packed: bool = False):
        mask = tf.convert_to_tensor(mask)
        self.bias = attention_bias(mask)
        # Cut apart once: each cut is four operations, and every layer needs both.
        self._batch_size, self._length = tf.unstack(tf.shape(mask))
        self._packed = packed
        if not packed:
            return
        kept = tf.logical_or(tf.cast(mask, tf.bool), tf.equal(tf.range(self._length), 0))
        flat = tf.reshape(kept, [-1])
        self._places = tf.cast(tf.where(flat)[:, 0], tf.int32)
        rows = tf.reshape(tf.cumsum(tf.cast(flat, tf.int32)) - 1, tf.shape(mask))
        # Whatever stands at a place that is not there gets no weight; it must only be of the same
        # example.
        self._rows = tf.reshape(tf.where(kept, rows, rows[:, :1]), [-1])
        self._kept = flat
        self._complete = tf.equal(tf.size(self._places), tf.size(flat))

    def to_rows(self, batch) -> tf.Tensor:
        """[B, L, H], or [B, L, heads, H / heads], to rows [N, H]."""
        batch = tf.convert_to_tensor(batch)
        # A record's features have a size that only their bytes tell.
        size = batch.shape[2:].num_elements() or tf.shape(batch)[-1]
        flat = tf.reshape(batch, [-1, size])
        return with_own_gradient(self._pack, flat) if self._packed else flat

    def to_batch(self, rows, *inner: int) -> tf.Tensor:
        """Rows [N, H] to [B, L, H]; what is not there gets another place's values.

        Args:
            rows: [N, H].
            *inner: what becomes of the last axis, if more than one; their product is H.
        """
        flat = with_own_gradient(self._unpack, rows) if self._packed else rows
        return tf.reshape(flat, [self._batch_size, self._length, *(inner or rows.shape[-1:])])

    def first_rows(self, rows) -> tf.Tensor:
        """The row of each example's first place: [B, H]."""
        if not self._packed:
            return self.to_batch(rows)[:, 0]
        firsts = tf.range(self._batch_size) * self._length
        return tf.gather(rows, tf.gather(self._rows, firsts))

    # Both gradients gather too, where TensorFlow's own of a gather would add up slices one by one.

    def _pack(self, flat):
        def gradient(upstream):
            return _gather_kept(upstream, self._complete, self._rows, self._kept)

        return _gather(flat, self._complete, self._places), gradient

    def _unpack(self, packed):
        def gradient(upstream):
            # Attention gives what is not there no weight, so that it has no gradient.
            return _gather(upstream, self._complete, self._places)

        return _gather(packed, self._complete, self._rows), gradient


def _once_for_all_layers(function):
    """`function`; in a graph a call of it, because loading a SavedModel takes a time per branch."""
    shared = tf.function(function, autograph=False)

    @functools.wraps(function)
    def call(values, *where):
        # Eagerly each batch size would be traced.
        if tf.executing_eagerly():
            return function(values, *where)
        moved = shared(values, *where)
        # A trace for rows of any width, a record's features, is taken for all others, too.
        moved.set_shape([None, values.shape[-1]])
        return moved

    return call


# Where nothing is left out there is nothing to copy.


@_once_for_all_layers
def _gather(values, complete, places):
    return tf.cond(complete, lambda: values, lambda: tf.gather(values, places))


@_once_for_all_layers
def _gather_kept(values, complete, rows, kept):
    def gather():
        return tf.gather(values, rows) * tf.cast(kept, values.dtype)[:, tf.newaxis]

    return tf.cond(complete, lambda: values, gather)
