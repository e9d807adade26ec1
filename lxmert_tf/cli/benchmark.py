"""`lxmert benchmark`: measure how fast models answer and train on this machine."""

import argparse
import dataclasses
import json

from lxmert_tf.benchmarking.settings import LENGTHS, MODELS, model_sizes
from lxmert_tf.cli.arguments import positive_int
from lxmert_tf.runtime import keep_freed_memory, prefer_onednn

TASKS = ("answer", "finetune", "pretrain")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments to a parser."""
    parser.add_argument("--task", required=True, choices=TASKS, help="what to measure")
    parser.add_argument(
        "--model",
        choices=MODELS,
        default="base",
        help="model sizes, from configs/model (default: %(default)s)",
    )
    parser.add_argument(
        "--precision",
        choices=("float32", "bfloat16"),
        default="float32",
        help="of weights and products (default: %(default)s)",
    )
    parser.add_argument(
        "--lengths",
        choices=LENGTHS,
        default="questions",
        help="word pieces per sentence: questions as long as those of easy-VQA, captions of 19, "
        "or always 20 (default: %(default)s)",
    )
    parser.add_argument(
        "--batch-size",
        type=positive_int,
        default=32,
        metavar="N",
        help="images per step (default: %(default)s)",
    )
    parser.add_argument(
        "--questions-per-image",
        type=positive_int,
        default=1,
        metavar="N",
        help="with --task answer: encode each image once for N questions (default: %(default)s)",
    )
    parser.add_argument(
        "--steps",
        type=positive_int,
        default=12,
        metavar="N",
        help="timed steps (default: %(default)s)",
    )
    parser.add_argument(
        "--plain", action="store_true", help="compute padding and unused outputs too"
    )
    parser.add_argument(
        "--xla",
        action="store_true",
        help="compile with XLA, which computes padding; best with --lengths fixed20, because each "
        "length is compiled",
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def run(args: argparse.Namespace) -> int:
    """Print the measurements."""
    from lxmert_tf.errors import InputError

    if args.questions_per_image > 1 and args.task != "answer":
        raise InputError("--questions-per-image requires --task answer")
    keep_freed_memory()
    if args.task != "answer":
        # As in the training commands.
        prefer_onednn()

    from lxmert_tf.benchmarking.measurement import Setting, measure

    fields = [field.name for field in dataclasses.fields(Setting)]
    config = model_sizes(args.model, args.task)
    measured = measure(Setting(**{name: getattr(args, name) for name in fields}), config)
    if args.json:
        print(json.dumps(dataclasses.asdict(measured)))
    else:
        _print(measured)
    return 0


def _print(measured) -> None:
    from rich.table import Table

    from lxmert_tf.terminal import make_console

    setting, machine = measured.setting, measured.machine
    title = f"{setting.task}, {setting.model}, {setting.precision}" + ", plain" * setting.plain
    title += ", XLA" * setting.xla
    table = Table("", title=title, show_header=False)
    table.add_column(justify="right")
    table.add_row("sentences", setting.lengths)
    table.add_row("images per step", str(setting.batch_size))
    if setting.questions_per_image > 1:
        table.add_row("questions per image", str(setting.questions_per_image))
    table.add_row("examples/s, median", f"{measured.examples_per_second:,.1f}")
    table.add_row("examples/s, best", f"{measured.best_examples_per_second:,.1f}")
    table.add_row("GFLOP per example", f"{measured.gflop_per_example:.2f}")
    table.add_row("GFLOP/s", f"{measured.gflop_per_second:,.0f}")
    table.add_row("GFLOP/s, one large product", f"{measured.product_gflop_per_second:,.0f}")
    table.add_row("share of that", f"{measured.share:.0%}")
    table.add_row("peak memory", f"{measured.peak_memory_mb:,.0f} MB")
    for percentile, milliseconds in measured.latency_ms.items():
        table.add_row(f"latency of one question, {percentile}", f"{milliseconds:.1f} ms")
    table.add_row("machine", f"{machine['devices']}, {machine['processors']} processors")
    table.add_row("TensorFlow", str(machine["tensorflow"]))
    make_console().print(table)
