"""Read annotation files, and reject sentences whose id is taken."""

from collections.abc import Iterable, Iterator

import apache_beam as beam

from pipeline.beam.workers import noting_errors
from pipeline.ingest.elements import AMBIGUOUS, AnnotatedSentence, ReadCount, Reject
from pipeline.ingest.image_names import IdRegex, OtherImages
from pipeline.ingest.inputs import SentenceTask, is_within
from pipeline.ingest.interfaces import ReadError

_NONE = OtherImages()


class ReadSentences(beam.PTransform):
    """Read annotation files; emits `AnnotatedSentence`, `Reject` and `ReadCount`.

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
) -> Iterator[AnnotatedSentence | Reject | ReadCount]:
    with noting_errors(folder):
        yield from read_sentences(task, percent, id_regex, left_out)


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


class RejectRepeated(beam.PTransform):
    """Reject sentences whose id another one has; emits `AnnotatedSentence` and `Reject`.

    The first sentence, in order of file and line, is kept.
    """

    def expand(self, sentences: beam.PCollection) -> beam.PCollection:
        """Group the sentences by id."""
        return (
            sentences
            | "ById" >> beam.WithKeys(lambda annotated: annotated.sentence.id)
            | "JoinById" >> beam.GroupByKey()
            | "KeepFirst" >> beam.FlatMapTuple(keep_first)
        )


def keep_first(
    sentence_id: str, same: Iterable[AnnotatedSentence]
) -> Iterator[AnnotatedSentence | Reject]:
    """Yield the first of the sentences with an id, and rejects of the others."""
    first, *others = sorted(same, key=lambda annotated: (annotated.file, annotated.line))
    yield first
    for annotated in others:
        yield annotated.reject("duplicate sentence id")
