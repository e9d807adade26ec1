"""Measure what it saves to encode each question and each picture once.

    .venv/bin/python benchmarks/pairs.py --questions 20 --pictures 50

Every question is asked about every picture in three ways, in one process and in turn, picture by
picture: each pair by `serving_default`, in calls of as many pairs as there are questions; the
picture once, by `encode_image` and `answer_about_image`; and questions and pictures once, by
`encode_question`, `encode_image`, and `answer_pairs`, where the time of the questions counts, too.
The model has random weights. On a busy machine, compare CPU seconds.
"""

import argparse
import json
import pathlib
import tempfile
import time
from collections.abc import Callable

import numpy as np
from rich.console import Console
from rich.table import Table

from lxmert_tf.benchmarking.settings import LENGTHS, MODELS, model_sizes
from lxmert_tf.cli.arguments import positive_int
from lxmert_tf.regions.extractor import Regions
from lxmert_tf.runtime import keep_freed_memory, silence_tensorflow
from lxmert_tf.serving.client import Answers, best_answers
from lxmert_tf.serving.layout import ENGINES
from lxmert_tf.serving.predictor import Call, Predictor, padded_regions

# All ways compute the same, so scores differ by rounding alone.
TOLERANCE = 1e-5


class Clock:
    """Adds up the wall and CPU seconds of the calls of one way to ask.

    Attributes:
        seconds: Wall seconds.
        cpu_seconds: CPU seconds of all threads.
    """

    def __init__(self):
        self.seconds = self.cpu_seconds = 0.0

    def time(self, function: Callable, *args):
        """Return what a function returns."""
        start, cpu_start = time.perf_counter(), time.process_time()
        result = function(*args)
        self.seconds += time.perf_counter() - start
        self.cpu_seconds += time.process_time() - cpu_start
        return result


def main() -> None:
    """Ask in three ways, and print their times and ratios."""
    args = _arguments()
    silence_tensorflow()
    keep_freed_memory()
    questions, pictures = _draw(args)
    with tempfile.TemporaryDirectory(prefix="lxmert-pairs-") as folder:
        call = _load(args, pathlib.Path(folder) / "model")
        measure(call, questions, pictures[:1])
        rounds = [measure(call, questions, pictures) for _ in range(args.rounds)]
    if args.json:
        print(json.dumps({"setting": vars(args), "rounds": rounds}))
        return
    for result in rounds:
        Console().print(_table(result, args))


def measure(call: Call, questions: list[str], pictures: list[Regions]) -> dict:
    """Ask every question about every picture in each way.

    Args:
        call: Calls a signature of the model.
        questions: The questions.
        pictures: The regions of each picture.

    Returns:
        A dict with `ways`, the wall and CPU seconds of each of `pairs`, `picture_once` and
        `both_once` with the ratios of those of `pairs` to them, and `largest_difference` of scores.

    Raises:
        RuntimeError: The ways give different scores.
    """
    predictor = Predictor(call, extractor=None)
    clocks = {name: Clock() for name in ("pairs", "picture_once", "both_once")}
    encoded = clocks["both_once"].time(predictor.encode_questions, questions)

    def pairs(picture: Regions) -> list[Answers]:
        regions = padded_regions([picture])
        repeated = {name: values.repeat(len(questions), axis=0) for name, values in regions.items()}
        return best_answers(call("serving_default", {"question": questions, **repeated}))

    def picture_once(picture: Regions) -> list[Answers]:
        return predictor.answer_about(predictor.encode_regions(picture), questions)

    def both_once(picture: Regions) -> list[Answers]:
        [answers] = predictor.answer_pairs([predictor.encode_regions(picture)], encoded)
        return answers

    ways = (pairs, picture_once, both_once)
    difference = 0.0
    for number, picture in enumerate(pictures):
        answers = {}
        # Each way is the first as often as the others.
        for way in ways[number % 3 :] + ways[: number % 3]:
            answers[way] = clocks[way.__name__].time(way, picture)
        difference = max(difference, *(_distance(answers[way], answers[pairs]) for way in ways))
    if difference > TOLERANCE:
        raise RuntimeError(f"the scores differ by {difference:.1e}, more than {TOLERANCE:.0e}")
    plain = clocks["pairs"]
    return {
        "ways": {
            name: {
                "seconds": clock.seconds,
                "cpu_seconds": clock.cpu_seconds,
                "ratio": plain.seconds / clock.seconds,
                "cpu_ratio": plain.cpu_seconds / clock.cpu_seconds,
            }
            for name, clock in clocks.items()
        },
        "largest_difference": difference,
    }


def _distance(answers: list[Answers], others: list[Answers]) -> float:
    """Return the largest difference between the scores of the same rank."""
    scores = [[[score for _, score in row] for row in rows] for rows in (answers, others)]
    return float(np.abs(np.subtract(*scores)).max())


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--questions", type=positive_int, default=20, metavar="N", help="(default: 20)"
    )
    parser.add_argument(
        "--pictures", type=positive_int, default=50, metavar="N", help="(default: 50)"
    )
    parser.add_argument(
        "--rounds", type=positive_int, default=1, metavar="N", help="repetitions (default: 1)"
    )
    parser.add_argument(
        "--engine", choices=tuple(ENGINES), default="tensorflow", help="(default: tensorflow)"
    )
    parser.add_argument("--model", choices=MODELS, default="base", help="sizes (default: base)")
    parser.add_argument(
        "--lengths", choices=LENGTHS, default="questions", help="as for lxmert benchmark"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    return parser.parse_args()


def _draw(args: argparse.Namespace) -> tuple[list[str], list[Regions]]:
    """Return random questions, and the regions of random pictures."""
    from lxmert_tf.benchmarking.workloads import draw_batches, questions

    config = model_sizes(args.model, "answer")
    [asked] = draw_batches("answer", config, args.lengths, 1, 1, args.questions)
    [seen] = draw_batches("answer", config, args.lengths, args.pictures, 1)
    regions = zip(seen.inputs["region_features"], seen.inputs["region_boxes"])
    return questions(asked), [Regions(features, boxes) for features, boxes in regions]


def _load(args: argparse.Namespace, folder: pathlib.Path) -> Call:
    """Return a function that calls the signatures of an exported model with random weights."""
    from tensorflow import keras

    from lxmert_tf import LxmertAnswerClassifier
    from lxmert_tf.benchmarking.workloads import vocabulary
    from lxmert_tf.serving import export_answer_model, export_openvino

    keras.utils.set_random_seed(0)
    config = model_sizes(args.model, "answer")
    answers = [f"answer {i}" for i in range(config.num_answers)]
    model = LxmertAnswerClassifier(config, vocabulary=vocabulary(config), answers=answers)
    if args.engine == "openvino":
        from lxmert_tf.serving.openvino_session import OpenVinoSession

        export_openvino(model, folder)
        return OpenVinoSession(folder).run
    from lxmert_tf.serving.session import SavedModelSession

    export_answer_model(model, folder)
    return SavedModelSession(folder).run


def _table(result: dict, args: argparse.Namespace) -> Table:
    title = f"{args.questions} questions about each of {args.pictures} pictures, {args.model}"
    table = Table("encoded once", title=f"{title}, {args.engine}")
    for column in ("seconds", "ratio", "CPU seconds", "ratio"):
        table.add_column(column, justify="right")
    names = {"pairs": "nothing", "picture_once": "the picture", "both_once": "both"}
    for way, row in result["ways"].items():
        seconds, cpu_seconds = (f"{row[key]:,.2f}" for key in ("seconds", "cpu_seconds"))
        ratios = (f"{row[key]:.2f}" for key in ("ratio", "cpu_ratio"))
        table.add_row(names[way], seconds, next(ratios), cpu_seconds, next(ratios))
    table.caption = f"scores differ by at most {result['largest_difference']:.1e}"
    return table


if __name__ == "__main__":
    main()
