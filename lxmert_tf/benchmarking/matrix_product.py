"""What a machine's arithmetic is worth: the rate of one large matrix product."""

import time

import numpy as np
import tensorflow as tf

# The first product of a feed-forward block of the published size: 32 images of 36 regions.
ROWS, INPUTS, UNITS = 1152, 768, 3072
FLOPS = 2 * ROWS * INPUTS * UNITS


class MatrixProduct:
    """The product [1152, 768] x [768, 3072], to be timed now and then between other things.

    Args:
        precision: "float32" or "bfloat16".
    """

    def __init__(self, precision: str):
        random = np.random.default_rng(0)
        rows = random.standard_normal([ROWS, INPUTS], np.float32)
        # As a constant, which oneDNN lays out once as it likes best.
        weights = tf.constant(random.standard_normal([INPUTS, UNITS], np.float32))
        self._rows = tf.cast(rows, precision)
        self._multiply = tf.function(lambda rows: tf.matmul(rows, tf.cast(weights, precision)))
        self._best = np.inf
        self._multiply(self._rows)

    def time(self, repeats: int = 5) -> None:
        """Multiplies a few times; the best of all times counts."""
        for _ in range(repeats):
            start = time.perf_counter()
            # Read back, since a GPU would only have begun.
            self._multiply(self._rows)[0, 0].numpy()
            self._best = min(self._best, time.perf_counter() - start)

    @property
    def flops_per_second(self) -> float:
        """The best rate so far."""
        return FLOPS / self._best
