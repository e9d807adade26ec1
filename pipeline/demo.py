"""`make demo`: run the easy-VQA pipeline, then ask the pushed model some questions."""

import argparse
import collections
import dataclasses
import importlib.resources
import json
import os
import pathlib
import shutil
import sys
import textwrap
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.table import Table

from lxmert_tf.cli.main import report_errors
from lxmert_tf.data.scene import Sentence
from lxmert_tf.errors import InputError
from lxmert_tf.evaluation.majority_baseline import MajorityBaseline
from lxmert_tf.regions.image import read_image
from lxmert_tf.runtime import keep_freed_memory, silence_tensorflow
from lxmert_tf.terminal import make_console

# TensorFlow, Beam and TFX take many seconds to import. Functions import what needs them after the
# configuration is checked.
if TYPE_CHECKING:
    from lxmert_tf.serving.predictor import Predictor
    from pipeline.config import LoadedPipeline, PipelineConfig
    from pipeline.ingest.readers.data_set import DataSet
    from pipeline.run_record import RunRecord

CONFIG = importlib.resources.files("lxmert_tf.configs") / "pipeline" / "easy_vqa.yaml"
GRID_COLUMNS, GRID_ROWS = 6, 3
PRINTED_SAMPLES = 3


def main(argv: Sequence[str] | None = None) -> int:
    """Run the demo and return the exit status."""
    args = _arguments(argv)
    silence_tensorflow()
    keep_freed_memory()
    return report_errors("demo", lambda: run_demo(args))


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make demo", description=__doc__)
    parser.add_argument("--config", default=str(CONFIG), metavar="FILE")
    parser.add_argument("--seed", type=int, metavar="N", help="replaces the seed of the task")
    parser.add_argument("--output", default="build/demo", metavar="DIR")
    parser.add_argument("--push-to", metavar="DIR", help="default: saved_models/NAME")
    return parser.parse_args(argv)


def run_demo(args: argparse.Namespace) -> None:
    """Run the pipeline, and write report.json, answers.png and the trained preset.

    Args:
        args: The command line: `config`, `seed`, `output` and `push_to`.

    Raises:
        InputError: The configuration is wrong, or the data set is not installed.
        GateError: The model was not good enough to be pushed.
    """
    started = time.monotonic()
    config = _load_config(args)
    _data_set(config.pipeline)

    from lxmert_tf.serving.predictor import Predictor
    from pipeline.run_report import print_states, write_report
    from pipeline.runners.local import run_local
    from pipeline.trainer_modules.answering import PRESET

    output = pathlib.Path(args.output)
    root, preset = output / "pipeline", output / PRESET
    record = run_local(config, root, args.push_to or f"saved_models/{config.pipeline.name}")
    shutil.rmtree(preset, ignore_errors=True)
    shutil.copytree(pathlib.Path(record.uris["Trainer", "model"]) / PRESET, preset)
    accuracy, majority = record.accuracy(), majority_by_type(config.pipeline)
    print_states(record)
    print_comparison(accuracy, majority)
    samples = []
    if record.pushed_to:
        samples = sample_questions(config.pipeline, Predictor.from_saved_model(record.pushed_to))
        draw_answers(samples, output / "answers.png")
    page = write_report(config, record, root)
    report = {
        "test_accuracy": accuracy["all"][0],
        "question_only_accuracy": majority["all"],
        "questions": accuracy["all"][1],
        "train_seconds": _training_seconds(record),
        "total_seconds": round(time.monotonic() - started, 1),
        "model_dir": record.pushed_to,
    }
    text = json.dumps(report, indent=1) + "\n"
    (output / "report.json").write_text(text, encoding="utf-8")
    record.check_blessed()
    print(f"model:   {record.pushed_to}\npreset:  {preset}")
    print(f"report:  {output / 'report.json'}\npicture: {output / 'answers.png'}")
    print(f"slices:  {page}")
    print(f"total:   {report['total_seconds']:.0f} s, training {report['train_seconds']:.0f} s\n")
    for sample in samples[:PRINTED_SAMPLES]:
        print(f"{sample.path}\n  {sample.question}  {sample.answer}  (truth: {sample.truth})")
    # The preset, because it also tells where the model looks.
    lxmert = os.path.relpath(pathlib.Path(sys.executable).parent / "lxmert")
    print(f"\nask it in the browser: {lxmert} app --model {preset}")


def _load_config(args: argparse.Namespace) -> "LoadedPipeline":
    from pipeline.config import load_pipeline

    config = load_pipeline(args.config)
    if args.seed is None:
        return config
    task = dataclasses.replace(config.task, seed=args.seed)
    pretraining = config.pretraining and dataclasses.replace(config.pretraining, seed=args.seed)
    return dataclasses.replace(config, task=task, pretraining=pretraining)


def _training_seconds(record: "RunRecord") -> float:
    """Return the duration of all training, with the pre-training if there was any."""
    from pipeline.pipeline import PRETRAINER
    from pipeline.trainer_modules.artifacts import read_training_seconds

    return sum(
        read_training_seconds(uri)
        for (component, output), uri in record.uris.items()
        if component in (PRETRAINER, "Trainer") and output == "model"
    )


@dataclasses.dataclass(frozen=True)
class Sample:
    """A test question with the model's answer.

    Args:
        path: The image file.
        question: The question.
        answer: The model's best answer.
        score: The score of that answer in 0..1.
        truth: The correct answer.
    """

    path: str
    question: str
    answer: str
    score: float
    truth: str


def _data_set(config: "PipelineConfig") -> "DataSet":
    from pipeline.ingest.registry import make_data_set

    if config.source is None:
        raise InputError("the demo needs the images of a data set; the pipeline has no 'source'")
    return make_data_set(config.source)


def majority_by_type(config: "PipelineConfig") -> dict[str, float]:
    """Return the test accuracy of the most common training answer to each question.

    Uses the full training split of the data set, including what the pipeline holds out for
    validation.

    Args:
        config: A pipeline of a data set.

    Returns:
        Soft accuracy in 0..1 by question type, and for "all".
    """
    from lxmert_tf.evaluation.evaluate import OVERALL

    source = _data_set(config)
    pairs = [
        (sentence.text, answer)
        for split in config.splits["train"].names
        for _, sentence in source.sentences(split)
        for answer, _ in sentence.answers
    ]
    baseline = MajorityBaseline(pairs)
    earned = collections.defaultdict(list)
    for sentence in (
        s for split in config.splits["test"].names for _, s in source.sentences(split)
    ):
        score = dict(sentence.answers).get(baseline.answer(sentence.text), 0.0)
        earned[sentence.question_type].append(score)
        earned[OVERALL].append(score)
    return {kind: sum(scores) / len(scores) for kind, scores in earned.items()}


def print_comparison(accuracy: dict[str, tuple[float, int]], majority: dict[str, float]) -> None:
    """Print the accuracy of the model and of the question-only baseline by question type.

    Args:
        accuracy: Soft accuracy of the model and number of questions by question type.
        majority: The result of `majority_by_type`.
    """
    table = Table("question type", title="Accuracy on the test split")
    for column in ("questions", "question only", "model"):
        table.add_column(column, justify="right")
    for kind, (share, count) in accuracy.items():
        table.add_row(kind, f"{count:,}", f"{majority.get(kind, 0.0):.2%}", f"{share:.2%}")
    make_console().print(table)


def sample_questions(config: "PipelineConfig", predictor: "Predictor") -> list[Sample]:
    """Ask one question about each of the first test images, taking question types in turn.

    Args:
        config: A pipeline of a data set.
        predictor: The model to ask.

    Returns:
        As many samples as `draw_answers` has cells, if there are enough images.
    """
    source = _data_set(config)
    splits = config.splits["test"].names
    by_image: dict[str, dict[str, Sentence]] = collections.defaultdict(dict)
    for image_id, sentence in (pair for split in splits for pair in source.sentences(split)):
        by_image[image_id].setdefault(sentence.question_type, sentence)
    kinds = sorted({kind for sentences in by_image.values() for kind in sentences})
    samples: list[Sample] = []
    for image in (image for split in splits for image in source.images(split)):
        # Skip images without a question of the type whose turn it is.
        kind = kinds[len(samples) % len(kinds)]
        if kind not in by_image[image.image_id]:
            continue
        sentence = by_image[image.image_id][kind]
        [best] = predictor.answer(read_image(image.path), [sentence.text])
        answer, score = best[0]
        truth = max(sentence.answers, key=lambda pair: pair[1])[0]
        samples.append(Sample(image.path, sentence.text, answer, score, truth))
        if len(samples) == GRID_COLUMNS * GRID_ROWS:
            break
    return samples


def draw_answers(samples: Sequence[Sample], path: pathlib.Path) -> None:
    """Draw images with question, answer and truth in a grid, and write it as a PNG file.

    Args:
        samples: At most `GRID_COLUMNS * GRID_ROWS` samples.
        path: The file to write.
    """
    # The object interface, because pyplot may look for a display.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(2.4 * GRID_COLUMNS, 3.2 * GRID_ROWS), layout="constrained")
    for axes, sample in zip(figure.subplots(GRID_ROWS, GRID_COLUMNS).flat, samples):
        axes.imshow(read_image(sample.path))
        axes.set_title("\n".join(textwrap.wrap(sample.question, 26)), fontsize=9)
        axes.set_xlabel(
            f"{sample.answer} ({sample.score:.0%})\ntruth: {sample.truth}",
            color="darkgreen" if sample.answer == sample.truth else "firebrick",
            fontsize=9,
        )
        axes.set_xticks([])
        axes.set_yticks([])
    FigureCanvasAgg(figure).print_png(str(path))


if __name__ == "__main__":
    sys.exit(main())
