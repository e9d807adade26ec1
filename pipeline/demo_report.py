"""What the demo shows: a table beside what the question alone gives away, and a picture."""

import collections
import dataclasses
import pathlib
import textwrap
from collections.abc import Sequence

from rich.console import Console
from rich.table import Table

from lxmert_tf.evaluation.evaluate import OVERALL
from lxmert_tf.evaluation.majority_baseline import MajorityBaseline
from lxmert_tf.regions.image import read_image
from lxmert_tf.serving.predictor import Predictor
from pipeline.config import PipelineConfig
from pipeline.ingest.registry import make_data_set

GRID_COLUMNS, GRID_ROWS = 6, 3


@dataclasses.dataclass(frozen=True)
class Sample:
    """A test question with the model's answer."""

    path: str
    question: str
    answer: str
    score: float
    truth: str


def majority_by_type(config: PipelineConfig) -> dict[str, float]:
    """The accuracy of each question's commonest training answer, by question type.

    Out of the source's own splits, all of them: what `train` holds out for validation counts too.
    """
    source = make_data_set(config.source)
    pairs = [
        (sentence.text, answer)
        for _, sentence in source.sentences(config.splits["train"].split)
        for answer, _ in sentence.answers
    ]
    guess = MajorityBaseline(pairs)
    earned = collections.defaultdict(list)
    for _, sentence in source.sentences(config.splits["test"].split):
        score = dict(sentence.answers).get(guess.answer(sentence.text), 0.0)
        earned[sentence.question_type].append(score)
        earned[OVERALL].append(score)
    return {kind: sum(scores) / len(scores) for kind, scores in earned.items()}


def print_comparison(accuracy: dict[str, tuple[float, int]], majority: dict[str, float]) -> None:
    """Prints the model's accuracy by question type beside the question-only majority's."""
    table = Table("question type", title="Accuracy on the test split")
    for column in ("questions", "question only", "model"):
        table.add_column(column, justify="right")
    for kind, (share, count) in accuracy.items():
        table.add_row(kind, f"{count:,}", f"{majority.get(kind, 0.0):.2%}", f"{share:.2%}")
    Console().print(table)


def sample_questions(config: PipelineConfig, answerer: Predictor) -> list[Sample]:
    """Asks one question each about the first test images, a question type after the other."""
    source = make_data_set(config.source)
    split = config.splits["test"].split
    by_image = collections.defaultdict(dict)
    for image_id, sentence in source.sentences(split):
        by_image[image_id].setdefault(sentence.question_type, sentence)
    kinds = sorted({kind for sentences in by_image.values() for kind in sentences})
    samples: list[Sample] = []
    for image in source.images(split):
        # The type whose turn it is; an image that has no such question waits for no one.
        sentence = by_image[image.image_id].get(kinds[len(samples) % len(kinds)])
        if sentence is None:
            continue
        [best] = answerer.ask(read_image(image.path), [sentence.text])
        answer, score = best[0]
        truth = max(sentence.answers, key=lambda pair: pair[1])[0]
        samples.append(Sample(image.path, sentence.text, answer, score, truth))
        if len(samples) == GRID_COLUMNS * GRID_ROWS:
            break
    return samples


def draw_answers(samples: Sequence[Sample], path: pathlib.Path) -> None:
    """Writes a PNG: a grid of images with question, answer and truth."""
    # The object interface: pyplot would look for a display.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(2.4 * GRID_COLUMNS, 3.2 * GRID_ROWS), layout="constrained")
    for axes, sample in zip(figure.subplots(GRID_ROWS, GRID_COLUMNS).flat, samples):
        axes.imshow(read_image(sample.path))
        right = sample.answer == sample.truth
        axes.set_title(_wrapped(sample.question), fontsize=9)
        axes.set_xlabel(
            f"{sample.answer} ({sample.score:.0%})\ntruth: {sample.truth}",
            color="darkgreen" if right else "firebrick",
            fontsize=9,
        )
        axes.set_xticks([])
        axes.set_yticks([])
    FigureCanvasAgg(figure).print_png(str(path))


def _wrapped(question: str) -> str:
    return "\n".join(textwrap.wrap(question, 26))
