"""The same job on a distributed engine: Dask's scheduler and two workers, each a process."""

import os
import socket
import subprocess
import sys
import time

import pytest

from tests.pipeline.ingest.job_files import check_runner

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
    runner = "apache_beam.runners.dask.dask_runner.DaskRunner"
    options = [f"--runner={runner}", f"--dask_client_address={cluster}", "--dask_npartitions=4"]
    check_runner(options, tmp_path)
