"""`lxmert extract`: write the regions of pictures in the formats of LXMERT, UNITER and ViLBERT."""

import argparse
import sys
from typing import Any

from lxmert_tf.cli.arguments import add_extractor_arguments, extractor_config, naming_options
from lxmert_tf.errors import Terminated
from pipeline.commands.ingest import ignored_text

# The names in `pipeline.extract.formats`, whose import takes seconds.
FORMATS = (
    "lxmert_tsv",
    "bottom_up_tsv",
    "gqa_hdf5",
    "bottom_up_npz",
    "openvqa_npz",
    "uniter_npz",
    "vilbert_npy",
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments to a parser."""
    inputs = parser.add_argument_group("input")
    inputs.add_argument(
        "--images",
        nargs="+",
        required=True,
        metavar="PATH",
        help="pictures, folders or zip archives of them, or patterns",
    )
    add_extractor_arguments(inputs)
    output = parser.add_argument_group("output")
    output.add_argument(
        "--output", required=True, metavar="FILE.tsv|FILE.h5|DIR", help="a new file or folder"
    )
    output.add_argument(
        "--format",
        choices=FORMATS,
        help="default: lxmert_tsv, gqa_hdf5 or bottom_up_npz, by the output's ending",
    )
    output.add_argument(
        "--max-reject-fraction",
        type=float,
        metavar="X",
        help="fail if more of the pictures are broken (default 0.01)",
    )
    runner = parser.add_argument_group("execution")
    runner.add_argument(
        "--batch-size", type=int, metavar="N", help="pictures computed at once (default 1)"
    )
    runner.add_argument("--workers", type=int, default=1, metavar="N", help="processes (default 1)")
    runner.add_argument(
        "beam_args", nargs="*", metavar="-- BEAM_OPTION", help="options of another Beam runner"
    )


def run(args: argparse.Namespace) -> int:
    """Extract the regions and print the counts."""
    from pipeline.extract.job import ExtractConfig, parts_folder, run_extract

    given = {
        name: getattr(args, name)
        for name in ("format", "batch_size", "max_reject_fraction")
        if getattr(args, name) is not None
    }
    with naming_options(given):
        config = ExtractConfig(tuple(args.images), extractor_config(args), **given)
    try:
        summary = run_extract(config, args.output, args.beam_args, args.workers)
    except (KeyboardInterrupt, Terminated):
        if parts_folder(args.output).exists():
            print(
                "finished pictures are kept; the same command goes on from there", file=sys.stderr
            )
        raise
    _print_summary(summary)
    print(f"written to {args.output}")
    return 0


def _print_summary(summary: dict[str, Any]) -> None:
    from lxmert_tf.terminal import make_console

    console = make_console()
    images = summary["images"]
    counts = ", ".join(f"{name} {images[name]:,}" for name in ("read", "written", "rejected"))
    reused = f" (finished before: {images['reused']:,})" if images["reused"] else ""
    console.print(f"pictures {counts}{reused}", soft_wrap=True)
    for reason, count in summary["reasons"].items():
        console.print(f"rejected {count:,}: {reason}", soft_wrap=True)
    if ignored := summary.get("ignored"):
        console.print(ignored_text(ignored), soft_wrap=True)
