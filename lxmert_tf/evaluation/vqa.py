"""VQA v2's accuracy, which depends on how many people gave an answer. VQA-CP and VizWiz use it.

Ten people answered each question. Leaving out each of them in turn, the prediction earns
min(1, n/3) for the n others who gave the same answer; the accuracy is the mean of the ten (Antol et
al. 2015, visualqa.org/evaluation.html). So an answer of one person earns 0.3, of two 0.6, of three
0.9, and of more 1.
"""

import collections
import dataclasses
import pathlib
from collections.abc import Mapping, Sequence
from typing import Annotated

from pydantic import Field, StrictStr

from lxmert_tf.errors import InputError
from lxmert_tf.evaluation.question_ids import QuestionId, check_predictions, index_by_id
from lxmert_tf.evaluation.score_report import Score, ScoreReport, means_by_type
from lxmert_tf.evaluation.vqa_normalization import clean_whitespace, normalize_vqa_answer
from lxmert_tf.json_file import check_json, read_json


def vqa_accuracy(prediction: str, answers: Sequence[str]) -> float:
    """Compute the official accuracy of one prediction.

    Prediction and answers are normalized only if the answers are not all the same: if all people
    say "two", the prediction "2" is wrong.

    Args:
        prediction: The predicted answer.
        answers: People's answers; ten in VQA v2.

    Returns:
        The accuracy in 0..1.

    Example:
        >>> vqa_accuracy("cat", ["cat", "cat"] + ["dog"] * 8)
        0.6
    """
    prediction = clean_whitespace(prediction)
    answers = [clean_whitespace(answer) for answer in answers]
    if len(set(answers)) > 1:
        prediction = normalize_vqa_answer(prediction)
        answers = [normalize_vqa_answer(answer) for answer in answers]
    return _leave_one_out(answers.count(prediction), len(answers))


def soft_score(answers: Sequence[str]) -> dict[str, float]:
    """Compute the training label of one question: the accuracy that each answer would earn.

    Unlike in `vqa_accuracy`, the answers are always normalized, so that questions on which all
    people agree have labels like the others.

    Args:
        answers: People's answers; ten in VQA v2.

    Returns:
        A dict from normalized answer to score in 0..1, in the order given. An answer such as "a"
        or "?" normalizes to the empty string.
    """
    counts = collections.Counter(map(normalize_vqa_answer, answers))
    return {answer: _leave_one_out(count, len(answers)) for answer, count in counts.items()}


def score_vqa(predictions: Mapping[str, str], annotations_path) -> ScoreReport:
    """Score predictions over all questions, by type of answer and by type of question.

    Args:
        predictions: {question ID: answer}.
        annotations_path: The official annotations of VQA v2 ({"annotations": [...]}), VQA-CP, or
            VizWiz (lists), or a file of the LXMERT release (a list with a `label` of soft scores,
            in which the exact text of the answer is looked up).

    Returns:
        The scores.

    Raises:
        InputError: The file is damaged or of another kind, or the predictions are for other
            questions.
    """
    annotations = _read_annotations(annotations_path)
    check_predictions(predictions, annotations, str(annotations_path))
    earned = [item.accuracy(predictions[name]) for name, item in annotations.items()]
    questions = annotations.values()
    groups = {
        "overall": (Score.mean("accuracy", earned),),
        "answer type": means_by_type((item.answer_type for item in questions), earned),
        "question type": means_by_type((item.question_type for item in questions), earned),
    }
    return ScoreReport("vqa", {name: scores for name, scores in groups.items() if scores})


def _leave_one_out(count: int, total: int) -> float:
    """Return the mean over `total` people of min(1, n/3) for n others with the same answer.

    For the `count` people who gave that answer themselves, n is one less.
    """
    # In thirds, so that 0.3 is exactly 0.3.
    thirds = count * min(3, count - 1) + (total - count) * min(3, count)
    return thirds / (3 * total)


@dataclasses.dataclass(frozen=True)
class _Answer:
    answer: StrictStr


_TenAnswers = Annotated[list[_Answer], Field(min_length=10, max_length=10)]


@dataclasses.dataclass(frozen=True)
class _AnsweredQuestion:
    """An entry of the official annotations."""

    question_id: QuestionId
    question_type: StrictStr
    answer_type: StrictStr
    answers: _TenAnswers

    def accuracy(self, prediction: str) -> float:
        return vqa_accuracy(prediction, [item.answer for item in self.answers])


@dataclasses.dataclass(frozen=True)
class _VizWizQuestion:
    """An entry of VizWiz's annotations; an image has one question, so its name is the id."""

    image: StrictStr
    answers: _TenAnswers
    answer_type: StrictStr = ""
    question_type = ""

    @property
    def question_id(self) -> str:
        return pathlib.PurePosixPath(self.image).stem

    def accuracy(self, prediction: str) -> float:
        return vqa_accuracy(prediction, [item.answer for item in self.answers])


@dataclasses.dataclass(frozen=True)
class _LabeledQuestion:
    """An entry of the release's files, or of your own in their layout, which may lack types."""

    question_id: QuestionId
    label: dict[StrictStr, Annotated[float, Field(strict=True, ge=0, le=1)]]
    question_type: StrictStr = ""
    answer_type: StrictStr = ""

    def accuracy(self, prediction: str) -> float:
        return self.label.get(prediction, 0.0)


_Question = _AnsweredQuestion | _VizWizQuestion | _LabeledQuestion


def _kind_of(entries: list) -> type[_Question]:
    """Return the kind of the entries of a list: VQA-CP's, VizWiz's, or the release's."""
    first = entries[0] if entries and isinstance(entries[0], dict) else {}
    if "image" in first and "question_id" not in first:
        return _VizWizQuestion
    return _AnsweredQuestion if "answers" in first else _LabeledQuestion


def _read_annotations(path) -> dict[str, _Question]:
    content = read_json(path)
    entries: list[_Question]
    if isinstance(content, list):
        kind = _kind_of(content)
        entries = check_json(list[kind], content, str(path))  # type: ignore[valid-type]
    elif isinstance(content, dict) and "annotations" in content:
        entries = check_json(
            list[_AnsweredQuestion], content["annotations"], f"{path}: annotations"
        )
    else:
        raise InputError(
            f"{path}: must be the official file with 'annotations', or a list of the LXMERT release"
        )
    return index_by_id(((entry.question_id, entry) for entry in entries), str(path))
