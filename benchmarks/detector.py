"""Measure the detector at published size: pictures per second, memory, and where the time goes.

    .venv/bin/python benchmarks/detector.py
    .venv/bin/python benchmarks/detector.py --peer DIR --peer-python build/peers/bin/python

The peer is the PyTorch implementation in transformers' research projects. DIR is a checkout of
examples/research_projects/lxmert as transformers 4.40 has it; peers-requirements.txt describes its
environment. Both get the same random weights and pictures of 600 x 800 pixels, which are not
resized. They run in separate processes, in turn. A ratio is our pictures per second divided by the
peer's in the same round. On a busy machine, compare CPU seconds.
"""

import argparse
import pathlib
import statistics
import sys
import tempfile

import numpy as np
from peers import PeerFailed, compare, last_json
from rich.console import Console
from rich.table import Table

from lxmert_tf.runtime import silence_tensorflow

FOLDER = pathlib.Path(__file__).parent
HEIGHT, WIDTH = 600, 800
# Of the last convolution of each block: 33 blocks must neither vanish nor overflow.
GAMMA = 0.2
PIXEL_DEVIATION = 60.0


def main() -> None:
    """Write weights and pictures, run the detectors in turn, and print tables."""
    args = _arguments()
    silence_tensorflow()
    with tempfile.TemporaryDirectory(prefix="lxmert-detector-", dir=args.folder) as folder:
        inputs = pathlib.Path(folder) / "inputs.npz"
        write_inputs(inputs, max(args.batch_sizes))
        for batch_size in args.batch_sizes:
            _compare(inputs, batch_size, args)
        if not args.peer:
            parts = _run(sys.executable, "detector_keras.py", inputs, 1, args, "--parts")
            Console().print(_parts_table(parts))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--peer", metavar="DIR", help="checkout of the peer (default: none)")
    parser.add_argument("--peer-python", metavar="FILE", help="interpreter of its environment")
    parser.add_argument(
        "--batch-sizes",
        type=int,
        nargs="+",
        default=[1, 4],
        metavar="N",
        help="pictures per step (default: 1 4)",
    )
    parser.add_argument(
        "--steps", type=int, default=3, metavar="N", help="timed steps per run (default: 3)"
    )
    parser.add_argument(
        "--warm-up", type=int, default=1, metavar="N", help="steps before them (default: 1)"
    )
    parser.add_argument(
        "--rounds", type=int, default=3, metavar="N", help="runs of each (default: 3)"
    )
    parser.add_argument("--folder", metavar="DIR", help="where to write 300 MB (default: /tmp)")
    args = parser.parse_args()
    if bool(args.peer) != bool(args.peer_python):
        parser.error("--peer and --peer-python belong together")
    return args


def write_inputs(path: pathlib.Path, count: int) -> None:
    """Write random weights under their published names, and pictures of noise.

    Args:
        path: File to write, in the format of NumPy.
        count: Number of pictures.
    """
    from lxmert_tf.detector.detector import Detector
    from lxmert_tf.detector.weight_names import detector_variables

    detector = Detector()
    arrays = {}
    for named in detector_variables(detector):
        for name, value in named.split(named.variable.numpy()).items():
            if name.endswith("conv3.norm.weight"):
                value = value * np.float32(GAMMA)
            if name == "backbone.stem.conv1.norm.weight":
                value = value / np.float32(PIXEL_DEVIATION)
            arrays[f"weights/{name}"] = np.ascontiguousarray(value)
    random = np.random.default_rng(0)
    # Objects of several sizes instead of noise alone, so that proposals differ.
    pictures = random.normal(size=[count, HEIGHT // 50, WIDTH // 50, 3]).repeat(50, 1).repeat(50, 2)
    pictures += random.normal(size=pictures.shape)
    arrays["images"] = (PIXEL_DEVIATION / 2 * pictures).astype(np.float32)
    np.savez(path, **arrays)


def _compare(inputs: pathlib.Path, batch_size: int, args: argparse.Namespace) -> None:
    rates: dict[str, list[float]] = {"ours": [], "theirs": []}
    # Per CPU second.
    busy_rates: dict[str, list[float]] = {"ours": [], "theirs": []}
    runs: dict[str, dict] = {}
    for number in range(1, args.rounds + 1):
        runs["ours"] = _run(sys.executable, "detector_keras.py", inputs, batch_size, args)
        if args.peer:
            options = ("--peer", args.peer)
            runs["theirs"] = _run(
                args.peer_python, "detector_pytorch.py", inputs, batch_size, args, *options
            )
        for name, run in runs.items():
            rates[name].append(batch_size / statistics.median(run["seconds"]))
            busy_rates[name].append(batch_size / statistics.median(run["cpu_seconds"]))
            print(
                f"batch {batch_size}, round {number}/{args.rounds}: {name} "
                f"{rates[name][-1]:.3f} pictures/s, "
                f"{1 / busy_rates[name][-1]:.2f} CPU seconds per picture",
                file=sys.stderr,
            )
    Console().print(_table(batch_size, rates, busy_rates, runs))
    if args.peer:
        print(f"largest difference of features: {_difference(runs):.1e}")


def _run(python: str, script: str, inputs: pathlib.Path, batch_size: int, args, *options) -> dict:
    """Run a script of this folder and return what it prints, with its regions."""
    regions = inputs.with_name("regions.npz")
    command = [python, str(FOLDER / script), "--inputs", str(inputs), "--regions", str(regions)]
    command += ["--batch-size", str(batch_size), "--steps", str(args.steps)]
    command += ["--warm-up", str(args.warm_up), *options]
    try:
        run = last_json(command)
    except PeerFailed as error:
        sys.exit(f"{script} failed: {error}")
    with np.load(regions) as file:
        return {**run, "features": file["features"]}


def _difference(runs: dict[str, dict]) -> float:
    """Return the largest difference of the features of both, region by region."""
    ours, theirs = (runs[name]["features"] for name in ("ours", "theirs"))
    return float(np.abs(ours - theirs).max()) if ours.shape == theirs.shape else float("nan")


def _table(
    batch_size: int,
    rates: dict[str, list[float]],
    busy_rates: dict[str, list[float]],
    runs: dict[str, dict],
) -> Table:
    table = Table("", title=f"{HEIGHT} x {WIDTH}, pictures per step: {batch_size}")
    for column in (
        "pictures/s",
        "CPU s/picture",
        "peak memory (MB)",
        "GFLOP/s",
        "of a convolution",
    ):
        table.add_column(column, justify="right")
    for name, run in runs.items():
        rate = statistics.median(rates[name])
        row = [f"{rate:.3f}", f"{1 / statistics.median(busy_rates[name]):.2f}"]
        row += [f"{run['peak_memory_mb']:,.0f}"]
        if "gflop" in run:
            row += [f"{rate * run['gflop']:,.0f}"]
            busy_rate = statistics.median(busy_rates[name]) * run["gflop"]
            row += [f"{busy_rate / run['convolution_gflop_per_cpu_second']:.0%}"]
        table.add_row(name, *row)
    if rates["theirs"]:
        ratios = (
            compare("", kind["ours"], kind["theirs"])["ratio"] for kind in (rates, busy_rates)
        )
        wall, busy = ("{median:.2f} ({min:.2f}, {max:.2f})".format(**ratio) for ratio in ratios)
        table.caption = f"ratio {wall}; of CPU seconds {busy}"
    return table


def _parts_table(run: dict) -> Table:
    table = Table("part", title="one picture, each part alone")
    for column in ("seconds", "CPU seconds", "GFLOP", "GFLOP per CPU second"):
        table.add_column(column, justify="right")
    for name, part in run["parts"].items():
        row = [name, f"{part['seconds']:.3f}", f"{part['cpu_seconds']:.3f}"]
        if part["gflop"]:
            row += [f"{part['gflop']:,.0f}"]
            row += [f"{part['gflop'] / part['cpu_seconds']:,.0f}"]
        table.add_row(*row)
    table.caption = (
        f"one convolution: {run['convolution_gflop_per_cpu_second']:,.0f} GFLOP per "
        "CPU second; "
        f"{run['distinct_windows']:,} of {run['windows']:,} bins are distinct"
    )
    return table


if __name__ == "__main__":
    main()
