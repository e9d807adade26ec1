"""Over which devices a model is trained."""

import tensorflow as tf


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
