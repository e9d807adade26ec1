"""Two devices, and two processes, train as one does."""

import collections
import json
import os
import pathlib
import socket
import subprocess
import sys

import numpy as np
import pytest

from lxmert_tf.errors import InputError
from lxmert_tf.training.strategy import mirrored_strategy, training_strategy
from tests.lxmert_tf.samples import LxmertAnswerClassifier
from tests.lxmert_tf.training.two_devices import SIZES

pytestmark = pytest.mark.e2e

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
    assert {name.split("/")[0] for name in still} == {"cross_modality_layer_0"}
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


def start(folder: pathlib.Path, run: str, strategy: str, name: str, cluster=None):
    command = [sys.executable, "-m", "tests.lxmert_tf.training.one_worker"]
    places = (folder / "records", folder / run, strategy, folder / f"{name}.npz")
    environment = {**os.environ, **({"TF_CONFIG": json.dumps(cluster)} if cluster else {})}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen([*command, *map(str, places)], cwd=ROOT, env=environment, **pipes)


def finish(process) -> str:
    out, err = process.communicate(timeout=500)
    assert process.returncode == 0, err[-3000:]
    return out


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("localhost", 0))
        return probe.getsockname()[1]


def weights_of(path: pathlib.Path) -> list[np.ndarray]:
    return list(np.load(path).values())


@pytest.mark.slow
def test_two_workers_train_as_one_process_does(files, tmp_path):
    (tmp_path / "records").symlink_to(pathlib.Path(files[0]).parent)
    finish(start(tmp_path, "alone", "mirrored", "alone"))
    workers = [f"localhost:{free_port()}" for _ in range(2)]
    processes = [
        start(
            tmp_path,
            "together",
            "multi_worker",
            f"worker-{index}",
            {"cluster": {"worker": workers}, "task": {"type": "worker", "index": index}},
        )
        for index in range(2)
    ]
    told = [finish(process) for process in processes]
    # The first is the one that writes and tells.
    assert "epoch 2/2" in told[0] and "epoch" not in told[1]
    assert (tmp_path / "together" / "preset" / "preset.json").exists()
    alone, first, second = (
        weights_of(tmp_path / f"{name}.npz") for name in ("alone", "worker-0", "worker-1")
    )
    for ours, theirs, expected in zip(first, second, alone, strict=True):
        np.testing.assert_array_equal(ours, theirs)
        np.testing.assert_allclose(ours, expected, rtol=0, atol=1e-5)
    logs = [
        [json.loads(line) for line in (tmp_path / run / "log.jsonl").read_text().splitlines()]
        for run in ("together", "alone")
    ]
    for ours, theirs in zip(*logs, strict=True):
        for name in set(theirs) - {"seconds"}:
            assert ours[name] == pytest.approx(theirs[name], abs=1e-5, rel=1e-5), name


def test_several_workers_must_be_named(monkeypatch):
    monkeypatch.delenv("TF_CONFIG", raising=False)
    with pytest.raises(InputError, match="the environment variable TF_CONFIG"):
        training_strategy("multi_worker")
