"""Beam transforms that read regions and sentences and join them into scenes.

An image takes this path. `ReadRegions` stores its regions and emits a `RegionRef`. `JoinByImage`
brings the reference together with the sentences about the image. `MakeScenes`, or `MakePairs` for
sentences about two images, emits a `JoinedScene`. `scene_records` reads the regions back and
serializes one or more records.

A transform emits elements of several classes into one collection, and `_only` selects one of them.
Tagged outputs would be the usual way, but Beam's Dask runner merges all tags.
"""

import dataclasses
from collections.abc import Iterable, Iterator, Set
from typing import NamedTuple

import apache_beam as beam
import numpy as np
import tensorflow as tf

from lxmert_tf.data.answer_table import normalize_answer, read_answer_table
from lxmert_tf.data.scene import Scene, SceneImage, Sentence
from lxmert_tf.data.schema import decode_scene, encode_scene, replace_sentences
from pipeline.ingest.config import ALL_PERCENT, IngestConfig
from pipeline.ingest.inputs import Inputs, RegionTask, SentenceTask, hash_percent
from pipeline.ingest.interfaces import ReadError
from pipeline.ingest.parsers.text_rows import ShardLines
from pipeline.ingest.progress import WorkerProgress
from pipeline.ingest.region_store import RegionRef, RegionStoreReader, RegionStoreWriter

_SENTENCE_FIELDS = tuple(field.name for field in dataclasses.fields(Sentence))


class Reject(NamedTuple):
    """An image, sentence or answer that was left out; a line of `rejects-*.jsonl`.

    Args:
        kind: "image", "sentence" or "answer".
        id: Id of the image or sentence, as far as it could be read.
        reason: What is wrong.
        file: The file it was read from; may be empty.
        line: Number of the line, row or item, from 1; None if unknown.
        shard: Start of the shard that `line` counts from; None if it counts from the file's start.
        image: The missing image that a sentence is about.
    """

    kind: str
    id: str
    reason: str
    file: str = ""
    line: int | None = None
    shard: int | None = None
    image: str = ""


class ReadCount(NamedTuple):
    """A number of images or sentences that were read.

    Args:
        kind: "image" or "sentence".
        count: How many.
    """

    kind: str
    count: int  # type: ignore[assignment]  # hides tuple.count


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

    def reject(self, missing_image: str) -> Reject:
        """Return the reject of this sentence, whose image is missing."""
        reason = "its image is missing"
        return Reject(
            "sentence", self.sentence.id, reason, self.file, self.line, image=missing_image
        )


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
        lines: Of `ShardLines`.
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
        regions = pipeline | ReadRegions(
            inputs.regions, percent, config.feature_dtype, self._folder
        )
        read = pipeline | ReadSentences(inputs.sentences, percent)

        sentences = read | "Sentences" >> _only(AnnotatedSentence)
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
        made = images | make(inputs.complete)

        rejects = [
            collection | f"{name}Rejects" >> _only(Reject)
            for name, collection in {
                "Region": regions,
                "Sentence": read,
                "Answer": filtered,
                "Scene": made,
            }.items()
        ]
        counts = [
            regions | "RegionCounts" >> _only(ReadCount),
            read | "SentenceCounts" >> _only(ReadCount),
        ]
        return Scenes(
            joined=made | "JoinedScenes" >> _only(JoinedScene),
            rejects=rejects | "Rejects" >> beam.Flatten(),
            counts=counts | "Counts" >> beam.Flatten(),
            lines=regions | "Lines" >> _only(ShardLines),
            answers=answers,
        )


class ReadRegions(beam.PTransform):
    """Read region files; emits `RegionRef`, `Reject`, `ReadCount` and `ShardLines`.

    Args:
        tasks: Shards of the files.
        percent: Range of image hashes that are wanted.
        dtype: "float16" or "float32", for stored features.
        folder: Where to store regions and progress notes.
    """

    def __init__(
        self, tasks: Iterable[RegionTask], percent: tuple[int, int], dtype: str, folder: str
    ):
        super().__init__()
        self._tasks = tasks
        self._store = StoreRegions(percent, dtype, folder)

    def expand(self, pipeline: beam.Pipeline) -> beam.PCollection:
        """Spread the tasks over the workers and run them."""
        tasks = pipeline | beam.Create(self._tasks) | "Spread" >> beam.Reshuffle()
        return tasks | "Store" >> beam.ParDo(self._store)


class StoreRegions(beam.DoFn):
    """Read one shard and store its regions; arguments and results as of `ReadRegions`."""

    def __init__(self, percent: tuple[int, int], dtype: str, folder: str):
        self._percent = percent
        self._dtype = np.dtype(dtype)
        self._folder = folder

    def start_bundle(self):
        """Open a file of the region store."""
        self._writer = RegionStoreWriter(self._folder)
        self._progress = WorkerProgress(self._folder)

    def finish_bundle(self):
        """Close the file."""
        self._writer.close()
        self._progress.close()

    def process(self, task: RegionTask) -> Iterator[RegionRef | Reject | ReadCount | ShardLines]:
        """Yield a reference or reject for each image, then the counts."""
        images = lines = 0
        file, shard = task.shard.file.name, task.shard.start
        for item in task.reader.read(task.shard):
            lines = item.line or lines
            image_id = item.id if isinstance(item, ReadError) else item.image.id
            if not _is_within(self._percent, image_id):
                continue
            images += 1
            line = item.line and item.line + task.rows_before
            if isinstance(item, ReadError):
                self._progress.add(item.size, rejected=1)
                yield Reject("image", item.id, item.reason, file, line, shard)
            else:
                self._progress.add(item.size, images=1)
                image = self._with_dtype(item.image)
                yield self._writer.write(image, file, shard, line, task.number)
        yield ReadCount("image", images)
        yield ShardLines(file, shard, lines)

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
    """

    def __init__(self, tasks: Iterable[SentenceTask], percent: tuple[int, int]):
        super().__init__()
        self._tasks = tasks
        self._percent = percent

    def expand(self, pipeline: beam.Pipeline) -> beam.PCollection:
        """Spread the files over the workers and read them."""
        tasks = pipeline | beam.Create(self._tasks) | "Spread" >> beam.Reshuffle()
        return tasks | "Read" >> beam.FlatMap(read_sentences, self._percent)


def read_sentences(
    task: SentenceTask, percent: tuple[int, int]
) -> Iterator[AnnotatedSentence | Reject | ReadCount]:
    """Yield a sentence or reject for each item of a file, then the count."""
    count, file = 0, task.file.name
    for number, item in enumerate(task.reader.read(task.file), start=1):
        if isinstance(item, ReadError):
            count += 1
            yield Reject("sentence", item.id, item.reason, file, item.line or number)
        elif _is_within(percent, item.image_ids[0]):
            count += 1
            yield AnnotatedSentence(item.image_ids, item.sentence, file, number)
    yield ReadCount("sentence", count)


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
    """All that was read under one image id.

    Args:
        image_id: The id.
        regions: Of the image, in the order in which they were read. Only the first is used.
        sentences: About the image.
    """

    image_id: str
    regions: list[RegionRef]
    sentences: list[AnnotatedSentence]

    def rejects(self) -> Iterator[Reject]:
        """Yield repetitions of the image, and the image itself if no sentence is about it."""
        for ref in self.regions[1:]:
            yield _reject_image(ref, "an image with this id was there before")
        if self.regions and not self.sentences:
            yield _reject_image(self.regions[0], "no sentence is about it")


class JoinByImage(beam.PTransform):
    """Join a collection of `RegionRef` and one of `AnnotatedSentence`; emits `ImageGroup`."""

    def expand(self, collections):
        """Group both collections by image id."""
        regions, sentences = collections
        return (
            {
                "regions": regions | "ByImage" >> beam.WithKeys(lambda ref: ref.image_id),
                "sentences": sentences | "ByEachImage" >> beam.FlatMap(by_each_image),
            }
            | beam.CoGroupByKey()
            | "ImageGroup" >> beam.MapTuple(make_image_group)
        )


def by_each_image(annotated: AnnotatedSentence) -> Iterator[tuple[str, AnnotatedSentence]]:
    """Yield the sentence under the id of each of its images."""
    for image_id in dict.fromkeys(annotated.image_ids):
        yield image_id, annotated


def make_image_group(image_id: str, grouped: dict[str, Iterable]) -> ImageGroup:
    """Return a group whose order of regions does not depend on the runner."""
    regions = sorted(grouped["regions"], key=lambda ref: ref.order)
    return ImageGroup(image_id, regions, list(grouped["sentences"]))


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


def make_scene(group: ImageGroup, complete: bool) -> Iterator[JoinedScene | Reject]:
    """Yield the scene of an image, or rejects if its regions or its sentences are missing."""
    yield from group.rejects()
    if group.regions and group.sentences:
        sentences = _ordered(group.sentences)
        yield JoinedScene((group.image_id,), (group.regions[0],), sentences)
    elif complete:
        for annotated in group.sentences:
            yield annotated.reject(group.image_id)


class ImageSide(NamedTuple):
    """An image as one side of a scene of two.

    Args:
        image_ids: The images of the scene.
        side: Position of the image in the pair: 0 for left, 1 for right.
        regions: Its regions; None if they are missing.
        sentence: A sentence about the scene; only on side 0, so that each comes once.
    """

    image_ids: tuple[str, ...]
    side: int
    regions: RegionRef | None
    sentence: AnnotatedSentence | None


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
            pairs | "Pairs" >> _only(JoinedScene),
            pairs | "PairRejects" >> _only(Reject),
            unused,
        ) | beam.Flatten()


def split_sides(group: ImageGroup) -> Iterator[ImageSide | Reject]:
    """Yield an image once for each sentence and each side of its scene that the image is."""
    yield from group.rejects()
    regions = group.regions[0] if group.regions else None
    for annotated in group.sentences:
        for side, image_id in enumerate(annotated.image_ids):
            if image_id == group.image_id:
                sentence = annotated if side == 0 else None
                yield ImageSide(annotated.image_ids, side, regions, sentence)


def make_pair(
    image_ids: tuple[str, ...], sides: Iterable[ImageSide], complete: bool = True
) -> Iterator[JoinedScene | Reject | ImageUse]:
    """Yield the scene of two images, or rejects if one is missing, and the use of each image."""
    sides = list(sides)
    by_side = {side.side: side.regions for side in sides}
    regions = [by_side[side] for side in range(len(image_ids))]
    sentences = [side.sentence for side in sides if side.sentence]
    for ref in regions:
        if ref:
            yield ImageUse(ref, all(regions))
    found = tuple(ref for ref in regions if ref)
    if len(found) == len(regions):
        yield JoinedScene(image_ids, found, _ordered(sentences))
    elif complete:
        missing_image = image_ids[regions.index(None)]
        for annotated in sentences:
            yield annotated.reject(missing_image)


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
    return Reject("image", ref.image_id, reason, ref.file, ref.line, ref.shard)


def _ordered(sentences: Iterable[AnnotatedSentence]) -> tuple[Sentence, ...]:
    # The order of a join depends on the runner; that of a record must not.
    return tuple(sorted((s.sentence for s in sentences), key=lambda s: (len(s.id), s.id, s.text)))


def _is_within(percent: tuple[int, int], image_id: str) -> bool:
    return percent == ALL_PERCENT or percent[0] <= hash_percent(image_id) < percent[1]
