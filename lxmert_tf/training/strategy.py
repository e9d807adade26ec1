"""Distribution of training over devices and machines."""

import contextlib
import os

import tensorflow as tf

from lxmert_tf.errors import InputError, first_line

CLUSTER = "TF_CONFIG"


def training_strategy(name: str) -> tf.distribute.Strategy:
    """Make the strategy that a configuration names, before TensorFlow computes anything.

    Args:
        name: "mirrored" for the devices of this machine, or "multi_worker" for those of all the
            machines in the environment variable TF_CONFIG, each of which runs the same command.

    Raises:
        InputError: TF_CONFIG is missing for several workers, or TensorFlow cannot use it.
    """
    if name == "mirrored":
        return mirrored_strategy()
    if CLUSTER not in os.environ:
        raise InputError(
            f"strategy is {name!r}, but the environment variable {CLUSTER}, which lists the "
            "workers, is not set"
        )
    try:
        return tf.distribute.MultiWorkerMirroredStrategy()
    except (ValueError, RuntimeError, tf.errors.OpError) as error:
        raise InputError(f"{CLUSTER}: {first_line(error)}") from error


def mirrored_strategy() -> tf.distribute.MirroredStrategy:
    """Make a strategy with one replica per GPU, or per logical CPU device if there is no GPU.

    TensorFlow's default is a single CPU device, however many there are. CPU devices reduce to one
    of them, because collective ops allow only one strategy per process.
    """
    if tf.config.list_logical_devices("GPU"):
        return tf.distribute.MirroredStrategy()
    devices = [device.name for device in tf.config.list_logical_devices("CPU")]
    return tf.distribute.MirroredStrategy(
        devices, cross_device_ops=tf.distribute.ReductionToOneDevice()
    )


def is_chief(strategy: tf.distribute.Strategy) -> bool:
    """Return whether this process writes: the only process, the chief, or the first worker."""
    resolver = strategy.cluster_resolver
    if resolver is None or not resolver.task_type:
        return True
    if "chief" in resolver.cluster_spec().jobs:
        return resolver.task_type == "chief"
    return resolver.task_id == 0


@contextlib.contextmanager
def explaining_lost_workers():
    """Turn the errors that TensorFlow raises when another worker has ended into an InputError."""
    try:
        yield
    except (tf.errors.UnavailableError, tf.errors.AbortedError) as error:
        raise InputError(
            "another worker ended or cannot be reached; restart all workers with --resume"
        ) from error
