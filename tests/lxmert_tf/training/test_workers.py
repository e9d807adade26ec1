"""Two processes that train together, as on two machines."""

import json
import os
import pathlib
import socket
import subprocess
import sys

import numpy as np
import pytest

from lxmert_tf.errors import InputError
from lxmert_tf.training.strategy import training_strategy
from pipeline.ingest.config import IngestConfig, SplitConfig
from pipeline.ingest.job import run_ingest

ROOT = pathlib.Path(__file__).parents[3]


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
def test_two_workers_train_as_one_process_does(tmp_path):
    run_ingest(IngestConfig("easy_vqa", SplitConfig("train", limit=6)), tmp_path / "records")
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
    with pytest.raises(InputError, match="the environment has no TF_CONFIG"):
        training_strategy("multi_worker")
