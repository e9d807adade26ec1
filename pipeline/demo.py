"""`make demo`: easy-VQA through the whole pipeline, then questions to the pushed model."""

import argparse
import dataclasses
import json
import pathlib
import sys
import time

from lxmert_tf.errors import EXIT_GATE, EXIT_USAGE, GateError, InputError
from lxmert_tf.quiet import hush

CONFIG = pathlib.Path(__file__).parents[1] / "configs" / "pipeline" / "easy_vqa.yaml"


def main(argv=None) -> int:
    """Runs the demo; returns the exit status."""
    args = _arguments(argv)
    hush()
    try:
        run_demo(args)
    except InputError as error:
        print(f"demo: {error}", file=sys.stderr)
        return EXIT_USAGE
    except GateError as error:
        print(f"demo: {error}", file=sys.stderr)
        return EXIT_GATE
    return 0


def _arguments(argv) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make demo", description=__doc__)
    parser.add_argument("--config", default=str(CONFIG), metavar="FILE")
    parser.add_argument("--seed", type=int, metavar="N", help="instead of the task's")
    parser.add_argument("--output", default="build/demo", metavar="DIR")
    parser.add_argument("--push-to", metavar="DIR", help="default saved_models/NAME")
    return parser.parse_args(argv)


def run_demo(args: argparse.Namespace) -> None:
    """Trains, evaluates and pushes; then writes report.json and answers.png.

    Raises:
        InputError: the configuration is wrong, or the data set is not installed.
        GateError: the model was not good enough to be pushed.
    """
    started = time.monotonic()
    from pipeline.config import load_pipeline

    config = load_pipeline(args.config)
    if args.seed is not None:
        config = dataclasses.replace(config, task=dataclasses.replace(config.task, seed=args.seed))
    output = pathlib.Path(args.output)
    push_to = args.push_to or f"saved_models/{config.pipeline.name}"

    from lxmert_tf.serving.answerer import Answerer
    from pipeline.demo_report import (
        draw_answers,
        majority_by_type,
        print_comparison,
        sample_questions,
    )
    from pipeline.modules.answering import read_training_summary
    from pipeline.run_record import print_states
    from pipeline.runners.local import run_local

    record = run_local(config, output / "pipeline", push_to)
    accuracy = record.accuracy()
    majority = majority_by_type(config.pipeline)
    print_states(record)
    print_comparison(accuracy, majority)
    training = read_training_summary(record.uris["Trainer", "model"])
    report = {
        "test_accuracy": accuracy["all"][0],
        "question_only_accuracy": majority["all"],
        "questions": accuracy["all"][1],
        "train_seconds": training["train_seconds"],
        "total_seconds": None,
        "model_dir": record.pushed_to,
    }
    if record.pushed_to:
        samples = sample_questions(config.pipeline, Answerer(record.pushed_to))
        draw_answers(samples, output / "answers.png")
    report["total_seconds"] = round(time.monotonic() - started, 1)
    path = output / "report.json"
    path.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    record.check_blessed()
    print(f"model:   {record.pushed_to}")
    print(f"report:  {path}")
    print(f"picture: {output / 'answers.png'}")
    print(f"total:   {report['total_seconds']:.0f} s, training {report['train_seconds']:.0f} s\n")
    for sample in samples[:3]:
        print(f"{sample.path}\n  {sample.question}  {sample.answer}  (truth: {sample.truth})")


if __name__ == "__main__":
    sys.exit(main())
