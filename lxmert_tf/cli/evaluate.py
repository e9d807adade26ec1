"""`lxmert evaluate`: measure a model on records, or score a file of predictions."""

import argparse
import pathlib
import sys
from collections.abc import Mapping

from lxmert_tf.atomic_write import check_file
from lxmert_tf.cli.arguments import (
    add_answers_argument,
    add_record_arguments,
    other_extractors,
    read_answers,
)
from lxmert_tf.errors import InputError
from lxmert_tf.evaluation import TASKS
from lxmert_tf.result_files import PREDICTIONS


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments to a parser."""
    parser.add_argument("--model", metavar="PRESET", help="a preset of an answer model")
    add_answers_argument(parser)
    add_record_arguments(parser, required=False)
    parser.add_argument(
        "--results",
        metavar="DIR",
        help=f"also write {PREDICTIONS} there, which answers were given in place of which, for "
        "`lxmert app --results DIR`",
    )
    scoring = parser.add_argument_group("official scores")
    scoring.add_argument(
        "--task",
        choices=TASKS,
        help="print the official scores of this challenge (vqa also for VQA-CP and VizWiz)",
    )
    scoring.add_argument(
        "--predictions",
        metavar="FILE",
        help="score this file from `lxmert predict` instead of a model",
    )
    scoring.add_argument(
        "--annotations",
        metavar="FILE",
        help="the correct answers: the official file, or that of the LXMERT release",
    )
    scoring.add_argument(
        "--choices", metavar="FILE", help="GQA's choices file, for validity and plausibility"
    )
    scoring.add_argument("--json", metavar="FILE", help="also write the scores to this file")


def run(args: argparse.Namespace) -> int:
    """Print a table: soft accuracy by question type, or the official scores of a task."""
    if (args.task is None) != (args.annotations is None):
        raise InputError("--task and --annotations FILE require each other")
    if args.predictions is not None:
        return _score_predictions(args)
    if args.model is None or args.examples is None:
        raise InputError(
            "give --model PRESET and --examples GLOB..., or --predictions FILE with --task and "
            "--annotations"
        )
    for name in ("choices", "json"):
        if args.task is None and getattr(args, name) is not None:
            raise InputError(f"--{name} requires --task and --annotations")
    if args.json is not None:
        check_file(args.json)
    results = _results_file(args)
    from lxmert_tf.data.batches import find_records
    from lxmert_tf.evaluation.confusion import Confusion
    from lxmert_tf.evaluation.evaluate import (
        evaluate_answers,
        load_answering_model,
        predict_answers,
        print_accuracy,
    )

    files = find_records(*args.examples)
    model = load_answering_model(args.model, read_answers(args))
    notes = other_extractors(model.extractor, files)
    if args.task is None:
        confusion = None if results is None else Confusion(args.model)
        sizes = args.max_regions, args.batch_size
        print_accuracy(evaluate_answers(model, files, *sizes, confusion))
        if confusion is not None:
            confusion.write(results)
            print(f"answers: {results}")
    else:
        _report(args, predict_answers(model, files, args.max_regions, args.batch_size))
    for note in notes:
        print(note, file=sys.stderr)
    return 0


def _results_file(args: argparse.Namespace) -> pathlib.Path | None:
    if args.results is None:
        return None
    if args.task is not None:
        raise InputError("--results is for the accuracy on records, without --task")
    folder = pathlib.Path(args.results)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"{folder}: {error.strerror or error}") from error
    check_file(folder / PREDICTIONS)
    return folder / PREDICTIONS


def _score_predictions(args: argparse.Namespace) -> int:
    options = ("model", "answers", "examples", "results")
    if any(getattr(args, name) is not None for name in options):
        raise InputError(
            "--predictions cannot be combined with --model, --answers, --examples, or --results"
        )
    if args.task is None:
        raise InputError("--predictions requires --task and --annotations FILE")
    from lxmert_tf.evaluation.submissions import read_submission

    _report(args, read_submission(args.task, args.predictions))
    return 0


def _report(args: argparse.Namespace, predictions: Mapping[str, str]) -> None:
    import json

    from lxmert_tf.evaluation.official import score
    from lxmert_tf.text_file import write_text

    report = score(args.task, predictions, args.annotations, args.choices)
    if args.json is not None:
        write_text(args.json, json.dumps(report.to_dict(), indent=1) + "\n")
    report.print()
