"""Sequences as rows: every position of a padded batch, or only those that hold something.

Layers other than attention look at one row at a time, and attention gives padding no weight. So a
model may compute on the rows [N, H] that hold a token or a region instead of on all of [B, L, H],
with the same results. The layers of this library take either form; a model chooses once.
"""

import contextlib
import contextvars
from collections.abc import Iterator

import tensorflow as tf

_has_branches = contextvars.ContextVar("has_branches", default=True)


@contextlib.contextmanager
def without_branches() -> Iterator[None]:
    """Trace packing without the branches that spare a batch without padding its copies.

    For engines that run branches slowly, or optimize nothing across them. Results are the same.
    """
    token = _has_branches.set(False)
    try:
        yield
    finally:
        _has_branches.reset(token)


class Packing:
    """The positions of a padded batch that are computed on.

    The first position of each example is always kept: the pooler reads it, and an image without
    regions needs one row to attend to.

    Args:
        mask: [B, L], 1 = token or region, 0 = padding.
    """

    def __init__(self, mask):
        mask = tf.convert_to_tensor(mask)
        self.batch_size, self.length = tf.unstack(tf.shape(mask))
        kept = tf.logical_or(tf.cast(mask, tf.bool), tf.equal(tf.range(self.length), 0))
        flat = tf.reshape(kept, [-1])
        # Of each row, its position in the batch; of each position, its row.
        self._positions = tf.cast(tf.where(flat)[:, 0], tf.int32)
        rows = tf.reshape(tf.cumsum(tf.cast(flat, tf.int32)) - 1, tf.shape(mask))
        # Padding shows the first row of its example: attention gives it no weight.
        self._rows = tf.reshape(tf.where(kept, rows, rows[:, :1]), [-1])
        self._complete = tf.equal(tf.size(self._positions), tf.size(flat))

    def pack(self, batch) -> tf.Tensor:
        """Return the rows [N, H] of a batch [B, L, ...], with H values in each position."""
        return _gather(_flatten(batch), self._positions, self._complete)

    def unpack(self, rows, *sizes: int) -> tf.Tensor:
        """Return the batch [B, L, *sizes] of rows [N, H]; padding holds another position's values.

        Args:
            rows: [N, H].
            *sizes: Factors of H; H itself by default.
        """
        shape = [self.batch_size, self.length, *(sizes or rows.shape[-1:])]
        return tf.reshape(_gather(rows, self._rows, self._complete), shape)

    def first(self, rows) -> tf.Tensor:
        """Return the first position of each example, [B, H]."""
        firsts = tf.range(self.batch_size) * self.length
        return tf.gather(rows, tf.gather(self._rows, firsts))


class _AllPositions:
    """As `Packing`, for a batch whose padding is computed on, too."""

    def __init__(self, batch):
        self.batch_size, self.length, _ = tf.unstack(tf.shape(batch))

    def pack(self, batch) -> tf.Tensor:
        return _flatten(batch)

    def unpack(self, rows, *sizes: int) -> tf.Tensor:
        return tf.reshape(rows, [self.batch_size, self.length, *(sizes or rows.shape[-1:])])

    def first(self, rows) -> tf.Tensor:
        return self.unpack(rows)[:, 0]


class PackedSequence:
    """Rows [N, H] of a batch, and the positions that they belong to.

    Args:
        rows: [N, H].
        packing: Where the rows belong.
    """

    def __init__(self, rows, packing: Packing | _AllPositions):
        self.rows = rows
        self.packing = packing

    @property
    def shape(self) -> tf.TensorShape:
        """Shape of the padded batch, [B, L, H], as Keras asks for it."""
        return tf.TensorShape([None, None, *self.rows.shape[1:]])

    def with_rows(self, rows) -> "PackedSequence":
        """Return other rows of the same positions."""
        return PackedSequence(rows, self.packing)

    def unpack(self) -> tf.Tensor:
        """Return the padded batch [B, L, H]."""
        return self.packing.unpack(self.rows)

    def first(self) -> tf.Tensor:
        """Return the first position of each example, [B, H]."""
        return self.packing.first(self.rows)


def as_rows(hidden) -> PackedSequence:
    """Return a padded batch [B, L, H] as the rows of all its positions.

    Args:
        hidden: A padded batch, or a packed sequence, which is returned as it is.
    """
    if isinstance(hidden, PackedSequence):
        return hidden
    return PackedSequence(_flatten(hidden), _AllPositions(hidden))


def as_given(sequence: PackedSequence, hidden):
    """Return a sequence in the form of `hidden`: a padded batch, or a packed sequence."""
    if isinstance(hidden, PackedSequence):
        return sequence
    batch = sequence.unpack()
    batch.set_shape([*hidden.shape[:2], None])
    return batch


def _flatten(batch) -> tf.Tensor:
    """Return the rows [B * L, H] of a batch [B, L, ...]."""
    batch = tf.convert_to_tensor(batch)
    # The features of records have a width that only their bytes tell.
    width = batch.shape[2:].num_elements() or tf.shape(batch)[-1]
    return tf.reshape(batch, [-1, width])


def _gather(rows, indices, complete) -> tf.Tensor:
    """Return the rows [N, H] at `indices`; if `complete`, all rows as they are, without a copy."""
    if not _has_branches.get():
        return tf.gather(rows, indices)
    # In eager mode each batch size would be traced.
    if tf.executing_eagerly():
        return _gather_or_keep(rows, indices, complete)
    gathered = _shared_gather(rows, indices, complete)
    # A trace for rows of any width serves rows of a known width, too.
    gathered.set_shape([None, rows.shape[-1]])
    return gathered


def _gather_or_keep(rows, indices, complete) -> tf.Tensor:
    return tf.cond(complete, lambda: rows, lambda: tf.gather(rows, indices))


# One function for all layers, and at most two traces for rows of different widths: a SavedModel
# takes longer to load with each branch in it.
_shared_gather = tf.function(_gather_or_keep, autograph=False, reduce_retracing=True)
