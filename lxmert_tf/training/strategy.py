"""Over which devices a model is trained."""

import contextlib
import os

import tensorflow as tf

from lxmert_tf.errors import InputError

CLUSTER = "TF_CONFIG"


def training_strategy(name: str) -> tf.distribute.Strategy:
    """The strategy that a configuration names; to be made before TensorFlow computes anything.

    Args:
        name: "mirrored" for the devices of this machine, or "multi_worker" for those of all the
            machines in the environment variable TF_CONFIG, each of which runs the same command.

    Raises:
        InputError: there is no TF_CONFIG for several workers, or TensorFlow cannot use it.
    """
    if name == "mirrored":
        return mirrored_strategy()
    if CLUSTER not in os.environ:
        raise InputError(
            f"strategy is {name!r}, but the environment has no {CLUSTER}, which names the workers"
        )
    try:
        return tf.distribute.MultiWorkerMirroredStrategy()
    except (ValueError, RuntimeError, tf.errors.OpError) as error:
        raise InputError(f"{CLUSTER}: {str(error).strip().splitlines()[0]}") from error


def mirrored_strategy() -> tf.distribute.MirroredStrategy:
    """One replica per GPU; per logical CPU device where there is no GPU.

    TensorFlow alone would take one CPU device however many there are. Sums over CPU devices go
    through one of them: the collective ops would not allow a second strategy in the process.
    """
    if tf.config.list_logical_devices("GPU"):
        return tf.distribute.MirroredStrategy()
    devices = [device.name for device in tf.config.list_logical_devices("CPU")]
    return tf.distribute.MirroredStrategy(
        devices, cross_device_ops=tf.distribute.ReductionToOneDevice()
    )


def is_chief(strategy: tf.distribute.Strategy) -> bool:
    """Whether this process is the one that writes: the only one, the chief, or the first worker."""
    resolver = strategy.cluster_resolver
    if resolver is None or not resolver.task_type:
        return True
    if "chief" in resolver.cluster_spec().jobs:
        return resolver.task_type == "chief"
    return resolver.task_id == 0


@contextlib.contextmanager
def telling_lost_workers():
    """Turns what TensorFlow raises where another worker has ended into an InputError."""
    try:
        yield
    except (tf.errors.UnavailableError, tf.errors.AbortedError) as error:
        raise InputError(
            "another worker ended or cannot be reached; start all of them anew with --resume"
        ) from error
