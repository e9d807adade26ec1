"""Rounding of float32 to float16, with the bits that NumPy gives in less than half of its time."""

import numpy as np

# A block and what is computed of it fit into a processor's cache.
_BLOCK = 1 << 14
# As bits of float32: the sign, and 65520, which would become infinite.
_WITHOUT_SIGN, _INFINITE = 0x7FFFFFFF, 0x477FF000
# float16 has 13 bits less of the mantissa, and an exponent that counts from -15 instead of -127.
_LOST_BITS = 13
_ROUND_AND_REBIAS = (1 << _LOST_BITS - 1) - 1 - (127 - 15 << 23)
# 0.5, whose last bit is worth as much as the last bit of a subnormal float16; adding it rounds.
_HALF, _HALF_BITS = np.float32(0.5), 0x3F000000
# The smallest normal float16.
_SMALLEST_NORMAL = 1 << 10


def to_float16(values: np.ndarray) -> np.ndarray:
    """Round numbers to the nearest float16, and of two to the even one.

    Args:
        values: float32 of any shape.

    Returns:
        float16 of the same shape.
    """
    flat = np.ascontiguousarray(values, np.float32).reshape(-1).view(np.int32)
    rounded = np.empty(flat.shape, np.uint16)
    size = min(_BLOCK, flat.size)
    buffers = [np.empty(size, np.int32) for _ in range(3)]
    for start in range(0, flat.size, _BLOCK):
        bits = flat[start : start + _BLOCK]
        magnitude, normal, other = (buffer[: len(bits)] for buffer in buffers)
        # Most detectors end in a rectifier, so that no feature has a sign.
        signed = bits.min() < 0
        if signed:
            np.bitwise_and(bits, _WITHOUT_SIGN, out=magnitude)
        else:
            magnitude = bits
        if magnitude.max() >= _INFINITE:
            # Infinite or NaN, which features of detectors are not.
            with np.errstate(over="ignore"):
                return values.astype(np.float16)
        # The bits of a normal float16. The bit after the lost ones decides where two are as near.
        np.right_shift(magnitude, _LOST_BITS, out=normal)
        np.bitwise_and(normal, 1, out=normal)
        np.add(normal, magnitude, out=normal)
        np.add(normal, _ROUND_AND_REBIAS, out=normal)
        np.right_shift(normal, _LOST_BITS, out=normal)
        # Those of a subnormal one, which are more than `normal` if it is subnormal. Otherwise
        # `normal` is at least the limit.
        np.add(magnitude.view(np.float32), _HALF, out=other.view(np.float32))
        np.subtract(other, _HALF_BITS, out=other)
        np.minimum(other, _SMALLEST_NORMAL, out=other)
        np.maximum(normal, other, out=normal)
        if signed:
            np.right_shift(bits, 16, out=other)
            np.bitwise_and(other, 0x8000, out=other)
            np.bitwise_or(normal, other, out=normal)
        rounded[start : start + _BLOCK] = normal
    return rounded.view(np.float16).reshape(values.shape)
