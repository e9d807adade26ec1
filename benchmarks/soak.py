"""Attack `lxmert serve`, and load it while versions come and go: it must stay up, right, and small.

    .venv/bin/python benchmarks/soak.py --model saved_models/easy_vqa/VERSION

The script starts a server on a copy of the SavedModel. Each trial prints a row with what was seen
and what must hold; the exit code is 1 if something does not. The numbers of requests and
connections, and the seconds under load, are options. With `schemathesis` on PATH
(https://schemathesis.io; install it in a separate environment), it also sends requests that the
server's OpenAPI document describes, and ones that it does not.
"""

import argparse
import collections
import contextlib
import functools
import http.client
import json
import pathlib
import random
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.parse
from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
import psutil
from rich.console import Console
from rich.table import Table

NAME = "model"
PREDICT = f"/v1/models/{NAME}:predict"
QUESTION = "what shape is in the image?"
REGIONS = 8
TIMEOUT = 120
# A server that is under attack must still tell its health within this time.
HEALTH_SECONDS = 5.0
# What the memory may have grown by when the trials with bad requests are over.
GROWTH_MB = 200
# p99 with new versions may be so many times p99 without.
SWAP_FACTOR = 3.0


class Row(NamedTuple):
    """What a trial saw.

    Args:
        trial: Its name.
        seen: What was seen.
        rule: What must hold.
        holds: Whether it does.
    """

    trial: str
    seen: str
    rule: str
    holds: bool


class Server:
    """`lxmert serve` in a process of its own.

    Args:
        model: A SavedModel, which is copied as version 1.
        folder: Where the versions lie.
        body_mb: The largest body.
    """

    def __init__(self, model: pathlib.Path, folder: pathlib.Path, body_mb: int):
        self.model = model
        self.versions = folder / NAME
        self.add_version(1)
        command = [sys.executable, "-m", "lxmert_tf.cli", "serve", "--model", str(self.versions)]
        self.process = subprocess.Popen(
            [*command, "--port", "0", "--poll-seconds", "1", "--max-body-mb", str(body_mb)],
            stdout=subprocess.PIPE,
            stderr=(folder / "errors").open("w"),
            text=True,
        )
        assert self.process.stdout is not None
        url = next(line.split()[-1] for line in self.process.stdout if "listening" in line)
        # Lines about new versions would fill the pipe.
        threading.Thread(target=self.process.stdout.read, daemon=True).start()
        address = urllib.parse.urlsplit(url)
        self.address = (address.hostname, address.port)
        self.errors = folder / "errors"

    def add_version(self, number: int) -> None:
        """Copy the model in as a version."""
        shutil.copytree(self.model, self.versions / str(number))

    def memory_mb(self) -> int:
        """Return the memory of the process and of that for large bodies."""
        server = psutil.Process(self.process.pid)
        return sum(p.memory_info().rss for p in [server, *server.children()]) // 2**20

    def connect(self) -> socket.socket:
        """Open a connection."""
        return socket.create_connection(self.address, timeout=TIMEOUT)

    def request(self, method: str, path: str, body: bytes = b"", **headers) -> tuple[int, bytes]:
        """Send a request on a connection of its own; return status and body."""
        with contextlib.closing(http.client.HTTPConnection(*self.address, timeout=TIMEOUT)) as web:
            web.request(method, path, body, headers)
            response = web.getresponse()
            return response.status, response.read()

    def health_seconds(self) -> float:
        """Return how long the server takes to tell its health."""
        started = time.monotonic()
        assert self.request("GET", "/healthz")[0] == 200
        return time.monotonic() - started


def main() -> int:
    """Run all trials and print the table; return 1 if a rule is broken."""
    args = _arguments()
    with tempfile.TemporaryDirectory() as folder:
        server = Server(args.model, pathlib.Path(folder), args.body_mb)
        try:
            rows = [row for trial in _trials(server, args) for row in _run(trial)]
        finally:
            server.process.kill()
    return 0 if all(row.holds for row in rows) else 1


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = functools.partial(parser.add_argument, metavar="N", type=int, help="default: %(default)s")
    parser.add_argument(
        "--model", required=True, type=pathlib.Path, metavar="DIR", help="SavedModel to serve"
    )
    add("--requests", default=10_000)
    add("--connections", default=10_000)
    add("--clients", default=32)
    add("--seconds", default=300)
    add("--body-mb", default=64)
    return parser.parse_args()


def _trials(server: Server, args: argparse.Namespace) -> list[Callable[[], list[Row]]]:
    valid = _valid_body(server)
    return [
        lambda: _damaged_requests(server, valid, args.requests),
        lambda: _described_requests(server, args.requests),
        lambda: _slow_clients(server, valid),
        lambda: _idle_connections(server, args.connections),
        lambda: _large_bodies(server, 8),
        lambda: _large_bodies(server, args.body_mb),
        lambda: _swaps(server, valid, args.clients, args.seconds),
        lambda: _model_gone(server, valid),
        lambda: _termination(server, valid, args.clients),
    ]


def _run(trial: Callable[[], list[Row]]) -> list[Row]:
    console = Console()
    started = time.monotonic()
    rows = trial()
    for row in rows:
        table = Table.grid(padding=(0, 2))
        mark = "holds" if row.holds else "[bold red]BROKEN[/]"
        table.add_row(f"[bold]{row.trial}[/]", row.seen, f"({row.rule})", mark)
        console.print(table)
    console.print(f"[dim]{time.monotonic() - started:.0f} s[/]")
    return rows


def _valid_body(server: Server) -> bytes:
    _, text = server.request("GET", f"/v1/models/{NAME}/metadata")
    signatures = json.loads(text)["metadata"]["signature_def"]["signature_def"]
    shape = signatures["serving_default"]["inputs"]["region_features"]["tensor_shape"]
    size = int(shape["dim"][-1]["size"])
    numbers = np.random.default_rng(0)
    inputs = {
        "question": [QUESTION],
        "region_features": numbers.normal(size=[1, REGIONS, size]).round(3).tolist(),
        "region_boxes": numbers.uniform(size=[1, REGIONS, 4]).round(3).tolist(),
        "region_count": [REGIONS],
    }
    return json.dumps({"inputs": inputs}).encode()


def _damaged_requests(server: Server, valid: bytes, count: int) -> list[Row]:
    before = server.memory_mb()
    numbers = random.Random(0)
    statuses: collections.Counter[int] = collections.Counter()
    texts = 0
    for _ in range(count):
        method, path, body, headers = _damaged(numbers, valid)
        status, answer = server.request(method, path, body, **headers)
        statuses[status] += 1
        texts += b"Traceback" in answer
    growth = server.memory_mb() - before
    failed = sum(number for status, number in statuses.items() if status >= 500)
    seen = ", ".join(f"{number:,} x {status}" for status, number in sorted(statuses.items()))
    return [
        Row("damaged requests", seen, "no 500, no traceback", not failed and not texts),
        Row("memory afterwards", f"{growth:+,} MB", f"at most {GROWTH_MB} MB", growth <= GROWTH_MB),
    ]


def _damaged(numbers: random.Random, valid: bytes) -> tuple[str, str, bytes, dict[str, str]]:
    """Return a request that is wrong in one way, or in a few."""
    body = bytearray(valid)
    path, method, headers = PREDICT, "POST", {}
    kind = numbers.randrange(6)
    if kind == 0:
        for _ in range(numbers.randint(1, 8)):
            body[numbers.randrange(len(body))] = numbers.randrange(256)
    elif kind == 1:
        del body[numbers.randrange(len(body)) :]
    elif kind == 2:
        body = bytearray(_odd_json(numbers))
    elif kind == 3:
        headers = {"Content-Encoding": numbers.choice(["gzip", "br", "\x7f", "identity"])}
    elif kind == 4:
        path = "/" + "".join(chr(numbers.randrange(33, 127)) for _ in range(numbers.randint(0, 40)))
        path = urllib.parse.quote(path, safe="/:%?#")
    else:
        method = numbers.choice(["GET", "PUT", "DELETE", "PATCH", "OPTIONS", "HEAD", "FOO"])
    return method, path, bytes(body), headers


def _odd_json(numbers: random.Random) -> bytes:
    values = ["null", "1e999", "-0", '"\\ud800"', "[]", "{}", "true", "9" * 5000, "[" * 20000]
    odd = numbers.choice(values)
    names = ["question", "region_features", "region_boxes", "region_count"]
    inputs = {name: "\0" if numbers.random() < 0.5 else [[1]] for name in names}
    text = json.dumps({numbers.choice(["inputs", "instances", ""]): inputs})
    return text.replace('"\\u0000"', odd).encode()


def _described_requests(server: Server, count: int) -> list[Row]:
    """Send requests that schemathesis generates from the OpenAPI document.

    Args:
        server: The server.
        count: Number of requests, roughly.

    Returns:
        Rows of failures and memory, or one that says that schemathesis is not installed.
    """
    program = shutil.which("schemathesis")
    if program is None:
        return [Row("described requests", "schemathesis is not installed", "not run", True)]
    before = server.memory_mb()
    host, port = server.address
    # A document cannot say that the inputs must have the same number of rows, so some requests that
    # it describes are refused.
    options = ["--exclude-checks", "positive_data_acceptance", "--continue-on-failure"]
    # A limit for each operation.
    options += ["--max-examples", str(max(count // 50, 1)), "--seed", "0", "--no-color"]
    # PATH may have relative folders.
    command = [
        str(pathlib.Path(program).absolute()),
        "run",
        f"http://{host}:{port}/openapi.json",
        *options,
    ]
    # It keeps what it finds in its working directory.
    with tempfile.TemporaryDirectory() as folder:
        outcome = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    growth = server.memory_mb() - before
    if outcome.returncode:
        print(outcome.stdout, outcome.stderr, file=sys.stderr)
    found = re.search(r"([\d,]+) generated.*", outcome.stdout)
    seen = found[0] if found else "no requests"
    return [
        Row("described requests", seen, "no failure", outcome.returncode == 0 and bool(found)),
        Row("memory afterwards", f"{growth:+,} MB", f"at most {GROWTH_MB} MB", growth <= GROWTH_MB),
    ]


def _slow_clients(server: Server, valid: bytes, clients: int = 100, seconds: int = 15) -> list[Row]:
    """Send bodies a byte at a time, and ask meanwhile."""
    head = f"POST {PREDICT} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(valid)}\r\n\r\n".encode()
    slowest = 0.0
    with contextlib.ExitStack() as stack:
        slow = [stack.enter_context(server.connect()) for _ in range(clients)]
        for connection in slow:
            connection.sendall(head)
        for second in range(seconds):
            for connection in slow:
                connection.sendall(valid[second : second + 1])
            started = time.monotonic()
            status, _ = server.request("POST", PREDICT, valid)
            slowest = max(slowest, time.monotonic() - started)
            assert status == 200
            time.sleep(0.5)
    seen = f"{clients} slow bodies, the slowest answer to others in {slowest:.2f} s"
    return [Row("slow clients", seen, f"within {HEALTH_SECONDS:.0f} s", slowest < HEALTH_SECONDS)]


def _idle_connections(server: Server, count: int) -> list[Row]:
    before = server.memory_mb()
    with contextlib.ExitStack() as stack:
        opened = 0
        # The limits of this process and of the server may be lower.
        with contextlib.suppress(OSError):
            for _ in range(count):
                stack.enter_context(server.connect())
                opened += 1
        seconds = server.health_seconds() if opened == count else float("nan")
        growth = server.memory_mb() - before
    seen = f"{opened:,} open, health told in {seconds:.2f} s, {growth:+,} MB"
    holds = opened == count and seconds < HEALTH_SECONDS
    return [
        Row("idle connections", seen, f"{count:,}, within {HEALTH_SECONDS:.0f} s", holds),
        Row("health afterwards", f"{server.health_seconds():.2f} s", "answers", True),
    ]


def _large_bodies(server: Server, body_mb: int, clients: int = 8) -> list[Row]:
    row = b"[" + b"0.125," * ((body_mb * 1_000_000 - 200_000) // 6) + b"0]"
    body = b'{"inputs": {"question": ["x"], "region_features": ' + row + b"}}"
    statuses: collections.Counter[int] = collections.Counter()

    def send() -> None:
        statuses[server.request("POST", PREDICT, body)[0]] += 1

    slowest, peak = 0.0, 0
    threads = [threading.Thread(target=send) for _ in range(clients)]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        slowest = max(slowest, server.health_seconds())
        peak = max(peak, server.memory_mb())
        time.sleep(0.2)
    seen = f"{dict(statuses)}, peak {peak:,} MB, health told within {slowest:.2f} s"
    holds = slowest < HEALTH_SECONDS and not any(status == 500 for status in statuses)
    return [Row(f"{clients} bodies of {len(body) / 1e6:.0f} MB", seen, "no 500", holds)]


@contextlib.contextmanager
def _load(server: Server, valid: bytes, clients: int) -> Iterator[list[tuple[float, float, str]]]:
    """Ask from many threads; yields a list of (begin, seconds, status or error) that grows."""
    seen: list[tuple[float, float, str]] = []
    stop = threading.Event()

    def ask() -> None:
        while not stop.is_set():
            started = time.monotonic()
            try:
                status = str(server.request("POST", PREDICT, valid)[0])
            except (OSError, http.client.HTTPException) as error:
                status = type(error).__name__
            seen.append((started, time.monotonic() - started, status))

    threads = [threading.Thread(target=ask) for _ in range(clients)]
    for thread in threads:
        thread.start()
    try:
        yield seen
    finally:
        stop.set()
        for thread in threads:
            thread.join()


def _swaps(server: Server, valid: bytes, clients: int, seconds: int) -> list[Row]:
    """Load the server, first as it is and then with a new version every ten seconds."""
    with _load(server, valid, clients) as before:
        time.sleep(max(seconds / 5, 5))
    number, until = 2, time.monotonic() + seconds
    with _load(server, valid, clients) as during:
        while time.monotonic() < until:
            # Every third one is damaged.
            server.add_version(number)
            if number % 3 == 0:
                (server.versions / str(number) / "saved_model.pb").write_bytes(b"damaged")
            number += 1
            time.sleep(10)
    failed = [status for _, _, status in [*before, *during] if status != "200"]
    calm, swapped = (np.percentile([s for _, s, _ in part], 99) for part in (before, during))
    _, text = server.request("GET", f"/v1/models/{NAME}")
    served = int(json.loads(text)["model_version_status"][0]["version"])
    newest = max(n for n in range(1, number) if n % 3)
    return [
        Row(
            f"{clients} clients for {seconds} s, {number - 2} new versions",
            f"{len(during):,} requests, {len(failed)} failed",
            "none failed",
            not failed,
        ),
        Row(
            "p99 without and with new versions",
            f"{calm:.2f} and {swapped:.2f} s, {swapped / calm:.1f} times",
            f"at most {SWAP_FACTOR:.0f} times",
            swapped <= SWAP_FACTOR * calm,
        ),
        Row("served in the end", f"version {served}", f"version {newest}", served == newest),
        Row("memory", f"{server.memory_mb():,} MB", "told", True),
    ]


def _model_gone(server: Server, valid: bytes) -> list[Row]:
    shutil.rmtree(server.versions)
    time.sleep(3)
    status, _ = server.request("POST", PREDICT, valid)
    return [Row("the model's folder is gone", f"status {status}", "it answers", status == 200)]


def _termination(server: Server, valid: bytes, clients: int) -> list[Row]:
    with _load(server, valid, clients) as seen:
        time.sleep(3)
        terminated = time.monotonic()
        server.process.send_signal(signal.SIGTERM)
        code = server.process.wait(TIMEOUT)
    begun = [status for begin, _, status in seen if begin < terminated - 0.2]
    after = {status for begin, _, status in seen if begin > terminated + 0.2}
    lost = [status for status in begun if status != "200"]
    wrong = after - {"503", "ConnectionRefusedError", "ConnectionResetError", "200"}
    text = server.errors.read_text()
    return [
        Row(
            "SIGTERM under load",
            f"exit code {code}, {len(lost)} of {len(begun):,} lost, then {sorted(after)}",
            "exit code 0, none lost, then 503 or refused",
            code == 0 and not lost and not wrong,
        ),
        Row("standard error", f"{len(text):,} characters", "no traceback", "Traceback" not in text),
    ]


if __name__ == "__main__":
    sys.exit(main())
