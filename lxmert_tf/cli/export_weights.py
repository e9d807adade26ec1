"""`lxmert export-weights`: convert a preset to a checkpoint for PyTorch."""

import argparse

from lxmert_tf.converters import FORMATS


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments to a parser."""
    parser.add_argument("--preset", required=True, metavar="DIR", help="preset to convert")
    parser.add_argument(
        "--format",
        required=True,
        choices=FORMATS,
        help="lxrt: a *_LXRT.pth file of the release; huggingface: a directory for transformers",
    )
    parser.add_argument(
        "--output",
        required=True,
        metavar="PATH",
        help="file (lxrt) or directory (huggingface) to write, which must not exist",
    )


def run(args: argparse.Namespace) -> int:
    """Write the checkpoint."""
    from lxmert_tf.converters.exporting import export_weights
    from lxmert_tf.models.presets import load_preset

    export_weights(load_preset(args.preset), args.format, args.output)
    print(f"checkpoint written to {args.output}")
    return 0
