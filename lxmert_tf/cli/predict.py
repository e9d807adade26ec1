"""`lxmert predict`: write a model's answers as the file that a challenge accepts."""

import argparse
import sys

from lxmert_tf.cli.arguments import (
    add_answers_argument,
    add_record_arguments,
    other_extractors,
    read_answers,
)
from lxmert_tf.evaluation import TASKS


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments to a parser."""
    parser.add_argument(
        "--model", required=True, metavar="PRESET", help="a preset from `lxmert finetune`"
    )
    add_answers_argument(parser)
    add_record_arguments(parser, required=True)
    parser.add_argument("--task", required=True, choices=TASKS, help="the challenge")
    parser.add_argument(
        "--output",
        required=True,
        metavar="FILE",
        help="the file to submit: JSON; CSV for NLVR and NLVR2",
    )


def run(args: argparse.Namespace) -> int:
    """Answer the records and write the file."""
    from lxmert_tf.atomic_write import check_file

    # Before the model answers, which may take hours.
    check_file(args.output)

    from lxmert_tf.data.batches import find_records
    from lxmert_tf.evaluation.evaluate import load_answering_model, predict_answers
    from lxmert_tf.evaluation.submissions import write_submission

    files = find_records(*args.examples)
    model = load_answering_model(args.model, read_answers(args))
    notes = other_extractors(model.extractor, files)
    predictions = predict_answers(model, files, args.max_regions, args.batch_size)
    write_submission(args.task, predictions, args.output)
    print(f"answers written to {args.output}: {len(predictions):,}")
    for note in notes:
        print(note, file=sys.stderr)
    return 0
