"""What is measured: steps on a few batches, and what each costs."""

import dataclasses
import time
from collections.abc import Callable, Sequence

from lxmert_tf.benchmarking.matrix_product import MatrixProduct
from lxmert_tf.benchmarking.step_times import WARM_UP, StepTimes


@dataclasses.dataclass(frozen=True)
class Workload:
    """Steps on batches in turn.

    Args:
        step: runs one step on the batch of a number and waits for its result. Called with 0, 1,
            ... and again from 0.
        examples: of each batch.
        flops: floating-point operations of a step on each batch.
        requests: single requests, whose latencies matter.
    """

    step: Callable[[int], None]
    examples: Sequence[int]
    flops: Sequence[int]
    requests: Sequence[Callable[[], None]] = ()


def time_steps(workload: Workload, steps: int, product: MatrixProduct) -> StepTimes:
    """Times steps, and `product` between them.

    Args:
        workload: what to run.
        steps: how many to time, at least one for each batch.
        product: of the same precision.
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
    """Seconds of each request, after all were made once."""
    for request in workload.requests:
        request()
    latencies = []
    for request in workload.requests:
        start = time.perf_counter()
        request()
        latencies.append(time.perf_counter() - start)
    return latencies
