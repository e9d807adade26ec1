"""Times of steps and requests, and the rate of a large matrix product."""

import dataclasses
import statistics
import time
from collections.abc import Callable, Sequence

import numpy as np
import tensorflow as tf

# Sizes of the first product of a feed-forward block at the published size, for 32 images of 36
# regions.
ROWS, INPUTS, UNITS = 1152, 768, 3072
FLOPS = 2 * ROWS * INPUTS * UNITS
# Fewest steps before the timed ones; there is at least one for each batch, because each new shape
# makes TensorFlow prepare its kernels.
WARM_UP = 3


@dataclasses.dataclass(frozen=True)
class Workload:
    """Steps and requests to time.

    Args:
        step: Function that runs a step on the batch with the given index and waits for its
            result. The indices are 0, 1, ..., and again from 0.
        examples: Number of examples in each batch.
        flops: Floating-point operations of a step on each batch.
        requests: Functions that make single requests, to measure latency.
    """

    step: Callable[[int], None]
    examples: Sequence[int]
    flops: Sequence[int]
    requests: Sequence[Callable[[], None]] = ()


class MatrixProduct:
    """The product [1152, 768] x [768, 3072], timed repeatedly to find the best rate.

    Args:
        precision: "float32" or "bfloat16".
    """

    def __init__(self, precision: str):
        random = np.random.default_rng(0)
        rows = random.standard_normal([ROWS, INPUTS], np.float32)
        # oneDNN chooses the layout of a constant once.
        weights = tf.constant(random.standard_normal([INPUTS, UNITS], np.float32))
        self._rows = tf.cast(rows, precision)
        self._multiply = tf.function(lambda rows: tf.matmul(rows, tf.cast(weights, precision)))
        self._best = np.inf
        self._multiply(self._rows)

    def time(self, repeats: int = 5) -> None:
        """Multiply `repeats` times and keep the best time so far."""
        for _ in range(repeats):
            start = time.perf_counter()
            # A GPU runs asynchronously; reading a value waits for the result.
            self._multiply(self._rows)[0, 0].numpy()
            self._best = min(self._best, time.perf_counter() - start)

    @property
    def flops_per_second(self) -> float:
        """The best rate so far."""
        return FLOPS / self._best


class StepTimes:
    """Times of steps, by batch.

    Batches differ in their longest sentence, so only steps on the same batch are compared: the
    time of a pass is the sum over batches of the median, or the best, time of each.

    Args:
        examples: Number of examples in each batch.
    """

    def __init__(self, examples: Sequence[int]):
        self._examples = list(examples)
        self._seconds: list[list[float]] = [[] for _ in examples]

    def add(self, batch: int, seconds: float) -> None:
        """Add the time of a step on the batch with index `batch`."""
        self._seconds[batch].append(seconds)

    @property
    def median(self) -> float:
        """The median time of a pass over all batches, in seconds."""
        return self._pass(statistics.median)

    @property
    def best(self) -> float:
        """The best time of a pass over all batches, in seconds."""
        return self._pass(min)

    @property
    def median_rate(self) -> float:
        """Examples per second at the median time."""
        return sum(self._examples) / self.median

    @property
    def best_rate(self) -> float:
        """Examples per second at the best time."""
        return sum(self._examples) / self.best

    def _pass(self, summarize: Callable[[list[float]], float]) -> float:
        return sum(summarize(seconds) for seconds in self._seconds)


def time_steps(workload: Workload, steps: int, product: MatrixProduct) -> StepTimes:
    """Time steps, and a matrix product before each of them.

    Args:
        workload: Steps to run.
        steps: Number of timed steps, at least one for each batch.
        product: A product in the precision of the workload.

    Returns:
        The times of the steps; `product` keeps its own.
    """
    batches = len(workload.examples)
    warm_up = max(WARM_UP, batches)
    times = StepTimes(workload.examples)
    for number in range(warm_up + steps):
        product.time()
        start = time.perf_counter()
        workload.step(number % batches)
        if number >= warm_up:
            times.add(number % batches, time.perf_counter() - start)
    return times


def time_requests(workload: Workload) -> list[float]:
    """Return the seconds of each request, after each has been made once to warm up."""
    for request in workload.requests:
        request()
    latencies = []
    for request in workload.requests:
        start = time.perf_counter()
        request()
        latencies.append(time.perf_counter() - start)
    return latencies
