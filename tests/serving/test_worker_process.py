"""Work in another process: results and exceptions come back, and a lost process is replaced."""

import contextlib
import os
import signal
import subprocess
import sys
import time

import psutil
import pytest

from lxmert_tf.serving.errors import RequestError
from lxmert_tf.serving.server.predict_json import parse_predict
from lxmert_tf.serving.server.worker_process import WorkerProcess
from tests.lxmert_tf.samples import one_line

OWNER = """
import os, time
from lxmert_tf.serving.server.worker_process import WorkerProcess
worker = WorkerProcess()
print(worker.call(os.getpid), flush=True)
time.sleep(600)
"""


@pytest.fixture(scope="module")
def worker():
    with contextlib.closing(WorkerProcess()) as worker:
        yield worker


def test_a_function_is_called_in_one_other_process(worker):
    pid = worker.call(os.getpid)
    assert pid != os.getpid()
    assert worker.call(len, bytes(10_000_000)) == 10_000_000
    assert worker.call(bytes, 10_000_000) == bytes(10_000_000)
    assert worker.call(os.getpid) == pid


def test_exceptions_come_back(worker):
    with pytest.raises(ValueError, match="invalid literal"):
        worker.call(int, "x")
    with pytest.raises(RequestError) as caught:
        worker.call(parse_predict, b"{", {})
    assert caught.value.status == 400
    assert "the body is not JSON" in one_line(caught)


@pytest.mark.parametrize("code", [0, 9])
def test_another_process_follows_one_that_ended(worker, code):
    pid = worker.call(os.getpid)
    with pytest.raises(RequestError) as caught:
        worker.call(os._exit, code)
    assert caught.value.status == 503
    assert "the process for large bodies ended, perhaps because memory ran out" in one_line(caught)
    assert worker.call(os.getpid) != pid


def test_signals_to_all_processes_leave_it_to_the_server(worker):
    pid = worker.call(os.getpid)
    for number in (signal.SIGINT, signal.SIGTERM):
        os.kill(pid, number)
    assert worker.call(os.getpid) == pid


def test_it_ends_with_its_owner_even_if_that_is_killed():
    owner = subprocess.Popen([sys.executable, "-c", OWNER], stdout=subprocess.PIPE)
    pid = int(owner.stdout.readline())
    assert psutil.pid_exists(pid)
    owner.kill()
    owner.communicate()
    deadline = time.monotonic() + 30
    while psutil.pid_exists(pid):
        assert time.monotonic() < deadline
        time.sleep(0.02)
