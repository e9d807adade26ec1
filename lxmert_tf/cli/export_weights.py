"""`lxmert export-weights`: a preset as a checkpoint for PyTorch's users."""

import argparse

SUMMARY = "turn a preset into a checkpoint of the release or of Hugging Face"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the command line."""
    parser.add_argument("--preset", required=True, metavar="DIR")
    parser.add_argument("--format", required=True, choices=("lxrt", "huggingface"), dest="form")
    parser.add_argument(
        "--output", required=True, metavar="PATH", help="a new file (lxrt) or directory"
    )


def run(args: argparse.Namespace) -> int:
    """Writes the checkpoint."""
    from lxmert_tf.converters.exporting import export_weights
    from lxmert_tf.models.presets import load_preset

    export_weights(load_preset(args.preset), args.form, args.output)
    print(f"written to {args.output}")
    return 0
