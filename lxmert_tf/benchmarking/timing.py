"""The rate of a large matrix product, and the times of steps."""

import statistics
import time
from collections.abc import Callable, Sequence

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


# Every batch's shape is met before the clock runs, and there are at least as many steps as this.
WARM_UP = 3


class StepTimes:
    """Seconds of steps, by batch.

    Batches differ in their longest sentence, so that steps are only compared with those on the same
    batch: the time of a pass over all is the sum of each one's median, or best.

    Args:
        examples: of each batch.
    """

    def __init__(self, examples: Sequence[int]):
        self._examples = list(examples)
        self._seconds: list[list[float]] = [[] for _ in examples]

    def add(self, batch: int, seconds: float) -> None:
        """One step's time."""
        self._seconds[batch].append(seconds)

    @property
    def median(self) -> float:
        """Seconds of a typical pass."""
        return self._pass(statistics.median)

    @property
    def best(self) -> float:
        """Seconds of a pass with nothing else going on."""
        return self._pass(min)

    @property
    def median_rate(self) -> float:
        """Examples per second of a typical pass."""
        return sum(self._examples) / self.median

    @property
    def best_rate(self) -> float:
        """Examples per second of the best pass."""
        return sum(self._examples) / self.best

    def _pass(self, typical: Callable[[list[float]], float]) -> float:
        return sum(typical(seconds) for seconds in self._seconds)
