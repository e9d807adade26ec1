"""`lxmert ask`: questions about a picture, answered on the terminal."""

import argparse

SUMMARY = "answer questions about a picture"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the command line."""
    parser.add_argument(
        "--model",
        required=True,
        metavar="DIR",
        help="a SavedModel, a folder of its versions (such as saved_models/NAME), or a preset",
    )
    parser.add_argument("--image", required=True, metavar="FILE", help="PNG, JPEG, ...")
    parser.add_argument("--top", type=_positive, default=3, metavar="N", help="answers (default 3)")
    parser.add_argument("questions", nargs="+", metavar="QUESTION", help="in words, quoted")


def run(args: argparse.Namespace) -> int:
    """Prints the best answers to each question with their scores."""
    from lxmert_tf.errors import InputError
    from lxmert_tf.regions.image import read_image

    # Before the model is loaded, which takes seconds.
    image = read_image(args.image)
    for number, question in enumerate(args.questions, start=1):
        if not question.strip():
            raise InputError(f"question {number} is empty; ask in words")

    from lxmert_tf.serving.answerer import Answerer

    for question, answers in zip(args.questions, Answerer(args.model).ask(image, args.questions)):
        print(question)
        for answer, score in answers[: args.top]:
            print(f"  {score:6.1%}  {answer}")
    return 0


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("must be at least 1")
    return number
