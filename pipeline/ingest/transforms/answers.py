"""Count the answers of sentences, and keep those that are in the answer table."""

import collections
import dataclasses
from collections.abc import Iterable, Iterator, Set

from lxmert_tf.data.answer_table import normalize_answer
from lxmert_tf.data.scene import Sentence
from pipeline.ingest.elements import AnnotatedSentence, Reject


def count_answers(
    sentences: Iterable[AnnotatedSentence | Reject], normalize: bool
) -> collections.Counter[str]:
    """Count each answer once per sentence.

    Args:
        sentences: The sentences; rejects are passed over.
        normalize: Whether to normalize answers first.
    """
    counts: collections.Counter[str] = collections.Counter()
    for annotated in sentences:
        if isinstance(annotated, AnnotatedSentence):
            sentence, _ = keep_answers(annotated.sentence, None, normalize)
            counts.update(answer for answer, _ in sentence.answers)
    return counts


def filter_answers(
    annotated: AnnotatedSentence, table: Set[str] | None, normalize: bool
) -> Iterator[AnnotatedSentence | Reject]:
    """Yield the sentence with the answers that are in the table, and a reject for each other."""
    sentence, unknown = keep_answers(annotated.sentence, table, normalize)
    yield annotated._replace(sentence=sentence)
    for _ in unknown:
        reason = "the answer is not in the answer table"
        yield Reject("answer", sentence.id, reason, annotated.file, annotated.line)


def keep_answers(
    sentence: Sentence, table: Set[str] | None, normalize: bool
) -> tuple[Sentence, list[str]]:
    """Split the answers of a sentence into those in a table and others.

    Args:
        sentence: As it was read.
        table: The answers to keep; None keeps all.
        normalize: Whether to normalize answers (`normalize_answer`) before the lookup. Of two
            spellings of one answer, the higher score is kept.

    Returns:
        The sentence with the answers that are kept, and the other answers, each once.
    """
    if table is None and not normalize and len(dict(sentence.answers)) == len(sentence.answers):
        return sentence, []
    scores: dict[str, float] = {}
    for answer, score in sentence.answers:
        answer = normalize_answer(answer) if normalize else answer
        scores[answer] = max(score, scores.get(answer, score))
    unknown = [] if table is None else [answer for answer in scores if answer not in table]
    kept = tuple((answer, scores[answer]) for answer in scores if answer not in unknown)
    return dataclasses.replace(sentence, answers=kept), unknown
