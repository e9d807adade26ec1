"""`lxmert export`: a preset as a SavedModel that TensorFlow Serving runs."""

import argparse

SUMMARY = "turn a preset of an answer model into a SavedModel"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the command line."""
    parser.add_argument("--preset", required=True, metavar="DIR")
    parser.add_argument(
        "--output",
        required=True,
        metavar="DIR",
        help="a new directory; TensorFlow Serving wants NAME/VERSION, such as saved_models/vqa/1",
    )
    parser.add_argument(
        "--precision",
        default="float32",
        choices=("float32", "bfloat16"),
        help="of the weights and products; bfloat16 is half as large, and faster where the "
        "processor multiplies it (default: %(default)s)",
    )
    parser.add_argument(
        "--max-length",
        type=int,
        default=20,
        metavar="N",
        help="word pieces per question (default: %(default)s)",
    )
    parser.add_argument(
        "--top-k", type=int, default=5, metavar="N", help="answers given (default: %(default)s)"
    )


def run(args: argparse.Namespace) -> int:
    """Writes the SavedModel, with the requests that warm it up."""
    from lxmert_tf.models.presets import load_preset
    from lxmert_tf.serving.export import export_version

    export_version(
        load_preset(args.preset), args.output, args.precision, args.max_length, args.top_k
    )
    print(f"written to {args.output}")
    return 0
