"""Run the parity tests, all benchmarks, and the peers on a GPU, and print a table.

    benchmarks/gpu.sh --peer-python build/peers/bin/python

It says in a line what is missing (a GPU, the reference numbers, the peers) and does the rest; what
does not end within `--minutes` is named. All sentences have 20 word pieces, so that XLA compiles
one shape and no batch has padding.
"""

import argparse
import contextlib
import functools
import importlib.util
import json
import os
import pathlib
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator

from peers import peer_names
from rich.console import Console
from rich.table import Table

from lxmert_tf.benchmarking.settings import MODELS
from lxmert_tf.cli.arguments import positive_int
from lxmert_tf.cli.benchmark import TASKS
from lxmert_tf.runtime import silence_tensorflow

ROOT = pathlib.Path(__file__).parents[1]
PARITY = "tests/lxmert_tf/models/test_golden_outputs.py"
GOLDEN = "LXMERT_GOLDEN"
# On GPUs, TensorFlow rounds the factors of float32 products to 10 bits unless this is 0.
TF32 = "NVIDIA_TF32_OVERRIDE"
DEFAULT_PEERS = ("compile_autocast", "tf_bf16")

# Rows of the table: a name, the rate, and its share of a product's.
Rows = list[tuple[str, str, str]]


class Failed(Exception):
    """A run failed; the message is one line of its output."""


class OutOfTime(Exception):
    """A run did not end before the time was over."""


def main() -> int:
    """Run everything, and print the table."""
    args = _arguments()
    silence_tensorflow()
    for line in missing(args.peer_python):
        print(line, flush=True)
    end = time.monotonic() + 60 * args.minutes
    table = Table("", title=f"{args.model}, {args.batch_size} images per step, 20 word pieces")
    table.add_column("examples/s", justify="right")
    table.add_column("share of a large product's rate", justify="right")
    failed = False
    for name, run in runs(args):
        try:
            rows = run(end)
        except OutOfTime:
            rows = [(name, "out of time", "")]
        except Failed as error:
            failed, rows = True, [(name, "failed", "")]
            print(f"{name} failed: {error}", file=sys.stderr)
        for row in rows:
            print(f"{row[0]}: {row[1]}", file=sys.stderr, flush=True)
            table.add_row(*row)
    Console().print(table)
    return 1 if failed else 0


def missing(peer_python: str | None) -> list[str]:
    """Return a line for each thing that is missing on this machine."""
    import tensorflow as tf

    lines = []
    if not tf.config.list_physical_devices("GPU"):
        lines.append("no GPU: TensorFlow finds none, so everything runs on the CPU")
    if not _has_golden():
        lines.append(f"no reference numbers: no parity tests; set {GOLDEN} to their folder")
    elif importlib.util.find_spec("pytest") is None:
        lines.append("no pytest: no parity tests; install the extra dev")
    if peer_python is None:
        lines.append("no peers: name an interpreter that has them with --peer-python")
    return lines


def runs(args: argparse.Namespace) -> Iterator[tuple[str, Callable[[float], Rows]]]:
    """Yield the name of each run and a function of the end of the time that does it."""
    if _has_golden() and importlib.util.find_spec("pytest"):
        yield PARITY, _parity
    for task in args.tasks:
        for precision in ("float32", "bfloat16"):
            for xla in (False, True):
                name = f"{task}, {precision}" + ", XLA" * xla
                yield name, functools.partial(_ours, name, task, precision, xla, args)
        if args.peer_python:
            yield f"{task}, peers", functools.partial(_theirs, task, args)


def _parity(end: float) -> Rows:
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", PARITY]
    summary = _output([*command, "-m", "not slow"], end, {TF32: "0"}).splitlines()[-1]
    return [(PARITY, summary.partition(" in ")[0], "")]


def _ours(
    name: str, task: str, precision: str, xla: bool, args: argparse.Namespace, end: float
) -> Rows:
    command = [sys.executable, "-m", "lxmert_tf.cli", "benchmark", "--json", *_setting(task, args)]
    command += ["--precision", precision, *(["--xla"] if xla else [])]
    measured = json.loads(_output(command, end).splitlines()[-1])
    return [(name, f"{measured['examples_per_second']:,.1f}", f"{measured['share']:.0%}")]


def _theirs(task: str, args: argparse.Namespace, end: float) -> Rows:
    command = [sys.executable, "benchmarks/peers.py", "--json", *_setting(task, args)]
    command += ["--peer-python", args.peer_python, "--rounds", "1"]
    command += ["--peers", ",".join(args.peers)]
    compared = json.loads(_output(command, end).splitlines()[-1])["peers"]
    return [
        (f"{task}, {row['peer']}", f"{rate:,.1f}" if row["theirs"] else "failed", "")
        for row in compared
        for rate in row["theirs"] or [0.0]
    ]


def _setting(task: str, args: argparse.Namespace) -> list[str]:
    options = {
        "task": task,
        "model": args.model,
        "lengths": "fixed20",
        "batch-size": args.batch_size,
        "steps": args.steps,
    }
    return [part for name, value in options.items() for part in (f"--{name}", str(value))]


def _output(command: list[str], end: float, variables: dict[str, str] | None = None) -> str:
    """Return what a command prints; it is ended if it runs for too long.

    Raises:
        Failed: The command failed.
        OutOfTime: The command did not end in time.
    """
    # In a session of its own, so that the processes that it starts end with it.
    process = subprocess.Popen(
        command,
        cwd=ROOT,
        env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", **(variables or {})},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        output, errors = process.communicate(timeout=max(0, end - time.monotonic()))
    except subprocess.TimeoutExpired as error:
        raise OutOfTime from error
    finally:
        if process.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    if process.returncode:
        lines = f"{output}\n{errors}".strip().splitlines()
        raise Failed(lines[-1] if lines else f"ended with {process.returncode}")
    return output


def _has_golden() -> bool:
    return pathlib.Path(os.environ.get(GOLDEN, ROOT.parent / "shared" / "golden")).is_dir()


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="gpu.sh", description=__doc__.splitlines()[0])
    parser.add_argument(
        "--peer-python", metavar="FILE", help="interpreter of the peers' environment; see peers.py"
    )
    parser.add_argument(
        "--peers",
        type=peer_names,
        default=DEFAULT_PEERS,
        metavar="NAME,...",
        help=f"names from peers.py (default: {','.join(DEFAULT_PEERS)})",
    )
    parser.add_argument(
        "--tasks", nargs="+", choices=TASKS, default=TASKS, help="what to measure (default: all)"
    )
    parser.add_argument(
        "--model", choices=MODELS, default="base", help="model sizes (default: base)"
    )
    parser.add_argument(
        "--batch-size", type=positive_int, default=32, metavar="N", help="(default: 32)"
    )
    parser.add_argument(
        "--steps", type=positive_int, default=12, metavar="N", help="timed steps (default: 12)"
    )
    parser.add_argument(
        "--minutes", type=positive_int, default=10, metavar="N", help="of all runs (default: 10)"
    )
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
