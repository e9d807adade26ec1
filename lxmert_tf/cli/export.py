"""`lxmert export`: turn a preset into a SavedModel that TensorFlow Serving runs."""

import argparse

from lxmert_tf.cli.arguments import (
    add_answers_argument,
    add_detector_arguments,
    check_detector_arguments,
    load_detector,
    read_answers,
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments to a parser."""
    parser.add_argument(
        "--model",
        "--preset",
        required=True,
        metavar="PRESET",
        help="a preset from `lxmert finetune`, a directory of Hugging Face, or either as "
        "hf://ORGANIZATION/NAME",
    )
    add_detector_arguments(
        parser,
        "whose features the model reads (`lxmert import-weights --source detector`); the "
        "SavedModel then takes pictures",
    )
    add_answers_argument(parser)
    parser.add_argument(
        "--output",
        required=True,
        metavar="DIR",
        help="a new directory; NAME/VERSION for TensorFlow Serving, such as saved_models/vqa/1",
    )
    parser.add_argument(
        "--precision",
        default="float32",
        choices=("float32", "bfloat16"),
        help="of weights and products; bfloat16 halves the size, and is faster on processors "
        "that multiply it (default: %(default)s)",
    )
    parser.add_argument(
        "--max-length",
        type=int,
        default=20,
        metavar="N",
        help="word pieces per question (default: %(default)s)",
    )
    parser.add_argument(
        "--top-k",
        type=int,
        default=5,
        metavar="N",
        help="answers per question (default: %(default)s)",
    )


def run(args: argparse.Namespace) -> int:
    """Write the SavedModel, with warm-up requests."""
    # Before the model is loaded, which takes seconds.
    check_detector_arguments(args)
    from lxmert_tf.models.answer_names import load_with_numbered_answers
    from lxmert_tf.serving.export import export_version

    model = load_with_numbered_answers(args.model, read_answers(args))
    export_version(
        model, args.output, args.precision, args.max_length, args.top_k, load_detector(args)
    )
    print(f"written to {args.output}")
    return 0
