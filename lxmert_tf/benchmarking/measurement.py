"""What a machine's arithmetic is worth: the rate of one large matrix product."""

import dataclasses
import os
import platform
import resource
from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow import keras

from lxmert_tf import __version__
from lxmert_tf.benchmarking.timing import MatrixProduct
from lxmert_tf.benchmarking.workloads import (
    answering,
    finetuning,
    pretraining,
    time_requests,
    time_steps,
)
from lxmert_tf.models.config import LxmertConfig

# As many different batches as make the mean length a fair one.
BATCHES = 4


@dataclasses.dataclass(frozen=True)
class Setting:
    """What is measured.

    Args:
        task: "answer", "finetune" or "pretrain".
        model: what the sizes are called.
        precision: "float32" or "bfloat16"; training in the latter has Keras' policy
            mixed_bfloat16, and what answers has weights of bfloat16, as `lxmert export` writes.
        lengths: of the sentences, a key of `LENGTHS`.
        batch_size: images per step.
        questions_per_image: of answering, examples are questions.
        steps: how many are timed.
        plain: whether to compute what the result does not depend on, too: padding, and outputs
            that nothing reads.
    """

    task: str
    model: str
    precision: str
    lengths: str
    batch_size: int
    questions_per_image: int
    steps: int
    plain: bool


@dataclasses.dataclass(frozen=True)
class Measurement:
    """What came of it.

    Args:
        setting: what was measured.
        examples_per_second: of a typical pass over the batches.
        best_examples_per_second: of the best one.
        gflop_per_example: counted (`benchmarking.flops`), of training forward and backward.
        gflop_per_second: of the typical pass.
        product_gflop_per_second: of a large matrix product, the best between the steps.
        share: of that rate which the typical pass reached, 0..1.
        peak_memory_mb: of the process, with TensorFlow and the batches.
        latency_ms: of single questions by percentile, only of answering.
        machine: where: processors, devices, versions.
        config: the model's sizes.
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
    """Makes a model with random weights and times it."""
    keras.utils.set_random_seed(0)
    product = MatrixProduct(setting.precision)
    workload = _workload(setting, config)
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


def _workload(setting: Setting, config: LxmertConfig):
    answers = setting.task == "answer"
    trained_in_half = setting.precision == "bfloat16" and not answers
    shared: dict[str, Any] = {
        "config": config,
        "policy": "mixed_bfloat16" if trained_in_half else setting.precision,
        "lengths": setting.lengths,
        "batch_size": setting.batch_size,
        # Each is timed at least once.
        "batches": min(BATCHES, setting.steps),
        "plain": setting.plain,
    }
    if answers:
        return answering(questions_per_image=setting.questions_per_image, **shared)
    return {"finetune": finetuning, "pretrain": pretraining}[setting.task](**shared)


def _machine() -> dict[str, str | int]:
    devices = tf.config.list_physical_devices("GPU")
    names = [tf.config.experimental.get_device_details(d)["device_name"] for d in devices]
    return {
        "devices": ", ".join(names) or platform.machine(),
        "processors": len(os.sched_getaffinity(0)),
        "tensorflow": tf.__version__,
        "lxmert_tf": __version__,
    }
