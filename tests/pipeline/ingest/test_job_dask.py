"""The same job on a distributed engine: Dask's scheduler and two workers, each a process."""

import os
import socket
import subprocess
import sys
import time

import pytest

from pipeline.ingest.job import run_ingest
from tests.pipeline.ingest.job_files import config_of, contents, write_questions, write_regions

pytest.importorskip("distributed", reason="needs apache-beam[dask]")


def start(module: str, *arguments: str) -> subprocess.Popen:
    environment = {**os.environ, "PYTHONPATH": os.getcwd(), "PYTHONWARNINGS": "ignore"}
    return subprocess.Popen(
        [sys.executable, "-m", f"distributed.cli.{module}", *arguments, "--no-dashboard"],
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


@pytest.fixture
def cluster():
    """The scheduler's address."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    address = f"tcp://127.0.0.1:{port}"
    processes = [start("dask_scheduler", "--host", "127.0.0.1", "--port", str(port))]
    processes += [start("dask_worker", address, "--nthreads", "1", "--no-nanny") for _ in range(2)]
    from distributed import Client

    try:
        deadline = time.monotonic() + 60
        while True:
            try:
                with Client(address, timeout=5) as client:
                    client.wait_for_workers(2, timeout=60)
                break
            except OSError:
                assert time.monotonic() < deadline
        yield address
    finally:
        for process in processes:
            process.kill()
            process.wait()


@pytest.mark.slow
def test_a_cluster_writes_the_bytes_of_one_process(cluster, tmp_path):
    ids = [f"i{n}" for n in range(8)]
    files = [write_regions(tmp_path / f"{n}.tsv", ids[n::4]) for n in range(4)]
    questions = write_questions(tmp_path / "questions.json", [*ids, "missing"])
    config = config_of(files, [questions], max_reject_fraction=0.5, min_answer_count=2)
    expected = run_ingest(config, tmp_path / "one")
    runner = "apache_beam.runners.dask.dask_runner.DaskRunner"
    options = [f"--runner={runner}", f"--dask_client_address={cluster}", "--dask_npartitions=4"]
    assert run_ingest(config, tmp_path / "cluster", options) == expected
    assert expected["sentences"] == {"read": 18, "written": 16, "rejected": 2}
    assert contents(tmp_path / "cluster") == contents(tmp_path / "one")
