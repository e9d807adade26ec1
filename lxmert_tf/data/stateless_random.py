"""Random numbers that depend on what they are for, not on what was drawn before.

A run is therefore reproducible, and a resumed run draws the numbers that the uninterrupted run
would have drawn.
"""

import dataclasses
import zlib

import numpy as np
import tensorflow as tf


@dataclasses.dataclass(frozen=True)
class RngKeys:
    """The keys of random numbers for the examples of a batch.

    A number depends on the seed, the epoch, the example and the purpose, and on nothing else.

    Args:
        seed: The seed of the run, at least 0.
        epoch: The number of the pass over the data, an integer or an integer scalar tensor.
        example_ids: string [B], unique among the examples.
    """

    seed: int
    epoch: tf.Tensor | int
    example_ids: tf.Tensor

    def uniform(self, purpose: str, shape) -> tf.Tensor:
        """Draw uniform numbers in [0, 1), of 24 bits each.

        Extending the first axis of `shape` appends numbers and changes none, so the numbers for a
        word do not depend on how far its sentence is padded.

        Args:
            purpose: What the numbers are for; those for two purposes are independent.
            shape: The shape of the numbers for one example.

        Returns:
            float32 [B, *shape].
        """
        # SplitMix64 (Steele, Lea & Flood 2014) with the key as its state. TensorFlow's stateless
        # ops take one seed per call, which would cost a call per example.
        keys = tf.bitcast(self._keys(purpose), tf.uint64)
        # Mixed first, because keys that are close together would give overlapping streams.
        state = _mix(_mix(keys[:, :1]) + keys[:, 1:] * _GAMMA)
        steps = tf.range(1, tf.reduce_prod(shape) + 1)
        bits = _mix(state + tf.cast(steps, tf.uint64)[tf.newaxis] * _GAMMA)
        fraction = tf.cast(tf.bitwise.right_shift(bits, _SHIFTS[-1]), tf.float32) * 2.0**-24
        return tf.reshape(fraction, tf.concat([tf.shape(keys)[:1], shape], axis=0))

    def _keys(self, purpose: str) -> tf.Tensor:
        """Return the keys for a purpose, int64 [B, 2]."""
        hashed = tf.strings.to_hash_bucket_strong(
            self.example_ids, num_buckets=2**62, key=[self.seed, zlib.crc32(purpose.encode())]
        )
        epochs = tf.fill(tf.shape(hashed), tf.cast(self.epoch, tf.int64))
        return tf.stack([hashed, epochs], axis=-1)


def _mix(state):
    for shift, factor in zip(_SHIFTS, _FACTORS):
        state = tf.bitwise.bitwise_xor(state, tf.bitwise.right_shift(state, shift)) * factor
    return tf.bitwise.bitwise_xor(state, tf.bitwise.right_shift(state, _SHIFTS[2]))


# SplitMix64's constants; the last shift leaves the 24 bits that a float32 in [0, 1) holds.
_GAMMA = np.uint64(0x9E3779B97F4A7C15)
_FACTORS = (np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB))
_SHIFTS = (np.uint64(30), np.uint64(27), np.uint64(31), np.uint64(40))
