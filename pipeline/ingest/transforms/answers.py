"""Count the answers of sentences, and keep those that are in the answer table."""

import dataclasses
from collections.abc import Iterator, Set

import apache_beam as beam

from lxmert_tf.data.answer_table import normalize_answer
from lxmert_tf.data.scene import Sentence
from pipeline.ingest.elements import AnnotatedSentence, Reject


class CountAnswers(beam.PTransform):
    """Count the answers of sentences; emits (answer, count) for frequent ones.

    Args:
        normalize: Whether to normalize answers first.
        min_count: Least count of an answer that is emitted.
    """

    def __init__(self, normalize: bool, min_count: int):
        super().__init__()
        self._normalize = normalize
        self._min_count = min_count

    def expand(self, sentences: beam.PCollection) -> beam.PCollection:
        """Count each answer once per sentence."""
        least = self._min_count
        return (
            sentences
            | "EachAnswer" >> beam.FlatMap(each_answer, self._normalize)
            | "Count" >> beam.CombinePerKey(sum)
            | "Frequent" >> beam.Filter(lambda answer_and_count: answer_and_count[1] >= least)
        )


def each_answer(annotated: AnnotatedSentence, normalize: bool) -> Iterator[tuple[str, int]]:
    """Yield (answer, 1) for each answer of a sentence."""
    sentence, _ = keep_answers(annotated.sentence, None, normalize)
    for answer, _ in sentence.answers:
        yield answer, 1


def filter_answers(
    annotated: AnnotatedSentence, table: frozenset[str] | None, normalize: bool
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
    scores: dict[str, float] = {}
    for answer, score in sentence.answers:
        answer = normalize_answer(answer) if normalize else answer
        scores[answer] = max(score, scores.get(answer, score))
    unknown = [] if table is None else [answer for answer in scores if answer not in table]
    kept = tuple((answer, scores[answer]) for answer in scores if answer not in unknown)
    return dataclasses.replace(sentence, answers=kept), unknown
