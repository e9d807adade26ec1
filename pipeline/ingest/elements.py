"""The elements of the collections that the transforms of ingestion pass on.

A transform emits elements of several classes into one collection, and `only` selects one of them.
Tagged outputs would be the usual way, but Beam's Dask runner merges all tags.
"""

import dataclasses
import itertools
import operator
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import apache_beam as beam

from lxmert_tf.data.scene import Sentence
from pipeline.ingest.region_store import RegionRef

MISSING = "its image is missing"
AMBIGUOUS = "the name of its image is ambiguous"
# The kinds of `ReadCount` for images that only share a number with the name in annotations, and for
# images that are left out because no sentence is about them.
BY_NUMBER = "image found by number"
UNUSED = "image without a sentence"
# Without the names of the fields, pickled sentences take a third less (a VQA question).
_sentence_values = operator.attrgetter(*(field.name for field in dataclasses.fields(Sentence)))


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
        values = _sentence_values(self.sentence)
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

    def __reduce__(self):
        sentences = tuple(map(_sentence_values, self.sentences))
        return _joined_scene, (self.image_ids, self.regions, sentences)


def _joined_scene(image_ids, regions, sentences) -> JoinedScene:
    return JoinedScene(image_ids, regions, tuple(itertools.starmap(Sentence, sentences)))


def sum_counts(elements: Iterable[Any]) -> Iterator[Any]:
    """Yield elements, and at the end one `ReadCount` of each kind in place of all."""
    totals: dict[str, ReadCount] = {}
    for element in elements:
        if isinstance(element, ReadCount):
            known = totals.get(element.kind, element._replace(count=0))
            example = min(known.example, element.example)
            totals[element.kind] = ReadCount(element.kind, known.count + element.count, example)
        else:
            yield element
    yield from totals.values()


def only(kind: type) -> beam.PTransform:
    """Return a transform that selects the elements of a class."""
    return beam.Filter(lambda element: isinstance(element, kind)).with_output_types(kind)


def reject_image(ref: RegionRef, reason: str) -> Reject:
    """Return the reject of an image whose regions were stored."""
    return Reject("image", ref.image_id, reason, ref.file, ref.line, ref.piece)


def ordered(sentences: Iterable[AnnotatedSentence]) -> tuple[Sentence, ...]:
    """Return sentences in the order of their ids; that of a join depends on the runner."""
    return tuple(sorted((s.sentence for s in sentences), key=lambda s: (len(s.id), s.id, s.text)))
