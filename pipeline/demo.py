"""`make demo`: easy-VQA through the whole pipeline, then questions to the pushed model."""

import argparse
import dataclasses
import importlib.resources
import json
import pathlib
import shutil
import sys
import time

from lxmert_tf.cli.main import missing_extra
from lxmert_tf.errors import EXIT_GATE, EXIT_USAGE, GateError, InputError
from lxmert_tf.runtime import keep_freed_memory, silence_tensorflow

CONFIG = importlib.resources.files("lxmert_tf.configs") / "pipeline" / "easy_vqa.yaml"


def main(argv=None) -> int:
    """Runs the demo; returns the exit status."""
    args = _arguments(argv)
    silence_tensorflow()
    keep_freed_memory()
    try:
        run_demo(args)
    except InputError as error:
        print(f"demo: {error}", file=sys.stderr)
        return EXIT_USAGE
    except GateError as error:
        print(f"demo: {error}", file=sys.stderr)
        return EXIT_GATE
    except ModuleNotFoundError as error:
        print(f"demo: {missing_extra(error)}", file=sys.stderr)
        return EXIT_USAGE
    return 0


def _arguments(argv) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make demo", description=__doc__)
    parser.add_argument("--config", default=str(CONFIG), metavar="FILE")
    parser.add_argument("--seed", type=int, metavar="N", help="instead of the task's")
    parser.add_argument("--output", default="build/demo", metavar="DIR")
    parser.add_argument("--push-to", metavar="DIR", help="default saved_models/NAME")
    return parser.parse_args(argv)


def run_demo(args: argparse.Namespace) -> None:
    """Trains, evaluates and pushes; then writes report.json, answers.png and the preset.

    Raises:
        InputError: the configuration is wrong, or the data set is not installed.
        GateError: the model was not good enough to be pushed.
    """
    started = time.monotonic()
    config = _config(args)

    # TFX takes many seconds to import; a wrong configuration is told of before that.
    from pipeline.demo_report import majority_by_type, print_comparison
    from pipeline.evaluation_report import write_report
    from pipeline.pipeline import PRETRAINER
    from pipeline.run_record import print_states
    from pipeline.runners.local import run_local
    from pipeline.trainer_modules.answering import PRESET
    from pipeline.trainer_modules.artifacts import read_training_seconds

    output = pathlib.Path(args.output)
    push_to = args.push_to or f"saved_models/{config.pipeline.name}"
    record = run_local(config, output / "pipeline", push_to)
    trained = pathlib.Path(record.uris["Trainer", "model"])
    shutil.rmtree(output / PRESET, ignore_errors=True)
    shutil.copytree(trained / PRESET, output / PRESET)
    accuracy, majority = record.accuracy(), majority_by_type(config.pipeline)
    print_states(record)
    print_comparison(accuracy, majority)
    samples = _ask(config, record.pushed_to, output) if record.pushed_to else []
    evaluation = write_report(config, record, output / "pipeline")
    report = {
        "test_accuracy": accuracy["all"][0],
        "question_only_accuracy": majority["all"],
        "questions": accuracy["all"][1],
        # Of all training: pre-training too, if the pipeline has it.
        "train_seconds": sum(
            read_training_seconds(uri)
            for (component, output), uri in record.uris.items()
            if component in (PRETRAINER, "Trainer") and output == "model"
        ),
        "total_seconds": round(time.monotonic() - started, 1),
        "model_dir": record.pushed_to,
    }
    text = json.dumps(report, indent=1) + "\n"
    (output / "report.json").write_text(text, encoding="utf-8")
    record.check_blessed()
    print(f"model:   {record.pushed_to}\npreset:  {output / PRESET}")
    print(f"report:  {output / 'report.json'}\npicture: {output / 'answers.png'}")
    print(f"slices:  {evaluation}")
    print(f"total:   {report['total_seconds']:.0f} s, training {report['train_seconds']:.0f} s\n")
    for sample in samples[:3]:
        print(f"{sample.path}\n  {sample.question}  {sample.answer}  (truth: {sample.truth})")


def _config(args: argparse.Namespace):
    from pipeline.config import load_pipeline

    config = load_pipeline(args.config)
    if args.seed is None:
        return config
    stages = {"task": config.task, "pretraining": config.pretraining}
    changed = {
        k: stage and dataclasses.replace(stage, seed=args.seed) for k, stage in stages.items()
    }
    return dataclasses.replace(config, **changed)


def _ask(config, model_directory: str, output: pathlib.Path) -> list:
    from lxmert_tf.serving.predictor import Predictor
    from pipeline.demo_report import draw_answers, sample_questions

    samples = sample_questions(config.pipeline, Predictor(model_directory))
    draw_answers(samples, output / "answers.png")
    return samples


if __name__ == "__main__":
    sys.exit(main())
