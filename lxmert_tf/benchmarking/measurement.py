"""Measurement of a model's speed, beside the rate of one large matrix product."""

import dataclasses
import os
import platform
import resource

import numpy as np
import tensorflow as tf
from tensorflow import keras

from lxmert_tf import __version__
from lxmert_tf.benchmarking.settings import Setting
from lxmert_tf.benchmarking.timing import MatrixProduct, time_requests, time_steps
from lxmert_tf.benchmarking.workloads import make_workload
from lxmert_tf.models.config import LxmertConfig


@dataclasses.dataclass(frozen=True)
class Measurement:
    """The result of a measurement.

    Args:
        setting: The setting that was measured.
        examples_per_second: Median rate.
        best_examples_per_second: Best rate.
        gflop_per_example: Operations counted by `benchmarking.flops`, forward and, in training,
            backward.
        gflop_per_second: Operations per second at the median rate.
        product_gflop_per_second: Best rate of a large matrix product, timed between the steps.
        share: `gflop_per_second` divided by `product_gflop_per_second`.
        peak_memory_mb: Peak memory of the process, TensorFlow and batches included.
        latency_ms: Percentiles of the latency of single questions; empty for training.
        machine: Devices, number of processors, and versions.
        config: Sizes of the model.
    """

    setting: Setting
    examples_per_second: float
    best_examples_per_second: float
    gflop_per_example: float
    gflop_per_second: float
    product_gflop_per_second: float
    share: float
    peak_memory_mb: float
    latency_ms: dict[str, float]
    machine: dict[str, str | int]
    config: dict


def measure(setting: Setting, config: LxmertConfig) -> Measurement:
    """Build a model with random weights and time it.

    Args:
        setting: What to measure.
        config: Sizes of the model, from `model_sizes`.
    """
    keras.utils.set_random_seed(0)
    product = MatrixProduct(setting.precision)
    workload = make_workload(setting, config)
    times = time_steps(workload, setting.steps, product)
    flops = sum(workload.flops)
    rate = flops / times.median
    latencies = time_requests(workload)
    return Measurement(
        setting=setting,
        examples_per_second=times.median_rate,
        best_examples_per_second=times.best_rate,
        gflop_per_example=flops / sum(workload.examples) / 1e9,
        gflop_per_second=rate / 1e9,
        product_gflop_per_second=product.flops_per_second / 1e9,
        share=rate / product.flops_per_second,
        peak_memory_mb=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6,
        latency_ms={
            f"p{percent}": 1e3 * float(np.percentile(latencies, percent))
            for percent in (50, 99)
            if latencies
        },
        machine=_machine(),
        config=config.to_dict(),
    )


def _machine() -> dict[str, str | int]:
    devices = tf.config.list_physical_devices("GPU")
    names = [tf.config.experimental.get_device_details(d)["device_name"] for d in devices]
    return {
        "devices": ", ".join(names) or platform.machine(),
        "processors": len(os.sched_getaffinity(0)),
        "tensorflow": tf.__version__,
        "lxmert_tf": __version__,
    }
