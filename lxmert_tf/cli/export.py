"""`lxmert export`: turn a preset into a SavedModel for TensorFlow Serving, or for OpenVINO."""

import argparse

from lxmert_tf.cli.arguments import (
    add_answers_argument,
    add_detector_arguments,
    check_detector_arguments,
    load_detector,
    read_answers,
)
from lxmert_tf.errors import InputError
from lxmert_tf.serving.openvino_runtime import import_openvino


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
        "--format",
        default="saved_model",
        choices=("saved_model", "openvino"),
        help="openvino: for `lxmert ask` and `lxmert serve` on CPUs, without TensorFlow (default: "
        "%(default)s)",
    )
    parser.add_argument(
        "--precision",
        default="float32",
        choices=("float32", "bfloat16", "int8"),
        help="of products, and in a SavedModel of weights; bfloat16 is faster on processors that "
        "multiply it, and halves a SavedModel; int8 is fastest and least exact, and needs --format "
        "openvino (default: %(default)s)",
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
    """Write a SavedModel with warm-up requests, or an OpenVINO model."""
    # Before the model is loaded, which takes seconds.
    check_detector_arguments(args)
    if args.format == "openvino":
        _export_openvino(args)
    else:
        _export_saved_model(args)
    print(f"written to {args.output}")
    return 0


def _export_saved_model(args: argparse.Namespace) -> None:
    if args.precision == "int8":
        raise InputError("--precision int8 needs --format openvino")
    from lxmert_tf.models.answer_names import load_with_numbered_answers
    from lxmert_tf.serving.export import export_version

    model = load_with_numbered_answers(args.model, read_answers(args))
    export_version(
        model, args.output, args.precision, args.max_length, args.top_k, load_detector(args)
    )


def _export_openvino(args: argparse.Namespace) -> None:
    if args.detector is not None:
        raise InputError("--format openvino cannot contain a detector; give --detector to ask")
    # Before the model is loaded, too.
    import_openvino()
    from lxmert_tf.models.answer_names import load_with_numbered_answers
    from lxmert_tf.serving.openvino_export import export_openvino

    model = load_with_numbered_answers(args.model, read_answers(args))
    export_openvino(model, args.output, args.precision, args.max_length, args.top_k)
