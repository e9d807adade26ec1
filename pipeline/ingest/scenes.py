"""The Beam transform that joins the regions of images and their sentences into scenes."""

import dataclasses
from collections.abc import Collection, Iterable, Iterator, Set
from typing import Any, NamedTuple

import apache_beam as beam
import numpy as np
import tensorflow as tf

from lxmert_tf.data.answer_table import normalize_answer, read_answer_table
from lxmert_tf.data.scene import Scene, SceneImage, Sentence
from lxmert_tf.data.schema import decode_scene, encode_scene, replace_sentences
from lxmert_tf.errors import InputError
from pipeline.ingest.config import IngestConfig
from pipeline.ingest.inputs import RegionTask, SentenceTask, hash_percent, inputs_of
from pipeline.ingest.parsers.text_rows import ShardLines
from pipeline.ingest.progress import WorkerProgress
from pipeline.ingest.region_store import Place, RegionFiles, RegionWriter
from pipeline.ingest.source import ReadError

# What a transform gives besides scenes travels as tagged tuples, not as tagged outputs: some of
# Beam's runners send every element to every tag.
SCENE = "scene"
REJECT = "reject"
# (kind, how many were read), how many lines a unit has, an answer with how often it is given.
READ = "read"
LINES = "lines"
ANSWER = "answer"
_PLACE = "place"
_SAID = "said"
_SIDE = "side"
_SHOWN = "shown"

_SENTENCE_FIELDS = tuple(field.name for field in dataclasses.fields(Sentence))

Tagged = tuple[str, Any]


class JoinedScene(NamedTuple):
    """A scene whose regions still lie in the region store.

    Args:
        key: the ids of its images.
        places: of their regions.
        sentences: in the order of their ids.
    """

    key: tuple[str, ...]
    places: tuple[Place, ...]
    sentences: tuple[Sentence, ...]

    def packed(self) -> tuple:
        """As Beam stores it compactly."""
        return self.key, tuple(map(tuple, self.places)), tuple(map(_values, self.sentences))


def unpacked_scene(scene: tuple) -> JoinedScene:
    """The inverse of `JoinedScene.packed`."""
    key, places, sentences = scene
    return JoinedScene(
        key, tuple(Place(*p) for p in places), tuple(Sentence(*s) for s in sentences)
    )


class Reject(NamedTuple):
    """What was left out and why: a line of `rejects-*.jsonl`.

    Args:
        kind: "image", "sentence" or "answer".
        id: of the image, or of the sentence, as far as it could be read.
        reason: what is wrong.
        file: where it was read; may be empty.
        line: which line, row or item of the file it is, from 1; or None.
        unit: the start of the unit that `line` counts from; None if it is the file's.
        image: that a sentence is about and that is missing.
    """

    kind: str
    id: str
    reason: str
    file: str = ""
    line: int | None = None
    unit: int | None = None
    image: str = ""


class Said(NamedTuple):
    """A sentence with where it was read.

    Args:
        image_ids: what it is about.
        sentence: the words.
        file: where it was read.
        line: which of the file's sentences it is.
    """

    image_ids: tuple[str, ...]
    sentence: Sentence
    file: str
    line: int

    def without_image(self, image_id: str) -> Tagged:
        reason = "its image is missing"
        sentence = self.sentence.id
        return REJECT, Reject("sentence", sentence, reason, self.file, self.line, image=image_id)

    def packed(self) -> tuple:
        """As Beam stores it compactly: plain tuples of texts and numbers, a third of a pickle."""
        return (self.image_ids, _values(self.sentence), self.file, self.line)


def unpacked(said: tuple) -> Said:
    """The inverse of `Said.packed`."""
    image_ids, sentence, file, line = said
    return Said(image_ids, Sentence(*sentence), file, line)


class ReadScenes(beam.PTransform):
    """From the pipeline's start to (SCENE, a packed JoinedScene), (REJECT, Reject) and counts.

    Args:
        config: what is read; one split of it, `records`.
        work_folder: a folder that all workers see, for the regions and for the progress.

    Raises:
        InputError: the source, a format, a split or the extractor does not exist, or a file is
            missing.
    """

    def __init__(self, config: IngestConfig, work_folder):
        super().__init__()
        self.inputs = inputs_of(config)
        if self.inputs.images_per_scene > 1 and config.records.percent != (0, 100):
            raise InputError("percent goes with one image a sentence; NLVR2 has splits of its own")
        self._config = config
        self._table = frozenset(read_answer_table(config.answers)) if config.answers else None
        self._folder = str(work_folder)

    def expand(self, pipeline):
        percent, complete = self._config.records.percent, self.inputs.complete
        store = StoreRegions(self._folder, percent, self._config.feature_dtype)
        regions = (
            pipeline
            | "RegionTasks" >> beam.Create(self.inputs.regions)
            | "SpreadRegions" >> beam.Reshuffle()
            | "StoreRegions" >> beam.ParDo(store)
        )
        read = (
            pipeline
            | "SentenceTasks" >> beam.Create(self.inputs.sentences)
            | "SpreadSentences" >> beam.Reshuffle()
            | "ReadSentences" >> beam.FlatMap(read_sentences, percent)
        )
        sentences, answers = self._known_answers(read)
        grouped = {
            "places": regions | "Places" >> _only(_PLACE),
            "said": sentences | "Said" >> _only(_SAID) | "ByImage" >> beam.FlatMap(by_image),
        } | "JoinByImage" >> beam.CoGroupByKey()
        if self.inputs.images_per_scene == 1:
            scenes = [grouped | "MakeScenes" >> beam.FlatMap(make_scene, complete)]
        else:
            sides = grouped | "Sides" >> beam.FlatMap(make_sides)
            pairs = sides | "SidesAlone" >> _only(_SIDE) | "JoinByScene" >> beam.GroupByKey()
            made = pairs | "MakePairs" >> beam.FlatMap(make_pair, complete)
            shown = made | "Shown" >> _only(_SHOWN) | "ShownByImage" >> beam.GroupByKey()
            scenes = [
                sides | "SideRejects" >> _without(_SIDE),
                made | "Pairs" >> _without(_SHOWN),
                shown | "NeverShown" >> beam.FlatMap(never_shown),
            ]
        others = [
            regions | "AboutRegions" >> _without(_PLACE),
            read | "AboutSentences" >> _without(_SAID),
            sentences | "AboutAnswers" >> _without(_SAID),
        ]
        return [*scenes, *others, *answers] | "Together" >> beam.Flatten()

    def _known_answers(self, read):
        """The sentences with the answers that are kept, and the table if it is made here."""
        said = read | "SaidAtFirst" >> _only(_SAID)
        normalize, least = self._config.normalize_answers, self._config.min_answer_count
        if least is None:
            return said | "KeepAnswers" >> beam.FlatMap(known_answers, self._table, normalize), []
        counts = (
            said
            | "EachAnswer" >> beam.FlatMap(each_answer, normalize)
            | "CountAnswers" >> beam.CombinePerKey(sum)
            | "OftenEnough" >> beam.Filter(lambda counted: counted[1] >= least)
        )
        table = beam.pvalue.AsDict(counts)
        kept = said | "KeepAnswers" >> beam.FlatMap(known_answers, table, normalize)
        return kept, [counts | "Table" >> beam.Map(lambda counted: (ANSWER, counted))]


class StoreRegions(beam.DoFn):
    """Reads parts of region files, as (_PLACE, (image id, place)), rejects and counts.

    Args:
        folder: where the regions go, and how far it is.
        percent: which images, by the hash of their ids.
        dtype: "float16" or "float32".
    """

    def __init__(self, folder: str, percent: tuple[int, int], dtype: str):
        self._folder = folder
        self._percent = percent
        self._dtype = np.dtype(dtype)

    def start_bundle(self):
        self._writer = RegionWriter(self._folder)
        self._progress = WorkerProgress(self._folder)

    def finish_bundle(self):
        self._writer.close()
        self._progress.close()

    def process(self, task: RegionTask) -> Iterator[Tagged]:
        images = line = 0
        file, unit = task.unit.file.name, task.unit.start
        for item in task.reader.read(task.unit):
            line = item.line or line
            image_id = item.id if isinstance(item, ReadError) else item.image.id
            if not _within(self._percent, image_id):
                continue
            images += 1
            if isinstance(item, ReadError):
                self._progress.add(item.size, rejected=1)
                number = item.line and item.line + task.rows_before
                yield REJECT, Reject("image", item.id, item.reason, file, number, unit)
            else:
                self._progress.add(item.size, images=1)
                order = (task.order, item.line + task.rows_before)
                place = self._writer.write(self._cast(item.image), order, file, unit)
                yield _PLACE, (image_id, tuple(place))
        yield READ, ("image", images)
        yield LINES, ShardLines(file, unit, line)

    def _cast(self, image: SceneImage) -> SceneImage:
        features = image.regions.features
        if features.dtype != self._dtype:
            # Rounds as NumPy does, in a fifth of its time.
            features = tf.cast(features, self._dtype).numpy()
        return dataclasses.replace(
            image, regions=dataclasses.replace(image.regions, features=features)
        )


def read_sentences(task: SentenceTask, percent: tuple[int, int]) -> Iterator[Tagged]:
    """The sentences of a file, as (_SAID, a packed Said), rejects, and how many there are."""
    count, file = 0, task.file.name
    for number, item in enumerate(task.reader.read(task.file), start=1):
        if isinstance(item, ReadError):
            count += 1
            yield REJECT, Reject("sentence", item.id, item.reason, file, item.line or number)
        elif _within(percent, item.image_ids[0]):
            count += 1
            yield _SAID, Said(item.image_ids, item.sentence, file, number).packed()
    yield READ, ("sentence", count)


def each_answer(said: tuple, normalize: bool) -> Iterator[tuple[str, int]]:
    """(answer, 1) for each answer of a packed sentence."""
    sentence, _ = keep_answers(unpacked(said).sentence, None, normalize)
    for answer, _ in sentence.answers:
        yield answer, 1


def known_answers(said: tuple, table: Collection[str] | None, normalize: bool) -> Iterator[Tagged]:
    """The packed sentence with the answers that the table has, and what was left out."""
    said = unpacked(said)
    sentence, unknown = keep_answers(said.sentence, table, normalize)
    yield _SAID, said._replace(sentence=sentence).packed()
    for _ in unknown:
        reason = "the answer is not in the answer table"
        yield REJECT, Reject("answer", sentence.id, reason, said.file, said.line)


def by_image(said: tuple) -> Iterator[tuple[str, tuple]]:
    """The packed sentence under each of its images."""
    for image_id in dict.fromkeys(said[0]):
        yield image_id, said


def make_scene(group: tuple[str, dict[str, Iterable]], complete: bool) -> Iterator[Tagged]:
    """Makes a scene of what was joined under one image id.

    Args:
        group: (image id, {"places": places, "said": packed sentences}).
        complete: whether a sentence without its image is told of.
    """
    image_id, parts = group
    place, said = yield from _image_and_sentences(image_id, parts)
    if place and said:
        yield SCENE, JoinedScene((image_id,), (place,), _in_order(said)).packed()
    elif complete:
        for one in said:
            yield one.without_image(image_id)


def make_sides(group: tuple[str, dict[str, Iterable]]) -> Iterator[Tagged]:
    """An image as a side of each of its scenes: (_SIDE, (key, (side, place, packed sentence)))."""
    image_id, parts = group
    place, said = yield from _image_and_sentences(image_id, parts)
    for one in said:
        for side, other in enumerate(one.image_ids):
            if other == image_id:
                # Each sentence comes along once, with the first side.
                told = one.packed() if side == 0 else None
                yield _SIDE, (one.image_ids, (side, place and tuple(place), told))


def make_pair(group, complete: bool) -> Iterator[Tagged]:
    """Makes a scene of its sides; and (_SHOWN, (image id, (whether it is in one, place)))."""
    key, sides = group[0], list(group[1])
    places = [dict((side, place) for side, place, _ in sides)[side] for side in range(len(key))]
    said = [unpacked(one) for _, _, one in sides if one]
    for image_id, place in zip(key, places):
        if place:
            yield _SHOWN, (image_id, (all(places), place))
    if all(places):
        places = tuple(Place(*place) for place in places)
        yield SCENE, JoinedScene(key, places, _in_order(said)).packed()
    elif complete:
        for one in said:
            yield one.without_image(key[places.index(None)])


def never_shown(group: tuple[str, Iterable[tuple[bool, tuple]]]) -> Iterator[Tagged]:
    """Rejects an image whose every scene lacks the other image."""
    image_id, shown = group[0], list(group[1])
    if not any(is_shown for is_shown, _ in shown):
        yield _image_reject(image_id, "the image beside it is missing", Place(*shown[0][1]))


def _image_and_sentences(image_id: str, parts):
    """Yields what is left out; returns the image's place (or None) and its sentences."""
    places = sorted((Place(*place) for place in parts["places"]), key=lambda place: place.order)
    said = [unpacked(one) for one in parts["said"]]
    for place in places[1:]:
        yield _image_reject(image_id, "an image with this id was there before", place)
    if places and not said:
        yield _image_reject(image_id, "no sentence is about it", places[0])
    return places[0] if places else None, said


def _image_reject(image_id: str, reason: str, place: Place) -> Tagged:
    return REJECT, Reject("image", image_id, reason, place.source, place.order[1], place.unit)


def _in_order(said: Iterable[Said]) -> tuple[Sentence, ...]:
    # A join gives them in any order; the record must not depend on it.
    sentences = (one.sentence for one in said)
    return tuple(sorted(sentences, key=lambda s: (len(s.id), s.id, s.text)))


def _values(sentence: Sentence) -> tuple:
    return tuple(getattr(sentence, name) for name in _SENTENCE_FIELDS)


def _within(percent: tuple[int, int], image_id: str) -> bool:
    return percent == (0, 100) or percent[0] <= hash_percent(image_id) < percent[1]


def _only(tag: str) -> beam.PTransform:
    return beam.FlatMap(lambda element: [element[1]] if element[0] == tag else [])


def _without(tag: str) -> beam.PTransform:
    return beam.Filter(lambda element: element[0] != tag)


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


def records_of(joined: JoinedScene, store: RegionFiles, layout: str) -> Iterator[bytes]:
    """The serialized scene, or one for each of its sentences.

    Args:
        joined: with the places of its regions.
        store: reads them.
        layout: "grouped" or "flat".
    """
    images = [store.read(place) for place in joined.places]
    if len(images) == 1:
        [serialized] = images
    else:
        sides = tuple(image for one in images for image in decode_scene(one).images)
        serialized = encode_scene(Scene(sides, ()))
    groups = [joined.sentences] if layout == "grouped" else [(s,) for s in joined.sentences]
    for sentences in groups:
        yield replace_sentences(serialized, sentences)
