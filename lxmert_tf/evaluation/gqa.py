"""GQA's scores (Hudson & Manning 2019, section 4.4), as its official evaluation computes them.

They cover the balanced questions. Grounding, which needs a file of attention maps, is left out, and
so are the accuracies by the number of words and of reasoning steps.
"""

import collections
import dataclasses
from collections.abc import Iterator, Mapping
from typing import Annotated

from pydantic import Field, StrictBool, StrictStr

from lxmert_tf.errors import InputError
from lxmert_tf.evaluation.question_ids import QuestionId, check_predictions, index_by_id
from lxmert_tf.evaluation.score_report import Score, ScoreReport, means_by_type
from lxmert_tf.json_file import check_json, read_json

# Valid answers to "what do the two have in common?", whatever the choices file says.
_COMMON = ("color", "material", "shape")


def score_gqa(predictions: Mapping[str, str], annotations_path, choices_path=None) -> ScoreReport:
    """Score predictions.

    Args:
        predictions: {question ID: answer}. All balanced questions must be answered; others may be,
            for consistency.
        annotations_path: An official questions file ({ID: question}), or a file of the LXMERT
            release (a list of labels), which gives the accuracy only.
        choices_path: The official choices file, for validity and plausibility; None leaves them
            out. Only with an official questions file.

    Returns:
        The overall accuracy. With an official file also the accuracy on binary and on open
        questions, consistency, validity, plausibility and distribution (lower is better), and the
        accuracy by structural and by semantic type. A score without any questions is left out.

    Raises:
        InputError: A file is damaged or of another kind, or the predictions are for other
            questions.
    """
    content = read_json(annotations_path)
    if not isinstance(content, list):
        questions = check_json(dict[str, _Question], content, str(annotations_path))
        return _score_questions(predictions, questions, str(annotations_path), choices_path)
    if choices_path is not None:
        raise InputError(
            f"{annotations_path}: must be an official questions file, because {choices_path} is "
            "given"
        )
    return _score_labels(predictions, content, str(annotations_path))


@dataclasses.dataclass(frozen=True)
class _Types:
    structural: StrictStr
    semantic: StrictStr
    detailed: StrictStr


@dataclasses.dataclass(frozen=True)
class _Groups:
    named_global: Annotated[StrictStr | None, Field(alias="global")]


@dataclasses.dataclass(frozen=True)
class _Question:
    """An entry of an official questions file."""

    answer: StrictStr
    is_balanced: Annotated[StrictBool, Field(alias="isBalanced")]
    types: _Types
    groups: _Groups
    entailed: list[StrictStr]


@dataclasses.dataclass(frozen=True)
class _Choices:
    """An entry of an official choices file."""

    valid: list[StrictStr]
    plausible: list[StrictStr]


@dataclasses.dataclass(frozen=True)
class _LabeledQuestion:
    """An entry of the release's files."""

    question_id: QuestionId
    label: dict[StrictStr, Annotated[float, Field(strict=True, ge=0, le=1)]]


def _score_labels(predictions, content: list, where: str) -> ScoreReport:
    entries = check_json(list[_LabeledQuestion], content, where)
    labels = index_by_id(((entry.question_id, entry.label) for entry in entries), where)
    check_predictions(predictions, labels, where)
    earned = [label.get(predictions[name], 0.0) for name, label in labels.items()]
    return ScoreReport("gqa", {"overall": (Score.mean("accuracy", earned),)})


def _score_questions(predictions, questions, where: str, choices_path) -> ScoreReport:
    balanced = {name: question for name, question in questions.items() if question.is_balanced}
    check_predictions(predictions, balanced, where, known=questions)
    earned = [float(predictions[name] == q.answer) for name, q in balanced.items()]
    structural = [q.types.structural for q in balanced.values()]
    semantic = [q.types.semantic for q in balanced.values()]
    openness = ["open" if kind == "query" else "binary" for kind in structural]
    overall = [
        Score.mean("accuracy", earned),
        *means_by_type(openness, earned),
        *_consistency(predictions, questions, balanced),
    ]
    if choices_path is not None:
        overall += _validity_and_plausibility(predictions, balanced, choices_path)
    overall += _distribution(predictions, balanced)
    groups = {
        "overall": tuple(overall),
        "structural type": means_by_type(structural, earned),
        "semantic type": means_by_type(semantic, earned),
    }
    return ScoreReport("gqa", groups)


def _consistency(predictions, questions, balanced) -> Iterator[Score]:
    """Yield the mean share of right answers to the questions that a right answer entails.

    The mean is over the questions with a right answer that entails others. The official evaluation
    needs predictions for all questions; if some entailed ones have none, the score's name tells.
    """
    shares, complete = [], True
    for name, question in balanced.items():
        if predictions[name] != question.answer:
            continue
        entailed = [other for other in question.entailed if other != name]
        predicted = [other for other in entailed if other in predictions]
        complete = complete and len(predicted) == len(entailed)
        if predicted:
            right = sum(predictions[other] == questions[other].answer for other in predicted)
            shares.append(right / len(predicted))
    if shares:
        yield Score.mean("consistency" if complete else "consistency among predicted", shares)


def _validity_and_plausibility(predictions, balanced, choices_path) -> list[Score]:
    choices = check_json(dict[str, _Choices], read_json(choices_path), str(choices_path))
    missing = [name for name in balanced if name not in choices]
    if missing:
        raise InputError(
            f"{choices_path}: missing questions: {len(missing)} of {len(balanced)}, the first is "
            f"{missing[0]!r}"
        )
    valid, plausible = [], []
    for name, question in balanced.items():
        common = _COMMON if "Common" in question.types.detailed else None
        valid.append(float(predictions[name] in (common or choices[name].valid)))
        plausible.append(float(predictions[name] in (common or choices[name].plausible)))
    return [Score.mean("validity", valid), Score.mean("plausibility", plausible)]


def _distribution(predictions, balanced) -> Iterator[Score]:
    """Yield the distance between the frequencies of predicted and right answers; 0 if equal.

    It is the mean of the chi-square statistics of the groups of questions, weighted by their
    numbers of questions. As officially reported, it is divided by 100.
    """
    right: dict[str, collections.Counter] = collections.defaultdict(collections.Counter)
    given: dict[str, collections.Counter] = collections.defaultdict(collections.Counter)
    for name, question in balanced.items():
        group = question.groups.named_global
        if group is not None:
            right[group][question.answer] += 1
            given[group][predictions[name]] += 1
    total = sum(count.total() for count in right.values())
    if not total:
        return
    weighted = 0.0
    for group, expected in right.items():
        statistic = sum((given[group][a] - n) ** 2 / n for a, n in expected.items())
        weighted += statistic * expected.total()
    yield Score("distribution", weighted / total / 100, total, unit="")
