"""Order of timed steps and requests, and rates computed from their times."""

import pytest

from lxmert_tf.benchmarking.timing import (
    MatrixProduct,
    StepTimes,
    Workload,
    time_requests,
    time_steps,
)


def test_rates_are_those_of_a_pass_over_all_batches():
    times = StepTimes(examples=[10, 30])
    for batch, seconds in ((0, 1.0), (0, 2.0), (0, 6.0), (1, 4.0), (1, 2.0)):
        times.add(batch, seconds)
    assert (times.median, times.best) == (5.0, 3.0)
    assert times.median_rate == pytest.approx(8.0)
    assert times.best_rate == pytest.approx(40 / 3)


@pytest.mark.parametrize("batches, warm_up", [(2, 3), (4, 4)])
def test_batches_alternate_and_warm_up_steps_do_not_count(batches, warm_up):
    steps = []
    workload = Workload(steps.append, examples=[1] * batches, flops=[1] * batches)
    product = MatrixProduct("float32")
    times = time_steps(workload, steps=5, product=product)
    assert steps == [number % batches for number in range(warm_up + 5)]
    assert times.median > 0
    assert product.flops_per_second > 1e9


def test_requests_run_once_before_they_are_timed():
    calls = []
    requests = [lambda: calls.append("a"), lambda: calls.append("b")]
    latencies = time_requests(Workload(calls.append, [1], [1], requests))
    assert calls == ["a", "b", "a", "b"]
    assert len(latencies) == 2
