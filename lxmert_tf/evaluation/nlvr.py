"""NLVR's accuracy and consistency (Suhr et al. 2017), as its script for images computes them."""

import collections
import dataclasses
from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import Field, StrictStr

from lxmert_tf.evaluation.question_ids import check_predictions, index_by_id
from lxmert_tf.evaluation.score_report import Score, ScoreReport
from lxmert_tf.json_file import check_json_lines
from lxmert_tf.text_file import read_text

# An example has an image for each order of its three boxes.
ORDERS = 6


def score_nlvr(predictions: Mapping[str, str], annotations_path) -> ScoreReport:
    """Compute accuracy over the images, and consistency over the sentences.

    The identifier of an example, such as 72-0, is that of the sentence and a position. The sentence
    counts for consistency if the predictions for the images of all its examples are right.

    Args:
        predictions: {name of an image, such as "dev-72-0-3": "True" or "False"}, in upper or lower
            case. The split in the name is not compared.
        annotations_path: An official file, with a JSON object per line.

    Returns:
        The scores.

    Raises:
        InputError: The file is damaged or of another kind, or the predictions are for other images.
    """
    where = str(annotations_path)
    examples = check_json_lines(_Example, read_text(annotations_path), where)
    labels = index_by_id(((example.identifier, example.label) for example in examples), where)
    answers = index_by_id(
        ((_without_split(name), answer.lower()) for name, answer in predictions.items()),
        "the predictions",
    )
    images = {name: _images_of(name) for name in labels}
    check_predictions(answers, [image for same in images.values() for image in same], where)
    earned: list[float] = []
    by_sentence: dict[str, list[float]] = collections.defaultdict(list)
    for name, label in labels.items():
        points = [float(answers[image] == label) for image in images[name]]
        earned += points
        by_sentence[name.partition("-")[0]] += points
    consistent = [float(all(points)) for points in by_sentence.values()]
    scores = (Score.mean("accuracy", earned), Score.mean("consistency", consistent))
    return ScoreReport("nlvr", {"overall": scores})


@dataclasses.dataclass(frozen=True)
class _Example:
    """A line of an official file."""

    identifier: Annotated[StrictStr, Field(pattern=r"^[^-]+-[^-]+$")]
    label: Literal["true", "false"]


def _images_of(identifier: str) -> list[str]:
    return [f"{identifier}-{order}" for order in range(ORDERS)]


def _without_split(name: str) -> str:
    return name.partition("-")[2] or name
