"""The learning rate, at steps worked out by hand."""

import numpy as np
import pytest
import tensorflow as tf
from tensorflow import keras

from lxmert_tf.training.optimization import WarmupLinearDecay


@pytest.mark.parametrize(
    ("step", "rate"),
    [
        (0, 0.0),
        (1, 0.2),
        (4, 0.8),
        (5, 1.0),
        (6, 14 / 15),
        (10, 10 / 15),
        (19, 1 / 15),
        (20, 0.0),
        (50, 0.0),
    ],
)
def test_it_rises_to_the_peak_and_falls_to_zero(step, rate):
    schedule = WarmupLinearDecay(peak=3e-4, total_steps=20, warmup=0.25)
    assert float(schedule(step)) == pytest.approx(3e-4 * rate, rel=1e-5, abs=1e-11)


def test_without_warm_up_it_starts_at_the_peak():
    schedule = WarmupLinearDecay(peak=1e-3, total_steps=10, warmup=0.0)
    rates = [float(schedule(step)) for step in range(11)]
    np.testing.assert_allclose(rates, np.linspace(1e-3, 0, 11), rtol=1e-5, atol=1e-10)


def test_it_works_with_a_variable_in_a_graph():
    schedule = WarmupLinearDecay(peak=1.0, total_steps=4, warmup=0.5)
    step = tf.Variable(1, dtype=tf.int64)
    assert float(tf.function(schedule)(step)) == 0.5


def test_it_comes_back_from_its_config():
    schedule = WarmupLinearDecay(peak=1e-3, total_steps=7, warmup=0.2)
    twin = keras.optimizers.schedules.deserialize(keras.optimizers.schedules.serialize(schedule))
    assert isinstance(twin, WarmupLinearDecay)
    assert twin.get_config() == {"peak": 1e-3, "total_steps": 7, "warmup": 0.2}
