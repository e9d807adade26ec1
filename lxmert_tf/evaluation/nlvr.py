"""NLVR's accuracy and consistency (Suhr et al. 2017), as its script for images computes them.

The accuracy by phenomenon and by number of words is ours; see `phenomena`.
"""

import dataclasses
from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import Field, StrictStr

from lxmert_tf.evaluation.phenomena import LENGTH_GROUPS, find_phenomena, length_group
from lxmert_tf.evaluation.question_ids import check_predictions, index_by_id
from lxmert_tf.evaluation.score_report import (
    ACCURACY,
    OVERALL_GROUP,
    Score,
    ScoreReport,
    means_by_type,
    score_consistency,
)
from lxmert_tf.json_file import check_json_lines
from lxmert_tf.text_file import read_text

# An example has an image for each order of its three boxes.
ORDERS = 6
# Groups of the report.
PHENOMENON = "phenomenon"
LENGTH = "sentence length"


def score_nlvr(predictions: Mapping[str, str], annotations_path) -> ScoreReport:
    """Compute accuracy over the images, and consistency over the sentences.

    The identifier of an example, such as 72-0, is that of the sentence and a position. The sentence
    counts for consistency if the predictions for the images of all its examples are right.

    Args:
        predictions: {name of an image, such as "dev-72-0-3": "True" or "False"}, in upper or lower
            case. The split in the name is not compared.
        annotations_path: An official file, with a JSON object per line.

    Returns:
        The two scores, and the accuracy by phenomenon and by number of words. A statement with
        several phenomena counts for each of them.

    Raises:
        InputError: The file is damaged or of another kind, or the predictions are for other images.
    """
    where = str(annotations_path)
    lines = check_json_lines(_Example, read_text(annotations_path), where)
    examples = index_by_id(((line.identifier, line) for line in lines), where)
    answers = index_by_id(
        ((without_split(name), answer.lower()) for name, answer in predictions.items()),
        "the predictions",
    )
    check_predictions(answers, [image for name in examples for image in _images_of(name)], where)
    earned = {
        image: float(answers[image] == example.label)
        for name, example in examples.items()
        for image in _images_of(name)
    }
    statements = {
        image: example.sentence for name, example in examples.items() for image in _images_of(name)
    }
    overall = (
        Score.mean(ACCURACY, earned.values()),
        score_consistency((sentence_of(image), points) for image, points in earned.items()),
    )
    groups = {OVERALL_GROUP: overall, **_scores_by_kind(statements, earned)}
    return ScoreReport("nlvr", groups)


def sentence_of(image: str) -> str:
    """Return the sentence that the statement about an image is an example of.

    Args:
        image: The name without its split, such as "72-0-3".
    """
    return image.partition("-")[0]


def without_split(name: str) -> str:
    """Return the name of an image, such as "dev-72-0-3", without its split."""
    return name.partition("-")[2] or name


def _scores_by_kind(
    statements: Mapping[str, str], earned: Mapping[str, float]
) -> dict[str, tuple[Score, ...]]:
    pairs = [
        (phenomenon, earned[image])
        for image, statement in statements.items()
        for phenomenon in find_phenomena(statement)
    ]
    lengths = means_by_type(map(length_group, statements.values()), earned.values())
    return {
        PHENOMENON: means_by_type(*zip(*pairs)),
        LENGTH: tuple(sorted(lengths, key=lambda score: LENGTH_GROUPS.index(score.name))),
    }


@dataclasses.dataclass(frozen=True)
class _Example:
    """A line of an official file."""

    identifier: Annotated[StrictStr, Field(pattern=r"^[^-]+-[^-]+$")]
    label: Literal["true", "false"]
    sentence: StrictStr


def _images_of(identifier: str) -> list[str]:
    return [f"{identifier}-{order}" for order in range(ORDERS)]
