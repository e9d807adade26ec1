"""Which questions there are and which are answered: nothing is lost, doubled or made up."""

from collections.abc import Collection, Iterable, Mapping
from typing import TypeVar

from lxmert_tf.errors import InputError

T = TypeVar("T")


def by_id(pairs: Iterable[tuple[str, T]], where: str) -> dict[str, T]:
    """{id: what belongs to it}, in the order given.

    Args:
        pairs: (id, what belongs to it).
        where: the file's name, for messages.

    Raises:
        InputError: an id stands twice, or there is none.
    """
    made: dict[str, T] = {}
    doubled = []
    for question_id, value in pairs:
        if question_id in made:
            doubled.append(question_id)
        made[question_id] = value
    if doubled:
        raise InputError(
            f"{where}: {len(doubled)} question ids stand there again, the first is {doubled[0]!r}"
        )
    return made


def check_predictions(
    predictions: Mapping[str, str],
    required: Iterable[str],
    where: str,
    known: Collection[str] | None = None,
) -> None:
    """Refuses predictions that leave out a question, or answer one that there is not.

    Args:
        predictions: {question id: answer}.
        required: the ids that must be answered.
        where: the name of the file with the questions, for messages.
        known: the ids that may be answered; those required if None.

    Raises:
        InputError: saying how many and the first.
    """
    required = list(required)
    if not required:
        raise InputError(f"{where}: no question to score in it")
    known = set(required) if known is None else known
    unknown = [question_id for question_id in predictions if question_id not in known]
    if unknown:
        raise InputError(
            f"{len(unknown)} of {len(predictions)} predictions are for questions that are not in "
            f"{where}, the first is {unknown[0]!r}"
        )
    missing = [question_id for question_id in required if question_id not in predictions]
    if missing:
        raise InputError(
            f"{len(missing)} of {len(required)} questions of {where} have no prediction, the first "
            f"is {missing[0]!r}"
        )
