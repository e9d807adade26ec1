"""Two devices train as one does."""

import collections
import pathlib
import subprocess
import sys

import numpy as np
import pytest

from lxmert_tf.training.strategy import mirrored_strategy
from tests.lxmert_tf.samples import LxmertAnswerClassifier
from tests.lxmert_tf.training.two_devices import SIZES

ROOT = pathlib.Path(__file__).parents[3]


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    path = tmp_path_factory.mktemp("two_devices") / "weights.npz"
    command = [sys.executable, "-m", "tests.lxmert_tf.training.two_devices", str(path)]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert result.returncode == 0, result.stderr[-3000:]
    return dict(np.load(path))


def test_every_logical_cpu_is_a_replica(trained):
    assert trained["replicas"] == 2
    assert mirrored_strategy().num_replicas_in_sync == 1


def test_two_devices_train_as_one_does(trained):
    one, two = (
        {name.removeprefix(devices): v for name, v in trained.items() if name.startswith(devices)}
        for devices in ("one/", "two/")
    )
    assert set(one) == set(two)
    kinds = collections.Counter(name.split("/")[0] for name in one)
    assert kinds["weights"] == len(LxmertAnswerClassifier(SIZES).weights)
    # Two moments for every trained weight, and the count of steps.
    assert kinds["optimizer"] > kinds["weights"]
    for name, value in one.items():
        np.testing.assert_allclose(two[name], value, rtol=1e-5, atol=1e-6, err_msg=name)


def test_the_training_that_is_compared_moves_the_weights(trained):
    names = [name.removeprefix("one/weights/") for name in trained if "one/weights/" in name]
    still = [
        name
        for name in names
        if np.abs(trained[f"one/weights/{name}"] - trained[f"one/before/{name}"]).max() < 1e-3
    ]
    # Nothing trains the last layer's vision side, which no answer depends on.
    assert {"/".join(name.split("/")[1:3]) for name in still} == {"cross_modality_encoder/layer_0"}
    assert all("/vision_" in name for name in still)
    losses = trained["one/history/loss"]
    assert losses[-1] < losses[0]


def test_a_loss_of_ones_own_is_that_of_the_whole_batch(trained):
    assert trained["auto_loss"] == pytest.approx(3.0)
    assert trained["sum_loss"] == pytest.approx(9.0)


def test_gradients_are_summed_over_devices_before_they_are_clipped(trained):
    # Row 1 gets 1 + 1 + 2 from both replicas and row 2 gets 2: the norm is sqrt(3 * (16 + 4)).
    expected = np.zeros([4, 3])
    expected[1], expected[2] = 4, 2
    expected *= 0.1 / np.sqrt(60)
    np.testing.assert_allclose(trained["clipped"], expected, rtol=0, atol=1e-6)
