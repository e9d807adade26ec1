"""Beam transforms that read regions and sentences and join them into scenes.

An image takes this path. `ReadRegions` stores its regions and emits a `RegionRef`. `JoinByImage`
brings the reference together with the sentences about the image. `MakeScenes`, or `MakePairs` for
sentences about two images, emits a `JoinedScene`. `scene_records` reads the regions back and
serializes one or more records.

A transform emits elements of several classes into one collection, and `_only` selects one of them.
Tagged outputs would be the usual way, but Beam's Dask runner merges all tags.
"""

import dataclasses
from collections.abc import Iterable, Iterator, Mapping, Set
from typing import NamedTuple

import apache_beam as beam
import numpy as np
import tensorflow as tf

from lxmert_tf.data.answer_table import normalize_answer, read_answer_table
from lxmert_tf.data.scene import Scene, SceneImage, Sentence
from lxmert_tf.data.schema import decode_scene, encode_scene, replace_sentences
from pipeline.ingest.checks.region_checks import RegionError, check_id
from pipeline.ingest.config import ALL_PERCENT, IngestConfig
from pipeline.ingest.image_names import (
    IdRegex,
    image_key,
    match_names,
    name_of_file,
    parse_name,
)
from pipeline.ingest.inputs import Inputs, RegionTask, SentenceTask, hash_percent
from pipeline.ingest.interfaces import ReadError, ReadImage, Returned
from pipeline.ingest.parsers.text_rows import PieceLines
from pipeline.ingest.progress import WorkerProgress
from pipeline.ingest.region_store import RegionRef, RegionStoreReader, RegionStoreWriter
from pipeline.ingest.workers import noting_errors

MISSING = "its image is missing"
AMBIGUOUS = "the name of its image is ambiguous"
# The kinds of `ReadCount` for images that only share a number with the name in annotations, and for
# images that are left out because no sentence is about them.
BY_NUMBER = "image found by number"
UNUSED = "image without a sentence"
_SENTENCE_FIELDS = tuple(field.name for field in dataclasses.fields(Sentence))


class Reject(NamedTuple):
    """An image, sentence or answer that was left out; a line of `rejects-*.jsonl`.

    Args:
        kind: "image", "sentence" or "answer".
        id: Id of the image or sentence, as far as it could be read.
        reason: What is wrong.
        file: The file it was read from; may be empty.
        line: Number of the line, row or item, from 1; None if unknown.
        piece: Start of the piece that `line` counts from; None if it counts from the file's start.
        image: The missing image that a sentence is about.
    """

    kind: str
    id: str
    reason: str
    file: str = ""
    line: int | None = None
    piece: int | None = None
    image: str = ""


class ReadCount(NamedTuple):
    """A number of images or sentences that were read.

    Args:
        kind: "image", "sentence", `BY_NUMBER`, or `UNUSED`.
        count: How many.
        example: Id of one of them; may be empty.
    """

    kind: str
    count: int  # type: ignore[assignment]  # hides tuple.count
    example: str = ""


class AnnotatedSentence(NamedTuple):
    """A sentence with its images and its place in an annotation file.

    Args:
        image_ids: The images it is about.
        sentence: Text, source and answers.
        file: The annotation file.
        line: Number of the sentence in the file, from 1.
    """

    image_ids: tuple[str, ...]
    sentence: Sentence
    file: str
    line: int

    def __reduce__(self):
        # Beam keeps millions of pickled sentences in memory. Without the names of the fields they
        # take 233 bytes instead of 338 (a VQA question).
        values = tuple(getattr(self.sentence, name) for name in _SENTENCE_FIELDS)
        return _annotated_sentence, (self.image_ids, self.file, self.line, *values)

    def reject(self, reason: str, image: str = "") -> Reject:
        """Return the reject of this sentence.

        Args:
            reason: What is wrong.
            image: The name of the image that it lacks.
        """
        return Reject("sentence", self.sentence.id, reason, self.file, self.line, image=image)


def _annotated_sentence(image_ids, file, line, *values) -> AnnotatedSentence:
    return AnnotatedSentence(image_ids, Sentence(*values), file, line)


class JoinedScene(NamedTuple):
    """A scene whose regions are still in the region store.

    Args:
        image_ids: Ids of its images.
        regions: References to their regions.
        sentences: Its sentences, ordered by id.
    """

    image_ids: tuple[str, ...]
    regions: tuple[RegionRef, ...]
    sentences: tuple[Sentence, ...]


class Scenes(NamedTuple):
    """The collections that `ReadScenes` returns.

    Args:
        joined: Of `JoinedScene`.
        rejects: Of `Reject`.
        counts: Of `ReadCount`.
        lines: Of `PieceLines`.
        answers: Of (answer, how often it is given), the answer table; None if it is not built from
            the data.
    """

    joined: beam.PCollection
    rejects: beam.PCollection
    counts: beam.PCollection
    lines: beam.PCollection
    answers: beam.PCollection | None


class ReadScenes(beam.PTransform):
    """Read all inputs of a split and join them.

    Args:
        config: The ingestion; `records` is the split.
        inputs: The files of the split.
        work_folder: A folder that all workers can read, for regions and progress notes.

    Raises:
        InputError: The answer table cannot be read.
    """

    def __init__(self, config: IngestConfig, inputs: Inputs, work_folder):
        super().__init__()
        self._config = config
        self._inputs = inputs
        self._folder = str(work_folder)
        self._table = frozenset(read_answer_table(config.answers)) if config.answers else None

    def expand(self, pipeline):
        """Return the `Scenes` of a pipeline."""
        config, inputs = self._config, self._inputs
        percent = config.records.percent
        id_regex = IdRegex(config.image_id_regex)
        regions = pipeline | ReadRegions(
            inputs.regions, percent, config.feature_dtype, self._folder, id_regex
        )
        read = pipeline | ReadSentences(
            inputs.sentences, percent, id_regex, self._folder, inputs.left_out
        )
        unique = read | "AllSentences" >> _only(AnnotatedSentence) | RejectRepeated()

        sentences = unique | "Sentences" >> _only(AnnotatedSentence)
        table, answers = self._table, None
        if config.min_answer_count is not None:
            answers = sentences | CountAnswers(config.normalize_answers, config.min_answer_count)
            table = beam.pvalue.AsDict(answers)
        filtered = sentences | "FilterAnswers" >> beam.FlatMap(
            filter_answers, table, config.normalize_answers
        )
        images = (
            regions | "RegionRefs" >> _only(RegionRef),
            filtered | "FilteredSentences" >> _only(AnnotatedSentence),
        ) | JoinByImage()
        make = MakeScenes if inputs.images_per_scene == 1 else MakePairs
        made = images | "ImageGroups" >> _only(ImageGroup) | make(inputs.complete)

        rejects = [
            collection | f"{name}Rejects" >> _only(Reject)
            for name, collection in {
                "Region": regions,
                "Sentence": read,
                "Repeated": unique,
                "Answer": filtered,
                "Image": images,
                "Scene": made,
            }.items()
        ]
        counts = [
            regions | "RegionCounts" >> _only(ReadCount),
            read | "SentenceCounts" >> _only(ReadCount),
            made | "NameCounts" >> _only(ReadCount),
        ]
        return Scenes(
            joined=made | "JoinedScenes" >> _only(JoinedScene),
            rejects=rejects | "Rejects" >> beam.Flatten(),
            counts=counts | "Counts" >> beam.Flatten(),
            lines=regions | "Lines" >> _only(PieceLines),
            answers=answers,
        )


class ReadRegions(beam.PTransform):
    """Read region files; emits `RegionRef`, `Reject`, `ReadCount` and `PieceLines`.

    Args:
        tasks: Pieces of the files.
        percent: Range of image hashes that are wanted.
        dtype: "float16" or "float32", for stored features.
        folder: Where to store regions and progress notes.
        id_regex: Selects the id within an image's name.
    """

    def __init__(
        self,
        tasks: Iterable[RegionTask],
        percent: tuple[int, int],
        dtype: str,
        folder: str,
        id_regex: IdRegex,
    ):
        super().__init__()
        self._tasks = tasks
        self._store = StoreRegions(percent, dtype, folder, id_regex)

    def expand(self, pipeline: beam.Pipeline) -> beam.PCollection:
        """Spread the tasks over the workers and run them."""
        tasks = pipeline | beam.Create(self._tasks) | "Spread" >> beam.Reshuffle()
        return tasks | "Store" >> beam.ParDo(self._store)


class StoreRegions(beam.DoFn):
    """Read one piece and store its regions; arguments and results as of `ReadRegions`."""

    def __init__(self, percent: tuple[int, int], dtype: str, folder: str, id_regex: IdRegex):
        self._percent = percent
        self._dtype = np.dtype(dtype)
        self._folder = folder
        self._id_regex = id_regex

    def start_bundle(self):
        """Open a file of the region store."""
        with noting_errors(self._folder):
            self._writer = RegionStoreWriter(self._folder)
            self._progress = WorkerProgress(self._folder)

    def finish_bundle(self):
        """Close the file."""
        with noting_errors(self._folder):
            self._writer.close()
            self._progress.close()

    def process(self, task: RegionTask) -> Iterator[RegionRef | Reject | ReadCount | PieceLines]:
        """Yield a reference or reject for each image, then the counts."""
        with noting_errors(self._folder):
            yield from self._read(task)

    def _read(self, task: RegionTask) -> Iterator[RegionRef | Reject | ReadCount | PieceLines]:
        images = lines = 0
        file, piece = task.piece.file.name, task.piece.start
        reading = Returned(task.reader.read(task.piece))
        for item in reading:
            lines = item.line or lines
            named, name = self._with_name(item, task)
            image_id = named.id if isinstance(named, ReadError) else named.image.id
            if not _is_within(self._percent, image_id):
                continue
            images += 1
            line = named.line and named.line + task.piece.lines_before
            if isinstance(named, ReadError):
                self._progress.add(named.size, rejected=1)
                yield Reject("image", named.id, named.reason, file, line, piece)
            else:
                self._progress.add(named.size, images=1)
                image = self._with_dtype(named.image)
                yield self._writer.write(image, file, piece, line, task.number, name)
        yield ReadCount("image", images)
        lines = lines if reading.value is None else reading.value
        yield PieceLines(file, piece, lines, task.piece.lines_before)

    def _with_name(
        self, item: ReadImage | ReadError, task: RegionTask
    ) -> tuple[ReadImage | ReadError, str]:
        """Return an image with its id in the job, and its full name."""
        given = item.id if isinstance(item, ReadError) else item.image.id
        name = name_of_file(task.piece.file.name) if task.image_id else given
        image_id = task.image_id or given
        if self._id_regex:
            image_id = name = self._id_regex(name)
        if image_id == given:
            return item, name
        try:
            check_id(image_id)
        except RegionError as error:
            return error.read_error(item.line, image_id, item.size), name
        if isinstance(item, ReadError):
            return dataclasses.replace(item, id=image_id), name
        image = dataclasses.replace(item.image, id=image_id)
        return dataclasses.replace(item, image=image), name

    def _with_dtype(self, image: SceneImage) -> SceneImage:
        features = image.regions.features
        if features.dtype == self._dtype:
            return image
        # Rounds as NumPy does, in a fifth of its time.
        features = tf.cast(features, self._dtype).numpy()
        regions = dataclasses.replace(image.regions, features=features)
        return dataclasses.replace(image, regions=regions)


class ReadSentences(beam.PTransform):
    """Read annotation files; emits `AnnotatedSentence`, `Reject` and `ReadCount`.

    Args:
        tasks: The files.
        percent: Range of image hashes that are wanted.
        id_regex: Selects the id within an image's name.
        folder: The work folder.
        left_out: Keys of the names of images whose sentences are left out.
    """

    def __init__(
        self,
        tasks: Iterable[SentenceTask],
        percent: tuple[int, int],
        id_regex: IdRegex,
        folder: str,
        left_out: frozenset[str],
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
    left_out: frozenset[str],
) -> Iterator[AnnotatedSentence | Reject | ReadCount]:
    with noting_errors(folder):
        yield from read_sentences(task, percent, id_regex, left_out)


def read_sentences(
    task: SentenceTask,
    percent: tuple[int, int],
    id_regex: IdRegex,
    left_out: frozenset[str] = frozenset(),
) -> Iterator[AnnotatedSentence | Reject | ReadCount]:
    """Yield a sentence or reject for each item of a file, then the count."""
    count, file = 0, task.file.name
    for number, item in enumerate(task.reader.read(task.file), start=1):
        if isinstance(item, ReadError):
            count += 1
            yield Reject("sentence", item.id, item.reason, file, item.line or number)
            continue
        names = tuple(map(id_regex, item.image_ids)) if id_regex else item.image_ids
        if _is_within(percent, names[0]) and left_out.isdisjoint(map(image_key, names)):
            count += 1
            yield AnnotatedSentence(names, item.sentence, file, number)
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


class ImageGroup(NamedTuple):
    """All that was read about one image.

    Args:
        image_id: The id; that of an image without regions is the name in the annotations.
        regions: Of the image, in the order in which they were read. Only the first is used.
        sentences: About the image.
        names: The image's names in the sentences.
        reason: Why the image is not found, if there are no regions.
        by_number: Whether the image was found by its number alone.
    """

    image_id: str
    regions: list[RegionRef]
    sentences: list[AnnotatedSentence]
    names: frozenset[str]
    reason: str = MISSING
    by_number: bool = False

    def rejects(self) -> Iterator[Reject]:
        """Yield repetitions of the image."""
        for ref in self.regions[1:]:
            yield _reject_image(ref, "duplicate image id")

    def counts(self) -> Iterator[ReadCount]:
        """Yield a count if the image was found by its number, or if no sentence is about it."""
        if self.by_number:
            yield ReadCount(BY_NUMBER, 1)
        if self.regions and not self.sentences:
            yield ReadCount(UNUSED, 1, self.image_id)


class JoinByImage(beam.PTransform):
    """Join a collection of `RegionRef` and one of `AnnotatedSentence`.

    Emits `ImageGroup`, and `Reject` of images whose features have another size than most.
    """

    def expand(self, collections):
        """Group both collections by the keys of image names."""
        regions, sentences = collections
        traits = (
            regions
            | "EachTrait" >> beam.FlatMap(image_traits)
            | "CountTraits" >> beam.CombinePerKey(sum)
        )
        return (
            {
                "regions": regions | "ByImage" >> beam.WithKeys(lambda ref: image_key(ref.name)),
                "sentences": sentences | "ByEachImage" >> beam.FlatMap(by_each_image),
            }
            | beam.CoGroupByKey()
            | "ImageGroups"
            >> beam.FlatMap(
                lambda group, traits: make_image_groups(*group, traits), beam.pvalue.AsDict(traits)
            )
        )


def image_traits(ref: RegionRef) -> Iterator[tuple[tuple[str, str | int], int]]:
    """Yield (trait, 1) for what is compared between all images of a job."""
    yield ("feature size", ref.feature_size), 1
    if numbering := parse_name(ref.name).numbering:
        yield ("numbering", numbering), 1


def by_each_image(annotated: AnnotatedSentence) -> Iterator[tuple[str, AnnotatedSentence]]:
    """Yield the sentence under the key of each of its images."""
    for key in dict.fromkeys(map(image_key, annotated.image_ids)):
        yield key, annotated


def make_image_groups(
    key: str, grouped: Mapping[str, Iterable], traits: Mapping[tuple, int]
) -> Iterator[ImageGroup | Reject]:
    """Yield a group for each image that has a key, and each name that has no image.

    Args:
        key: The key (`image_key`).
        grouped: `regions` and `sentences` that have it, in any order.
        traits: How many images of the job have each of `image_traits`. If there are several ways
            of numbering, equal numbers may be of different images.
    """
    size = _most_common_size(traits)
    use_numbers = sum(kind == "numbering" for kind, _ in traits) < 2
    regions: dict[str, list[RegionRef]] = {}
    # The order does not depend on the runner.
    for ref in sorted(grouped["regions"], key=lambda ref: ref.order):
        if ref.feature_size == size:
            regions.setdefault(ref.image_id, []).append(ref)
        else:
            yield _reject_image(ref, "its features have another size than those of most images")
    sentences: dict[str, list[AnnotatedSentence]] = {}
    for annotated in grouped["sentences"]:
        for name in dict.fromkeys(annotated.image_ids):
            if image_key(name) == key:
                sentences.setdefault(name, []).append(annotated)
    full_names = {image_id: refs[0].name for image_id, refs in regions.items()}
    matches = match_names(sorted(sentences), full_names, use_numbers)
    names: dict[str, list[str]] = {image_id: [] for image_id in regions}
    for name in sentences:
        if name in matches.ids:
            names[matches.ids[name]].append(name)
        else:
            reason = AMBIGUOUS if name in matches.ambiguous else MISSING
            yield ImageGroup(name, [], sentences[name], frozenset([name]), reason)
    for image_id, refs in regions.items():
        # A sentence about two images may use two names of one image.
        about = {id(a): a for name in names[image_id] for a in sentences[name]}
        yield ImageGroup(
            image_id,
            refs,
            list(about.values()),
            frozenset(names[image_id]),
            by_number=image_id in matches.by_number,
        )


def _most_common_size(traits: Mapping[tuple, int]) -> int | None:
    sizes = {value: count for (kind, value), count in traits.items() if kind == "feature size"}
    return max(sizes, key=lambda size: (sizes[size], size), default=None)


class MakeScenes(beam.PTransform):
    """Make scenes of one image from `ImageGroup`; emits `JoinedScene` and `Reject`.

    Args:
        complete: Whether to reject sentences without an image; not in a trial of a few images.
    """

    def __init__(self, complete: bool):
        super().__init__()
        self._complete = complete

    def expand(self, groups: beam.PCollection) -> beam.PCollection:
        """Make each group a scene."""
        return groups | beam.FlatMap(make_scene, self._complete)


def make_scene(group: ImageGroup, complete: bool) -> Iterator[JoinedScene | Reject | ReadCount]:
    """Yield the scene of an image, or rejects if its regions or its sentences are missing."""
    yield from group.rejects()
    yield from group.counts()
    if group.regions and group.sentences:
        sentences = _ordered(group.sentences)
        yield JoinedScene((group.image_id,), (group.regions[0],), sentences)
    elif complete:
        for annotated in group.sentences:
            yield annotated.reject(group.reason, group.image_id)


class ImageSide(NamedTuple):
    """An image as one side of a scene of two.

    Args:
        image_ids: The names of the scene's images in the sentence.
        side: Position of the image in the pair: 0 for left, 1 for right.
        regions: Its regions; None if they are missing.
        sentence: A sentence about the scene; only on side 0, so that each comes once.
        reason: Why the regions are missing.
    """

    image_ids: tuple[str, ...]
    side: int
    regions: RegionRef | None
    sentence: AnnotatedSentence | None
    reason: str = MISSING


class ImageUse(NamedTuple):
    """The outcome for an image: whether it became part of a scene.

    Args:
        regions: Of the image.
        is_used: False if the scene lacks its other image.
    """

    regions: RegionRef
    is_used: bool


class MakePairs(beam.PTransform):
    """Make scenes of two images from `ImageGroup`; emits `JoinedScene` and `Reject`.

    Args:
        complete: As for `MakeScenes`.
    """

    def __init__(self, complete: bool):
        super().__init__()
        self._complete = complete

    def expand(self, groups: beam.PCollection) -> beam.PCollection:
        """Group the images again, by scene, and look for images in no scene."""
        sides = groups | "SplitSides" >> beam.FlatMap(split_sides)
        pairs = (
            sides
            | "Sides" >> _only(ImageSide)
            | "ByScene" >> beam.WithKeys(lambda side: side.image_ids)
            | "JoinByScene" >> beam.GroupByKey()
            | "MakePair" >> beam.FlatMapTuple(make_pair, self._complete)
        )
        unused = (
            pairs
            | "Uses" >> _only(ImageUse)
            | "ByImage" >> beam.WithKeys(lambda use: use.regions.image_id)
            | "JoinByImage" >> beam.GroupByKey()
            | "RejectUnused" >> beam.FlatMapTuple(reject_unused)
        )
        return (
            sides | "SideRejects" >> _only(Reject),
            sides | "SideCounts" >> _only(ReadCount),
            pairs | "Pairs" >> _only(JoinedScene),
            pairs | "PairRejects" >> _only(Reject),
            unused,
        ) | beam.Flatten()


def split_sides(group: ImageGroup) -> Iterator[ImageSide | Reject | ReadCount]:
    """Yield an image once for each sentence and each side of its scene that the image is."""
    yield from group.rejects()
    yield from group.counts()
    regions = group.regions[0] if group.regions else None
    for annotated in group.sentences:
        for side, name in enumerate(annotated.image_ids):
            if name in group.names:
                sentence = annotated if side == 0 else None
                yield ImageSide(annotated.image_ids, side, regions, sentence, group.reason)


def make_pair(
    image_ids: tuple[str, ...], sides: Iterable[ImageSide], complete: bool = True
) -> Iterator[JoinedScene | Reject | ImageUse]:
    """Yield the scene of two images, or rejects if one is missing, and the use of each image."""
    sides = list(sides)
    by_side = {side.side: side for side in sides}
    regions = [by_side[side].regions for side in range(len(image_ids))]
    sentences = [side.sentence for side in sides if side.sentence]
    for ref in regions:
        if ref:
            yield ImageUse(ref, all(regions))
    found = tuple(ref for ref in regions if ref)
    if len(found) == len(regions):
        yield JoinedScene(tuple(ref.image_id for ref in found), found, _ordered(sentences))
    elif complete:
        missing = regions.index(None)
        for annotated in sentences:
            yield annotated.reject(by_side[missing].reason, image_ids[missing])


def reject_unused(image_id: str, uses: Iterable[ImageUse]) -> Iterator[Reject]:
    """Yield a reject for an image whose every scene lacks the other image."""
    uses = list(uses)
    if not any(use.is_used for use in uses):
        yield _reject_image(uses[0].regions, "the image beside it is missing")


def scene_records(joined: JoinedScene, store: RegionStoreReader, layout: str) -> Iterator[bytes]:
    """Yield the records of a scene, which are serialized tf.Examples.

    Args:
        joined: The scene.
        store: Reads its regions.
        layout: "grouped" for one record, "flat" for one per sentence.
    """
    images = [store.read(ref) for ref in joined.regions]
    if len(images) == 1:
        [serialized] = images
    else:
        decoded = tuple(decode_scene(image).images[0] for image in images)
        serialized = encode_scene(Scene(decoded, ()))
    groups = [joined.sentences] if layout == "grouped" else [(s,) for s in joined.sentences]
    for sentences in groups:
        yield replace_sentences(serialized, sentences)


class SerializeScenes(beam.DoFn):
    """Serialize `JoinedScene` elements; emits records.

    Args:
        layout: As for `scene_records`.
    """

    def __init__(self, layout: str):
        self._layout = layout

    def start_bundle(self):
        """Open the region store."""
        self._store = RegionStoreReader()

    def finish_bundle(self):
        """Close the region store."""
        self._store.close()

    def process(self, joined: JoinedScene) -> Iterator[bytes]:
        """Yield the records of a scene."""
        yield from scene_records(joined, self._store, self._layout)


def _only(kind: type) -> beam.PTransform:
    return beam.Filter(lambda element: isinstance(element, kind)).with_output_types(kind)


def _reject_image(ref: RegionRef, reason: str) -> Reject:
    return Reject("image", ref.image_id, reason, ref.file, ref.line, ref.piece)


def _ordered(sentences: Iterable[AnnotatedSentence]) -> tuple[Sentence, ...]:
    # The order of a join depends on the runner; that of a record must not.
    return tuple(sorted((s.sentence for s in sentences), key=lambda s: (len(s.id), s.id, s.text)))


def _is_within(percent: tuple[int, int], image_id: str) -> bool:
    return percent == ALL_PERCENT or percent[0] <= hash_percent(image_id) < percent[1]
