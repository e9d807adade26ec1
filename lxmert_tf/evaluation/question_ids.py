"""Question IDs, numbers or strings in files: none occurs twice, is missing, or is unknown."""

from collections.abc import Collection, Iterable, Mapping
from typing import Annotated, Any, TypeVar

from pydantic import PlainValidator

from lxmert_tf.errors import InputError

T = TypeVar("T")


def _parse_id(value: Any) -> str:
    # Not isinstance: True is an int to Python.
    if type(value) not in (int, str):
        raise InputError(f"{value!r:.60} must be an integer or a string")
    return str(value)


# The ID of a question, as text. The challenges have numbers, people also use names.
QuestionId = Annotated[str, PlainValidator(_parse_id)]


def index_by_id(items: Iterable[tuple[str, T]], where: str) -> dict[str, T]:
    """Make a dict of (question ID, value) tuples.

    Args:
        items: The tuples.
        where: The file's name, for messages.

    Returns:
        A dict from question ID to value, in the order given.

    Raises:
        InputError: An ID occurs twice.
    """
    result: dict[str, T] = {}
    duplicates = []
    for question_id, value in items:
        if question_id in result:
            duplicates.append(question_id)
        result[question_id] = value
    if duplicates:
        raise InputError(
            f"{where}: duplicate question IDs: {len(duplicates)}, the first is {duplicates[0]!r}"
        )
    return result


def check_predictions(
    predictions: Mapping[str, str],
    required: Iterable[str],
    where: str,
    known: Collection[str] | None = None,
) -> None:
    """Check that predictions answer every required question and no unknown one.

    Args:
        predictions: {question ID: answer}.
        required: The IDs of the questions that must be answered.
        where: The name of the file with the questions, for messages.
        known: The IDs of the questions that may be answered; None means those required.

    Raises:
        InputError: The message gives the number of wrong IDs and the first one.
    """
    required = list(required)
    if not required:
        raise InputError(f"{where}: no questions to score")
    known = set(required) if known is None else known
    unknown = [question_id for question_id in predictions if question_id not in known]
    if unknown:
        raise InputError(
            f"predictions for questions that are not in {where}: {len(unknown)} of "
            f"{len(predictions)}, the first is {unknown[0]!r}"
        )
    missing = [question_id for question_id in required if question_id not in predictions]
    if missing:
        raise InputError(
            f"questions of {where} without a prediction: {len(missing)} of {len(required)}, the "
            f"first is {missing[0]!r}"
        )
