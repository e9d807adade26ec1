"""`lxmert ask`: answer questions about an image, or judge statements about two."""

import argparse
import pathlib
import sys
from typing import Any

from lxmert_tf.cli.arguments import (
    add_answers_argument,
    add_detector_arguments,
    positive_int,
    read_answers,
    read_detector,
)
from lxmert_tf.cli.endpoint import add_endpoint_arguments, check_endpoint_arguments

TOP = 3


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments to a parser."""
    parser.add_argument(
        "--model",
        required=True,
        metavar="DIR",
        help="a preset, a SavedModel, an OpenVINO model, a directory of Hugging Face's LXMERT, one "
        "of the Hub as hf://ORGANIZATION/NAME, or a folder of numbered exported models such as "
        "saved_models/NAME; with --endpoint, the name of the model on the server",
    )
    parser.add_argument(
        "--image",
        action="append",
        required=True,
        metavar="FILE",
        help="a PNG, JPEG, ... file; give it twice, left image first, for a model of two images",
    )
    parser.add_argument(
        "--top",
        type=positive_int,
        metavar="N",
        help=f"answers per question (default: {TOP}); an exported model gives at most as "
        "many as it was exported with",
    )
    add_endpoint_arguments(parser)
    add_detector_arguments(parser)
    add_answers_argument(parser)
    # With a type, because an empty one is reported with its number.
    parser.add_argument(
        "questions", type=str, nargs="+", metavar="QUESTION", help="a question in quotes"
    )


def run(args: argparse.Namespace) -> int:
    """Print the best answers to each question with their scores."""
    from lxmert_tf.errors import check_not_empty
    from lxmert_tf.regions.image import read_image

    check_endpoint_arguments(args)
    # Before the model is loaded, which takes seconds.
    check_not_empty(args.questions, "question")
    images: list[Any] = [read_image(path) for path in args.image]
    predictor = _load_predictor(args)
    if predictor.takes_files:
        # Smaller than the pixels, and decoded by the model itself.
        images = [pathlib.Path(path).read_bytes() for path in args.image]
    answered = predictor.answer(images, args.questions)
    for question, answers in zip(args.questions, answered):
        print(question)
        for answer, score in answers[: args.top or TOP]:
            print(f"  {score:6.1%}  {answer}")
    if args.top and len(answered[0]) < args.top:
        print(
            f"{args.model}: gives {len(answered[0])} answers to a question; for an exported model, "
            "`lxmert export --top-k` sets the number",
            file=sys.stderr,
        )
    return 0


def _load_predictor(args: argparse.Namespace):
    from lxmert_tf.config_file import read_mapping
    from lxmert_tf.serving.predictor import Predictor

    detector = read_detector(args)
    if args.endpoint is None:
        top = args.top or TOP
        return Predictor.from_directory(args.model, detector, read_answers(args), top)
    extractor = read_mapping(args.extractor) if args.extractor else None
    return Predictor.from_endpoint(args.endpoint, args.model, detector or extractor)
