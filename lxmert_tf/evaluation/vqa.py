"""VQA v2's accuracy: an answer is right to the degree to which people gave it.

Of ten people's answers to a question, each is left out in turn, and the prediction earns
min(1, n/3) for the n others that equal it; the accuracy is the mean of the ten (Antol et al. 2015,
visualqa.org/evaluation.html). So one person's answer earns 0.3, two's 0.6, three's 0.9, more 1.
"""

import collections
import dataclasses
from collections.abc import Mapping, Sequence
from typing import Annotated

from pydantic import Field, StrictInt, StrictStr

from lxmert_tf.errors import InputError
from lxmert_tf.evaluation.question_ids import by_id, check_predictions
from lxmert_tf.evaluation.score_report import Score, ScoreReport, means_by_type
from lxmert_tf.evaluation.vqa_normalization import clean_whitespace, normalize_vqa_answer
from lxmert_tf.json_file import check_json, read_json


def vqa_accuracy(prediction: str, answers: Sequence[str]) -> float:
    """The official accuracy of one prediction, in 0..1.

    Args:
        prediction: the answer.
        answers: what people answered; ten of them in VQA v2.

    Prediction and answers are normalised only if the answers are not all the same: where people
    all say "two", the prediction "2" is wrong.
    """
    prediction = clean_whitespace(prediction)
    answers = [clean_whitespace(answer) for answer in answers]
    if len(set(answers)) > 1:
        prediction = normalize_vqa_answer(prediction)
        answers = [normalize_vqa_answer(answer) for answer in answers]
    return _leave_one_out(answers.count(prediction), len(answers))


def soft_score(answers: Sequence[str]) -> dict[str, float]:
    """The training label of one question: the accuracy that each answer would earn.

    Args:
        answers: what people answered; ten of them in VQA v2.

    Returns:
        {normalised answer: score in 0..1}, the first given first. Unlike in `vqa_accuracy` the
        answers are always normalised, so that a question where all agree has labels like the rest.
        The answer may be empty, where people said "a" or "?".
    """
    counts = collections.Counter(map(normalize_vqa_answer, answers))
    return {answer: _leave_one_out(count, len(answers)) for answer, count in counts.items()}


def score_vqa(predictions: Mapping[str, str], annotations_path) -> ScoreReport:
    """Scores predictions, over all questions, by type of answer and by type of question.

    Args:
        predictions: {question id: answer}.
        annotations_path: the official annotations of VQA v2 ({"annotations": [...]}), or a file of
            the LXMERT release (a list with a `label` of soft scores, where an answer earns what its
            exact text has there). Which it is, its content tells.

    Raises:
        InputError: the file is damaged or of another kind, or the predictions are not for its
            questions.
    """
    annotations = _read_annotations(annotations_path)
    check_predictions(predictions, annotations, str(annotations_path))
    earned = [item.accuracy(predictions[name]) for name, item in annotations.items()]
    kinds = annotations.values()
    groups = {
        "overall": (Score.mean("accuracy", earned),),
        "answer type": means_by_type((item.answer_type for item in kinds), earned),
        "question type": means_by_type((item.question_type for item in kinds), earned),
    }
    return ScoreReport("vqa", groups)


def _leave_one_out(count: int, total: int) -> float:
    """The mean over `total` answers of min(1, n/3), n of the others being equal to the prediction.

    For the `count` that equal it themselves, n is one less. In thirds, so that 0.3 is 0.3.
    """
    thirds = count * min(3, count - 1) + (total - count) * min(3, count)
    return thirds / (3 * total)


@dataclasses.dataclass(frozen=True)
class _Answer:
    answer: StrictStr


@dataclasses.dataclass(frozen=True)
class _AnsweredQuestion:
    """An entry of the official annotations."""

    question_id: StrictInt
    question_type: StrictStr
    answer_type: StrictStr
    answers: Annotated[list[_Answer], Field(min_length=10, max_length=10)]

    def accuracy(self, prediction: str) -> float:
        return vqa_accuracy(prediction, [item.answer for item in self.answers])


@dataclasses.dataclass(frozen=True)
class _LabelledQuestion:
    """An entry of the release's files."""

    question_id: StrictInt
    question_type: StrictStr
    answer_type: StrictStr
    label: dict[StrictStr, Annotated[float, Field(strict=True, ge=0, le=1)]]

    def accuracy(self, prediction: str) -> float:
        return self.label.get(prediction, 0.0)


def _read_annotations(path) -> dict[str, _AnsweredQuestion | _LabelledQuestion]:
    content = read_json(path)
    if isinstance(content, list):
        entries = check_json(list[_LabelledQuestion], content, str(path))
    elif isinstance(content, dict) and "annotations" in content:
        entries = check_json(
            list[_AnsweredQuestion], content["annotations"], f"{path}: annotations"
        )
    else:
        raise InputError(
            f"{path}: holds no answers; the official file has them under 'annotations', one of the "
            "release is a list with labels"
        )
    return by_id(((str(entry.question_id), entry) for entry in entries), str(path))
