"""Random numbers that depend on what they are for, not on what was drawn before.

Every draw has a key made of the run's seed, the epoch, the example and the purpose. So a run is the
same each time, and a resumed run sees what the uninterrupted one would have seen.
"""

import zlib

import numpy as np
import tensorflow as tf


def keys(seed: int, epoch, example_ids, purpose: str) -> tf.Tensor:
    """Makes the keys of one purpose, int64 [N, 2].

    Args:
        seed: of the run, at least 0.
        epoch: an integer, or an integer scalar tensor.
        example_ids: string [N], unique among the examples.
        purpose: what is drawn; two purposes of one example are independent.
    """
    hashed = tf.strings.to_hash_bucket_strong(
        example_ids, num_buckets=2**62, key=[seed, zlib.crc32(purpose.encode())]
    )
    epochs = tf.fill(tf.shape(hashed), tf.cast(epoch, tf.int64))
    return tf.stack([hashed, epochs], axis=-1)


def uniform(keys, shape) -> tf.Tensor:
    """Draws uniform numbers in [0, 1), float32 [N, *shape], of 24 bits each.

    A longer first axis of `shape` appends numbers and changes none, so that what is drawn for a
    word does not depend on how far its sentence is padded.

    SplitMix64 (Steele, Lea & Flood 2014) with the key as its state: TensorFlow's stateless ops take
    one seed per call, which costs a call per example.

    Args:
        keys: int64 [N, 2], from `keys`.
        shape: what each key gives.
    """
    keys = tf.bitcast(keys, tf.uint64)
    # Mixed first, or keys that lie close together would give streams that overlap.
    state = _mix(_mix(keys[:, :1]) + keys[:, 1:] * _GAMMA)
    steps = tf.range(1, tf.reduce_prod(shape) + 1)
    bits = _mix(state + tf.cast(steps, tf.uint64)[tf.newaxis] * _GAMMA)
    fraction = tf.cast(tf.bitwise.right_shift(bits, _SHIFTS[-1]), tf.float32) * 2.0**-24
    return tf.reshape(fraction, tf.concat([tf.shape(keys)[:1], shape], axis=0))


def _mix(state):
    for shift, factor in zip(_SHIFTS, _FACTORS):
        state = tf.bitwise.bitwise_xor(state, tf.bitwise.right_shift(state, shift)) * factor
    return tf.bitwise.bitwise_xor(state, tf.bitwise.right_shift(state, _SHIFTS[2]))


# SplitMix64's constants; the last shift leaves the 24 bits that a float32 in [0, 1) holds.
_GAMMA = np.uint64(0x9E3779B97F4A7C15)
_FACTORS = (np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB))
_SHIFTS = (np.uint64(30), np.uint64(27), np.uint64(31), np.uint64(40))
