"""`lxmert evaluate`: the accuracy of a model on records, by question type."""

import argparse

SUMMARY = "measure a model's accuracy on records"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the command line."""
    parser.add_argument("--model", required=True, metavar="DIR", help="a preset of an answer model")
    parser.add_argument(
        "--examples",
        required=True,
        nargs="+",
        metavar="GLOB",
        help="TFRecord files of scenes, or folders of them (from `lxmert ingest`)",
    )
    parser.add_argument(
        "--max-regions",
        type=int,
        default=36,
        metavar="N",
        help="the most regions that an image of them has (default 36, as published)",
    )
    parser.add_argument("--batch-size", type=int, default=256, metavar="N")


def run(args: argparse.Namespace) -> int:
    """Prints a table of soft accuracy by question type."""
    from lxmert_tf.data.reading import find_records
    from lxmert_tf.tasks.answering import LxmertAnswerClassifier
    from lxmert_tf.tasks.evaluation import evaluate_answers, print_accuracy

    files = find_records(*args.examples)
    model = LxmertAnswerClassifier.from_preset(args.model)
    print_accuracy(evaluate_answers(model, files, args.max_regions, args.batch_size))
    return 0
