"""Which answers count: those of a table, in the spelling of the table."""

import dataclasses
from collections.abc import Set

from lxmert_tf.data.answer_normalization import normalize_answer
from lxmert_tf.data.scene import Sentence


def keep_answers(
    sentence: Sentence, table: Set[str] | None, normalize: bool
) -> tuple[Sentence, list[str]]:
    """A sentence with the answers that a table has, and those that it lacks.

    Args:
        sentence: as it was read.
        table: the answers that are kept; None keeps all.
        normalize: whether answers are normalised (`normalize_answer`) before they are looked up.
            Of two spellings of one answer the higher score holds.

    Returns:
        the sentence, and the answers that were left out, as they were looked up, each once.
    """
    scores: dict[str, float] = {}
    for answer, score in sentence.answers:
        answer = normalize_answer(answer) if normalize else answer
        scores[answer] = max(score, scores.get(answer, score))
    left_out = [] if table is None else [answer for answer in scores if answer not in table]
    kept = tuple((answer, scores[answer]) for answer in scores if answer not in left_out)
    return dataclasses.replace(sentence, answers=kept), left_out
