"""The same job on a distributed engine: Dask's scheduler and two workers, each a process."""

import contextlib
import os
import shutil
import socket
import subprocess
import sys
import threading
import time

import pytest

from pipeline.ingest.job import run_ingest
from tests.pipeline.ingest.bucket import BUCKET, bucket_config, objects
from tests.pipeline.ingest.job_files import check_runner, contents

distributed = pytest.importorskip("distributed", reason="needs apache-beam[dask]")
pytestmark = pytest.mark.slow

RUNNER = "apache_beam.runners.dask.dask_runner.DaskRunner"
# Gives the command that follows a folder of its own in place of that one.
APART = """
mount -t tmpfs tmpfs "$1" && cd "$1" && export TMPDIR="$1" HOME="$1" && shift && exec "$@"
"""


def start(module: str, *arguments: str, hidden=None) -> subprocess.Popen:
    command = [sys.executable, "-m", f"distributed.cli.{module}", *arguments, "--no-dashboard"]
    if hidden is not None:
        command = ["unshare", "--mount", "sh", "-c", APART, "sh", str(hidden), *command]
    return subprocess.Popen(
        command,
        env={**os.environ, "PYTHONPATH": os.getcwd(), "PYTHONWARNINGS": "ignore"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


@contextlib.contextmanager
def running_cluster(hidden=None):
    """Yield the scheduler's address and the workers by name.

    With `hidden`, each worker sees an empty folder of its own in place of that one.
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    address = f"tcp://127.0.0.1:{port}"
    scheduler = start("dask_scheduler", "--host", "127.0.0.1", "--port", str(port))
    options = ("--nthreads", "1", "--no-nanny", "--name")
    workers = {
        name: start("dask_worker", address, *options, name, hidden=hidden) for name in ("w0", "w1")
    }
    try:
        deadline = time.monotonic() + 600
        while True:
            try:
                with distributed.Client(address, timeout=5) as client:
                    client.wait_for_workers(2, timeout=600)
                break
            except OSError:
                assert time.monotonic() < deadline
        yield address, workers
    finally:
        for process in (scheduler, *workers.values()):
            process.kill()
            process.wait()


def options_of(address: str, partitions: int) -> list[str]:
    named = (f"--dask_client_address={address}", f"--dask_npartitions={partitions}")
    return [f"--runner={RUNNER}", *named]


def test_a_cluster_writes_the_bytes_of_one_process(tmp_path):
    with running_cluster() as (address, _):
        check_runner(options_of(address, 4), tmp_path)


@pytest.fixture
def hidden(tmp_path):
    """The folder of the test, which workers can be kept from seeing."""
    if shutil.which("unshare") is None:
        pytest.skip("needs the command unshare")
    command = ["unshare", "--mount", "mount", "-t", "tmpfs", "tmpfs", str(tmp_path)]
    if subprocess.run(command, capture_output=True).returncode:
        pytest.skip("needs the right to mount")
    return tmp_path


def busiest(address: str) -> str:
    """The name of the worker with the most results."""
    with distributed.Client(address) as client:
        results = client.has_what()
        names = {url: about["name"] for url, about in client.scheduler_info()["workers"].items()}
    return names[max(results, key=lambda url: len(results[url]))]


def test_workers_that_share_only_a_bucket_make_up_for_one_that_is_killed(bucket, hidden):
    expected = run_ingest(bucket_config(), hidden / "one")
    regions: set[str] = set()
    killed: list[str] = []
    left: list[str] = []
    done = threading.Event()

    def watch(address, workers):
        while not done.wait(0.2):
            names = objects_below(bucket, "out/")
            regions.update(name for name in names if name.endswith(".regions"))
            if len(regions) >= 2 and not killed:
                killed.append(busiest(address))
                workers[killed[0]].kill()
                left.extend(objects_below(bucket, "out/"))

    with running_cluster(hidden) as (address, workers):
        watcher = threading.Thread(target=watch, args=(address, workers))
        watcher.start()
        try:
            found = run_ingest(bucket_config(), f"s3://{BUCKET}/out", options_of(address, 4))
        finally:
            done.set()
            watcher.join()
        assert killed and workers[killed[0]].wait() < 0
        assert [worker.poll() for worker in workers.values()].count(None) == 1
    assert ".unfinished" in left and not any(name.endswith("index.json") for name in left)
    assert found == expected and objects(bucket, "out/") == contents(hidden / "one")


def objects_below(bucket, prefix: str) -> list[str]:
    listed = bucket.list_objects_v2(Bucket=BUCKET, Prefix=prefix).get("Contents", [])
    return [item["Key"].removeprefix(prefix) for item in listed]
