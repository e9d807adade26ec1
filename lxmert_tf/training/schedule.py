"""The learning rate: linear warm-up, then linear to zero."""

import tensorflow as tf
from tensorflow import keras


@keras.utils.register_keras_serializable("lxmert_tf")
class WarmupLinearDecay(keras.optimizers.schedules.LearningRateSchedule):
    """BERT's schedule. Step t (from 0) uses the rate of progress t / total, so the first is zero.

    Args:
        peak: the rate at the end of the warm-up.
        total_steps: steps until the rate is zero again.
        warmup: share of the steps in which the rate rises.
    """

    def __init__(self, peak: float, total_steps: int, warmup: float):
        self.peak = peak
        self.total_steps = total_steps
        self.warmup = warmup

    def __call__(self, step):
        progress = tf.cast(step, tf.float32) / self.total_steps
        rising = progress / max(self.warmup, 1e-9)
        falling = tf.maximum((1.0 - progress) / max(1.0 - self.warmup, 1e-9), 0.0)
        return self.peak * tf.where(progress < self.warmup, rising, falling)

    def get_config(self):
        return {"peak": self.peak, "total_steps": self.total_steps, "warmup": self.warmup}
