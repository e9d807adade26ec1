"""The measurements for a GPU: run on the CPU at tiny sizes, to work the day there is a GPU."""

import os
import pathlib
import subprocess
import sys

import pytest

SCRIPT = pathlib.Path(__file__).parents[2] / "benchmarks" / "gpu.sh"
TINY = ("--model", "mini", "--batch-size", "2", "--steps", "1", "--tasks", "answer")


def run(*options, **variables):
    environment = {**os.environ, "PYTHON": sys.executable, "CUDA_VISIBLE_DEVICES": "", **variables}
    return subprocess.run([SCRIPT, *options], capture_output=True, text=True, env=environment)


@pytest.mark.slow
def test_everything_is_measured_without_a_gpu_and_without_peers(tmp_path):
    done = run(*TINY, "--minutes", "30", LXMERT_GOLDEN=str(tmp_path / "none"))
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[:3] == [
        "no GPU: TensorFlow finds none, so everything runs on the CPU",
        "no reference numbers: no parity tests; set LXMERT_GOLDEN to their folder",
        "no peers: name an interpreter that has them with --peer-python",
    ]
    for precision in ("float32", "bfloat16"):
        for xla in ("", ", XLA"):
            [line] = [line for line in done.stdout.splitlines() if f"{precision}{xla} " in line]
            assert "%" in line


def test_a_missing_environment_is_named():
    done = run(PYTHON="no/python")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (
        "gpu.sh: no no/python; run make venv, or name an interpreter with TensorFlow as PYTHON\n"
    )
