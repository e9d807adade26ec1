"""Load `lxmert serve`, and deploy a new version meanwhile: no request may fail.

    .venv/bin/python benchmarks/serve_load.py --model saved_models/easy_vqa/VERSION

The script starts a server on a copy of the SavedModel and sends requests from many threads, each as
fast as the server answers. After half the time it copies the SavedModel in as the next version, and
goes on until that is served. It prints the number of requests, their latencies, and failures.
"""

import argparse
import collections
import pathlib
import shutil
import subprocess
import sys
import tempfile
import threading
import time

import numpy as np
import requests
from rich.console import Console
from rich.table import Table

from lxmert_tf.serving.client import Client, ServerError

NAME = "model"
# Range of the regions per image. The number differs between threads, so that batches are padded.
REGIONS = (8, 36)


def main() -> int:
    """Run the benchmark and print its result; return 1 if a request failed."""
    args = _arguments()
    with tempfile.TemporaryDirectory() as folder:
        versions = pathlib.Path(folder) / NAME
        shutil.copytree(args.model, versions / "1")
        command = [sys.executable, "-m", "lxmert_tf.cli", "serve", "--model", str(versions)]
        with subprocess.Popen(
            [*command, "--port", "0"], stdout=subprocess.PIPE, text=True
        ) as server:
            try:
                url = next(line.split()[-1] for line in server.stdout if "listening" in line)
                return _measure(url, versions, args)
            finally:
                server.terminate()


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--model", required=True, type=pathlib.Path, metavar="DIR", help="SavedModel to serve"
    )
    parser.add_argument(
        "--clients", type=int, default=32, metavar="N", help="threads that ask (default: 32)"
    )
    parser.add_argument(
        "--seconds", type=float, default=60, metavar="N", help="time under load (default: 60)"
    )
    return parser.parse_args()


def _measure(url: str, versions: pathlib.Path, args: argparse.Namespace) -> int:
    metadata = requests.get(f"{url}/metadata", timeout=60).json()
    definitions = metadata["metadata"]["signature_def"]["signature_def"]
    shape = definitions["serving_default"]["inputs"]["region_features"]["tensor_shape"]
    feature_size = int(shape["dim"][-1]["size"])
    endpoint = url.split("/v1/")[0]
    stop = threading.Event()
    latencies: list[float] = []
    failures: collections.Counter[str] = collections.Counter()

    def ask(number: int) -> None:
        client = Client(endpoint, NAME)
        random = np.random.default_rng(number)
        regions = int(random.integers(*REGIONS))
        features = random.normal(size=[1, regions, feature_size])
        boxes = random.uniform(size=[1, regions, 4])
        while not stop.is_set():
            started = time.monotonic()
            try:
                client.answer(["what shape is in the image?"], features, boxes, [regions])
            except ServerError as error:
                failures[str(error)] += 1
            latencies.append(time.monotonic() - started)

    threads = [threading.Thread(target=ask, args=(i,)) for i in range(args.clients)]
    began = time.monotonic()
    for thread in threads:
        thread.start()
    time.sleep(args.seconds / 2)
    pushed = time.monotonic()
    shutil.copytree(args.model, versions / "2")
    while _served(url) != "2":
        time.sleep(0.2)
    swap = time.monotonic() - pushed
    # At least a tenth of the time is spent on the new version.
    time.sleep(max(args.seconds / 2 - swap, args.seconds / 10))
    stop.set()
    for thread in threads:
        thread.join()
    _print(latencies, failures, time.monotonic() - began, swap)
    return 1 if failures else 0


def _served(url: str) -> str:
    [status] = requests.get(url, timeout=60).json()["model_version_status"]
    return status["version"]


def _print(latencies, failures, seconds: float, swap: float) -> None:
    table = Table("", "", title="lxmert serve under load")
    table.add_row("requests", f"{len(latencies):,}")
    table.add_row("requests per second", f"{len(latencies) / seconds:.0f}")
    for percent in (50, 95, 99, 100):
        table.add_row(f"latency, {percent}%", f"{1000 * np.percentile(latencies, percent):.0f} ms")
    table.add_row("failed", f"{sum(failures.values()):,}")
    table.add_row("new version served after", f"{swap:.1f} s")
    console = Console()
    console.print(table)
    for reason, count in failures.most_common(5):
        console.print(f"{count} x {reason}", markup=False)


if __name__ == "__main__":
    sys.exit(main())
