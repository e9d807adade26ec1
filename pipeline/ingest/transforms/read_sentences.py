"""Read annotation files, and reject sentences whose id is taken."""

from collections.abc import Iterable, Iterator
from typing import Any

import apache_beam as beam

from pipeline.beam.spill import Spilled, SpilledElement, keyed, read_groups, spill
from pipeline.beam.workers import noting_errors
from pipeline.ingest.elements import AMBIGUOUS, AnnotatedSentence, ReadCount, Reject
from pipeline.ingest.image_names import IdRegex, OtherImages
from pipeline.ingest.inputs import SentenceTask, is_within
from pipeline.ingest.interfaces import ReadError
from pipeline.ingest.transforms.answers import count_answers, filter_answers
from pipeline.ingest.transforms.join_by_image import by_each_image

_NONE = OtherImages()


class ReadSentences(beam.PTransform):
    """Read annotation files; emits spilled `AnnotatedSentence`, `Reject`, and `ReadCount`.

    Args:
        tasks: The files.
        percent: Range of image hashes that are wanted.
        id_regex: Selects the id within an image's name.
        folder: The work folder.
        left_out: Images whose sentences are left out.
    """

    def __init__(
        self,
        tasks: Iterable[SentenceTask],
        percent: tuple[int, int],
        id_regex: IdRegex,
        folder: str,
        left_out: OtherImages,
    ):
        super().__init__()
        self._tasks = tasks
        self._percent = percent
        self._id_regex = id_regex
        self._folder = folder
        self._left_out = left_out

    def expand(self, pipeline: beam.Pipeline) -> beam.PCollection:
        """Spread the files over the workers and read them."""
        tasks = pipeline | beam.Create(self._tasks) | "Spread" >> beam.Reshuffle()
        return tasks | "Read" >> beam.FlatMap(
            _read_noting_errors, self._folder, self._percent, self._id_regex, self._left_out
        )


def _read_noting_errors(
    task: SentenceTask,
    folder: str,
    percent: tuple[int, int],
    id_regex: IdRegex,
    left_out: OtherImages,
) -> Iterator[Spilled | Reject | ReadCount]:
    with noting_errors(folder):
        sentences = read_sentences(task, percent, id_regex, left_out)
        yield from spill(sentences, AnnotatedSentence, folder, by_id)


def read_sentences(
    task: SentenceTask,
    percent: tuple[int, int],
    id_regex: IdRegex,
    left_out: OtherImages = _NONE,
) -> Iterator[AnnotatedSentence | Reject | ReadCount]:
    """Yield a sentence or reject for each item of a file, then the count."""
    count, file = 0, task.file.name
    for number, item in enumerate(task.reader.read(task.file), start=1):
        if isinstance(item, ReadError):
            count += 1
            yield Reject("sentence", item.id, item.reason, file, item.line or number)
            continue
        names = tuple(map(id_regex, item.image_ids)) if id_regex else item.image_ids
        if not is_within(percent, names[0]) or any(map(left_out.has, names)):
            continue
        count += 1
        annotated = AnnotatedSentence(names, item.sentence, file, number)
        unclear = [name for name in names if left_out.may_have(name)]
        yield annotated.reject(AMBIGUOUS, unclear[0]) if unclear else annotated
    yield ReadCount("sentence", count)


def by_id(annotated: AnnotatedSentence) -> Iterator[SpilledElement]:
    """Yield the sentence under its id."""
    yield keyed(annotated.sentence.id, annotated)


class RejectRepeated(beam.PTransform):
    """Reject sentences whose id another one has, and answers outside a table.

    The first sentence, in order of file and line, is kept. Emits spilled `AnnotatedSentence` and
    `Reject`.

    Args:
        table: The answer table, or a side input of it; None keeps all answers.
        normalize: Whether to normalize answers first.
        folder: The work folder.
    """

    def __init__(self, table: Any, normalize: bool, folder: str):
        super().__init__()
        self._table, self._normalize, self._folder = table, normalize, folder

    def expand(self, by_id: beam.PCollection) -> beam.PCollection:
        """Read partitions of sentences that are spilled `by_id`."""
        return by_id | "KeepFirst" >> beam.FlatMap(self._keep_first, self._table)

    def _keep_first(self, spilled: Iterable[Spilled], table: Any) -> Iterator[Spilled | Reject]:
        kept = (
            element
            for first in first_of_each(spilled, self._folder)
            for element in (
                [first]
                if isinstance(first, Reject)
                else filter_answers(first, table, self._normalize)
            )
        )
        return spill(kept, AnnotatedSentence, self._folder, by_each_image)


class CountAnswers(beam.PTransform):
    """Count the answers of sentences; emits (answer, count) for frequent ones.

    Args:
        normalize: Whether to normalize answers first.
        min_count: Least count of an answer that is emitted.
        folder: The work folder.
    """

    def __init__(self, normalize: bool, min_count: int, folder: str):
        super().__init__()
        self._normalize, self._min_count, self._folder = normalize, min_count, folder

    def expand(self, by_id: beam.PCollection) -> beam.PCollection:
        """Read partitions of sentences that are spilled `by_id`, and count those that are kept."""
        least = self._min_count
        return (
            by_id
            | "EachAnswer" >> beam.FlatMap(self._count)
            | "Count" >> beam.CombinePerKey(sum)
            | "Frequent" >> beam.Filter(lambda answer_and_count: answer_and_count[1] >= least)
        )

    def _count(self, spilled: Iterable[Spilled]) -> Iterable[tuple[str, int]]:
        return count_answers(first_of_each(spilled, self._folder), self._normalize).items()


def first_of_each(spilled: Iterable[Spilled], folder: str) -> Iterator[AnnotatedSentence | Reject]:
    """Yield what `keep_first` makes of each id in a partition.

    Args:
        spilled: Sentences that are spilled `by_id`.
        folder: The work folder.
    """
    for sentence_id, same in read_groups(spilled, folder):
        yield from keep_first(sentence_id, same)


def keep_first(
    sentence_id: str, same: Iterable[AnnotatedSentence]
) -> Iterator[AnnotatedSentence | Reject]:
    """Yield the first of the sentences with an id, and rejects of the others."""
    first, *others = sorted(same, key=lambda annotated: (annotated.file, annotated.line))
    yield first
    for annotated in others:
        yield annotated.reject("duplicate sentence id")
