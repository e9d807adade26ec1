"""NLVR2's accuracy and consistency (Suhr et al. 2019), as its official script computes them."""

import dataclasses
from collections.abc import Mapping
from typing import Literal

from pydantic import StrictStr

from lxmert_tf.errors import InputError
from lxmert_tf.evaluation.question_ids import QuestionId, check_predictions, index_by_id
from lxmert_tf.evaluation.score_report import (
    ACCURACY,
    OVERALL_GROUP,
    Score,
    ScoreReport,
    score_consistency,
)
from lxmert_tf.json_file import check_json, check_json_lines, parse_json
from lxmert_tf.text_file import read_text


def score_nlvr2(predictions: Mapping[str, str], annotations_path) -> ScoreReport:
    """Compute accuracy over the examples, and consistency over the sentences.

    A sentence has up to four pairs of images, whose identifiers (split-set-pair-sentence) differ
    only in the pair. It counts for consistency if the predictions for all of them are right.

    Args:
        predictions: {identifier: "True" or "False"}, in upper or lower case.
        annotations_path: An official file (a JSON object per line), or one of the LXMERT release (a
            JSON list).

    Returns:
        The scores; only the accuracy if no identifier has the four parts, as in data of your own.

    Raises:
        InputError: The file is damaged or of another kind, or the predictions are for other
            examples.
    """
    labels = _read_labels(annotations_path)
    check_predictions(predictions, labels, str(annotations_path))
    earned = {name: float(predictions[name].lower() == label) for name, label in labels.items()}
    scores = [Score.mean(ACCURACY, earned.values())]
    if any(map(has_four_parts, earned)):
        sentences = [_sentence_of(name, str(annotations_path)) for name in earned]
        scores.append(score_consistency(zip(sentences, earned.values())))
    return ScoreReport("nlvr2", {OVERALL_GROUP: tuple(scores)})


@dataclasses.dataclass(frozen=True)
class _Example:
    """A line of an official file."""

    identifier: StrictStr
    label: Literal["True", "False"]


@dataclasses.dataclass(frozen=True)
class _NumberedExample:
    """An entry of the release's files."""

    identifier: QuestionId
    label: Literal[0, 1]


def _read_labels(path) -> dict[str, str]:
    """Return {identifier: "true" or "false"}."""
    text = read_text(path)
    if text.lstrip().startswith("["):
        examples = check_json(list[_NumberedExample], parse_json(text, str(path)), str(path))
        labels = ((e.identifier, "true" if e.label else "false") for e in examples)
        return index_by_id(labels, str(path))
    examples = check_json_lines(_Example, text, str(path))
    return index_by_id(((e.identifier, e.label.lower()) for e in examples), str(path))


def has_four_parts(identifier: str) -> bool:
    """Return whether an identifier has the form split-set-pair-sentence."""
    return identifier.count("-") == 3


def _sentence_of(identifier: str, where: str) -> tuple[str, ...]:
    if not has_four_parts(identifier):
        raise InputError(
            f"{where}: the identifier {identifier!r} must have the form split-set-pair-sentence, "
            "as others have"
        )
    return sentence_of(identifier)


def sentence_of(identifier: str) -> tuple[str, ...]:
    """Return the sentence that an identifier of four parts is an example of."""
    split, image_set, _, sentence = identifier.split("-")
    return split, image_set, sentence
