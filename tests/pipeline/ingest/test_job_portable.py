"""The same job through Beam's job server, as on Flink and Spark, with its worker in a process."""

import os
import pathlib
import socket
import subprocess
import sys
import time

import pytest

from tests.pipeline.ingest.job_files import check_runner


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def wait_for(port: int) -> None:
    deadline = time.monotonic() + 300
    while time.monotonic() < deadline:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.2)
    raise AssertionError(f"port {port} does not answer")


@pytest.fixture
def job_server(tmp_path):
    """The options that name a job server and a pool of workers, which share no folder."""
    jobs, pool = free_port(), free_port()
    commands = {
        "jobs": ("runners.portability.local_job_service_main", "--port", str(jobs)),
        "pool": ("runners.worker.worker_pool_main", f"--service_port={pool}"),
    }
    # The pool starts workers as `python`.
    path = f"{pathlib.Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    processes = []
    try:
        for name, (module, *arguments) in commands.items():
            (tmp_path / name).mkdir()
            environment = {
                **os.environ,
                **{"PATH": path, "PYTHONPATH": os.getcwd(), "PYTHONWARNINGS": "ignore"},
                "TMPDIR": str(tmp_path / name),
            }
            process = subprocess.Popen(
                [sys.executable, "-m", f"apache_beam.{module}", *arguments],
                env=environment,
                cwd=tmp_path / name,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
            processes.append(process)
        wait_for(jobs)
        wait_for(pool)
        yield [
            *("--runner=PortableRunner", f"--job_endpoint=127.0.0.1:{jobs}"),
            *("--environment_type=EXTERNAL", f"--environment_config=127.0.0.1:{pool}"),
        ]
    finally:
        for process in processes:
            # The pool stops its workers.
            process.terminate()
            process.wait()


@pytest.mark.slow
def test_a_job_server_writes_the_bytes_of_one_process(job_server, tmp_path):
    check_runner(job_server, tmp_path)
