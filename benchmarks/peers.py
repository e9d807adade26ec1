"""Compare the speed with other implementations of LXMERT, on the same machine and inputs.

    .venv/bin/python benchmarks/peers.py --peer-python build/peers/bin/python --task answer

The peers are Hugging Face transformers in PyTorch (eager and compiled), in TensorFlow, and in
OpenVINO, in the environment that peers-requirements.txt describes. All models have the same sizes
and dropout, and random weights. Each runs in a separate process, in rounds: first ours, then each
peer. A ratio is our examples per second divided by the peer's in the same round. Ours starts from
the text of the questions, the peers from token ids. With `--engine openvino`, ours runs in
OpenVINO, too.
"""

import argparse
import dataclasses
import functools
import json
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping

import numpy as np
from rich.console import Console
from rich.table import Table

from lxmert_tf.benchmarking.settings import LENGTHS, MAX_LENGTH, MODELS, model_sizes
from lxmert_tf.cli.benchmark import TASKS
from lxmert_tf.runtime import silence_tensorflow
from lxmert_tf.serving.layout import ENGINES

FOLDER = pathlib.Path(__file__).parent
PYTORCH, TENSORFLOW, OPENVINO = "peer_pytorch.py", "peer_tensorflow.py", "peer_openvino.py"
# Ours in OpenVINO.
OURS_OPENVINO = FOLDER / "ours_openvino.py"


class PeerFailed(Exception):
    """A process ended with an error; the message is one line of its output."""


@dataclasses.dataclass(frozen=True)
class Peer:
    """Another implementation with its options.

    Args:
        script: File name in this folder.
        options: Options of the script.
        precision: The precision of ours to compare with.
        tasks: Tasks that it supports.
    """

    script: str
    options: tuple[str, ...]
    precision: str
    tasks: tuple[str, ...] = TASKS


def _peers() -> dict[str, Peer]:
    settings = {
        "eager_f32": Peer(PYTORCH, ("--precision", "float32"), "float32"),
        "eager_autocast": Peer(PYTORCH, ("--precision", "autocast"), "bfloat16"),
        "eager_bf16": Peer(PYTORCH, ("--precision", "bfloat16"), "bfloat16", ("answer",)),
        "tf_f32": Peer(TENSORFLOW, ("--precision", "float32"), "float32"),
        # Its pre-training fails, because it adds float32 losses to bfloat16 ones.
        "tf_bf16": Peer(
            TENSORFLOW, ("--precision", "bfloat16"), "bfloat16", ("answer", "finetune")
        ),
        "openvino_f32": Peer(OPENVINO, ("--precision", "float32"), "float32", ("answer",)),
        "openvino_bf16": Peer(OPENVINO, ("--precision", "bfloat16"), "bfloat16", ("answer",)),
    }
    for name in ("eager_f32", "eager_autocast", "eager_bf16"):
        compiled = (*settings[name].options, "--mode", "compile")
        settings[name.replace("eager", "compile")] = dataclasses.replace(
            settings[name], options=compiled
        )
    padded = {
        name: dataclasses.replace(peer, options=(*peer.options, "--length", str(MAX_LENGTH)))
        for name, peer in settings.items()
    }
    return {**padded, **{f"{name}_dynamic": peer for name, peer in settings.items()}}


# Peers named `_dynamic` pad to the longest sentence of the batch, the others to 20 word pieces, as
# the original code does.
PEERS = _peers()


def main() -> None:
    """Write the inputs, run all implementations, and print the ratios."""
    args = _arguments()
    silence_tensorflow()
    names = [name for name in args.peers if args.task in PEERS[name].tasks]
    with tempfile.TemporaryDirectory(prefix="lxmert-peers-") as folder:
        inputs = pathlib.Path(folder) / "inputs.npz"
        examples = _write_inputs(inputs, args)
        precisions = sorted({args.precision or PEERS[name].precision for name in names})
        ours: Callable[[str], float] = functools.partial(_ours, args=args)
        if args.engine == "openvino":
            for precision in precisions:
                _export_openvino(pathlib.Path(folder) / precision, precision, args)
            ours = functools.partial(
                _ours_openvino, folder=folder, inputs=inputs, examples=examples, args=args
            )
        runners: dict[str, Callable[[], float]] = {
            precision: functools.partial(ours, precision) for precision in precisions
        }
        for name in names:
            runners[name] = lambda name=name: _theirs(PEERS[name], inputs, examples, args)
        rates = take_turns(runners, args.rounds)
    rows = [
        compare(name, rates[args.precision or PEERS[name].precision], rates[name]) for name in names
    ]
    if args.json:
        settings = {
            name: value for name, value in vars(args).items() if name not in ("json", "peer_python")
        }
        print(json.dumps({"setting": settings, "peers": rows}))
    else:
        Console().print(_table(rows, args))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--peer-python",
        required=True,
        metavar="FILE",
        help="Python interpreter of the peers' environment",
    )
    parser.add_argument("--task", required=True, choices=TASKS, help="what to measure")
    parser.add_argument(
        "--engine",
        choices=tuple(ENGINES),
        default="tensorflow",
        help="what ours runs in; openvino answers only (default: %(default)s)",
    )
    parser.add_argument(
        "--precision",
        choices=("float32", "bfloat16", "int8"),
        help="of ours; int8 with --engine openvino (default: that of each peer)",
    )
    parser.add_argument(
        "--model", choices=MODELS, default="base", help="model sizes (default: base)"
    )
    parser.add_argument(
        "--lengths", choices=LENGTHS, default="questions", help="as for lxmert benchmark"
    )
    parser.add_argument("--batch-size", type=int, default=32, metavar="N", help="images per step")
    parser.add_argument(
        "--questions-per-image",
        type=int,
        default=1,
        metavar="N",
        help="as for lxmert benchmark",
    )
    parser.add_argument("--steps", type=int, default=12, metavar="N", help="timed steps per run")
    parser.add_argument("--rounds", type=int, default=5, metavar="N", help="runs of each")
    parser.add_argument(
        "--peers",
        type=peer_names,
        default=list(PEERS),
        metavar="NAME,...",
        help=f"names from {', '.join(PEERS)} (default: all)",
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    args = parser.parse_args()
    if args.engine == "openvino" and args.task != "answer":
        parser.error("--engine openvino needs --task answer")
    if args.engine != "openvino" and args.precision == "int8":
        parser.error("--precision int8 needs --engine openvino")
    return args


def peer_names(text: str) -> list[str]:
    """Return the names in a comma-separated list, for `type=` of argparse.

    Raises:
        argparse.ArgumentTypeError: A name is not in `PEERS`.
    """
    names = text.split(",")
    for name in names:
        if name not in PEERS:
            raise argparse.ArgumentTypeError(
                f"unknown peer {name!r}; the peers are {', '.join(PEERS)}"
            )
    return names


def take_turns(runners: Mapping[str, Callable[[], float]], rounds: int) -> dict[str, list[float]]:
    """Run each runner once per round.

    Args:
        runners: Functions by name that return a rate in examples per second, or raise `PeerFailed`.
            One that has failed is not run again.
        rounds: Number of rounds.

    Returns:
        The rates of each runner, by name; an empty list if it failed.
    """
    rates: dict[str, list[float]] = {name: [] for name in runners}
    failed = set()
    for number in range(1, rounds + 1):
        for name, run in runners.items():
            if name in failed:
                continue
            try:
                rate = run()
                rates[name].append(rate)
                print(f"round {number}/{rounds}: {name} {rate:.1f} examples/s", file=sys.stderr)
            except PeerFailed as error:
                failed.add(name)
                rates[name] = []
                print(f"{name} failed: {error}", file=sys.stderr)
    return rates


def compare(name: str, ours: list[float], theirs: list[float]) -> dict:
    """Return the rates of ours and of a peer, and statistics of their ratio.

    Args:
        name: Name of the peer.
        ours: Our rates, by round.
        theirs: Rates of the peer, by round; empty if it failed.

    Returns:
        A dict of `peer`, `ours`, `theirs` and `ratio`; the last has `median`, `min` and `max`, or
        is empty if the peer failed.
    """
    ratios = [our / their for our, their in zip(ours, theirs)]
    return {
        "peer": name,
        "ours": ours,
        "theirs": theirs,
        "ratio": {
            measure.__name__: measure(ratios) for measure in (statistics.median, min, max) if ratios
        },
    }


def _write_inputs(path: pathlib.Path, args: argparse.Namespace) -> list[int]:
    """Write the inputs of the peers, and return the number of examples of each batch."""
    from lxmert_tf.benchmarking.workloads import BATCHES, draw_batches

    config = model_sizes(args.model, args.task)
    batches = draw_batches(
        args.task,
        config,
        args.lengths,
        args.batch_size,
        min(BATCHES, args.steps),
        args.questions_per_image,
    )
    arrays = {}
    for number, batch in enumerate(batches):
        for name, array in {**batch.inputs, **batch.targets}.items():
            # The peers cannot reuse an encoded image, so each question comes with its regions.
            repeats = len(batch.lengths) // len(array)
            arrays[f"{number}/{name}"] = np.repeat(array, repeats, axis=0)
    about = {"task": args.task, "config": config.to_dict(), "batches": len(batches)}
    np.savez(path, about=json.dumps(about), **arrays)
    return [len(batch.lengths) for batch in batches]


def _ours(precision: str, args: argparse.Namespace) -> float:
    command = [sys.executable, "-m", "lxmert_tf.cli", "benchmark", "--json"]
    command += ["--precision", precision]
    for name in ("task", "model", "lengths", "batch_size", "questions_per_image", "steps"):
        command += [f"--{name.replace('_', '-')}", str(getattr(args, name))]
    try:
        return last_json(command)["examples_per_second"]
    except PeerFailed as error:
        sys.exit(f"lxmert benchmark failed: {error}")


def _export_openvino(directory: pathlib.Path, precision: str, args: argparse.Namespace) -> None:
    command = [sys.executable, str(OURS_OPENVINO), "--export", str(directory)]
    try:
        run([*command, "--model", args.model, "--precision", precision])
    except PeerFailed as error:
        sys.exit(f"the export for OpenVINO failed: {error}")


def _ours_openvino(
    precision: str,
    folder: str,
    inputs: pathlib.Path,
    examples: list[int],
    args: argparse.Namespace,
) -> float:
    command = [sys.executable, str(OURS_OPENVINO), "--load", str(pathlib.Path(folder) / precision)]
    try:
        return _rate_of_script(command, inputs, examples, args)
    except PeerFailed as error:
        sys.exit(f"ours_openvino.py failed: {error}")


def _theirs(peer: Peer, inputs: pathlib.Path, examples: list[int], args) -> float:
    command = [args.peer_python, str(FOLDER / peer.script), *peer.options]
    return _rate_of_script(command, inputs, examples, args)


def _rate_of_script(
    command: list[str], inputs: pathlib.Path, examples: list[int], args: argparse.Namespace
) -> float:
    # Imports TensorFlow, after `silence_tensorflow`.
    from lxmert_tf.benchmarking.timing import StepTimes

    command = [*command, "--inputs", str(inputs), "--steps", str(args.steps)]
    times = StepTimes(examples)
    for batch, seconds in enumerate(last_json(command)["seconds"]):
        for second in seconds:
            times.add(batch, second)
    return times.median_rate


def last_json(command: list[str]) -> dict:
    """Run a command and return the JSON in the last line that it prints.

    Raises:
        PeerFailed: As for `run`.
    """
    return json.loads(run(command).splitlines()[-1])


def run(command: list[str]) -> str:
    """Run a command and return what it prints.

    Raises:
        PeerFailed: The command failed; the message is the last line about an error.
    """
    quiet = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"}
    outcome = subprocess.run(command, capture_output=True, text=True, env=quiet)
    if outcome.returncode:
        lines = outcome.stderr.strip().splitlines() or [f"ended with {outcome.returncode}"]
        # Keras prints more lines after that of the error.
        errors = [line.strip() for line in lines if "Error: " in line]
        raise PeerFailed((errors or lines)[-1])
    return outcome.stdout


def _table(rows: list[dict], args: argparse.Namespace) -> Table:
    title = f"{args.task}, {args.model}, {args.lengths}, {args.batch_size} images per step"
    if args.questions_per_image > 1:
        title += f", {args.questions_per_image} questions per image"
    table = Table("peer", title=title)
    for column in ("theirs (examples/s)", "ours", "ratio", "min", "max"):
        table.add_column(column, justify="right")
    for row in rows:
        if not row["ratio"]:
            table.add_row(row["peer"], "failed")
            continue
        rates = (f"{statistics.median(row[whose]):,.1f}" for whose in ("theirs", "ours"))
        table.add_row(
            row["peer"],
            *rates,
            *(f"{row['ratio'][measure]:.2f}" for measure in ("median", "min", "max")),
        )
    return table


if __name__ == "__main__":
    main()
