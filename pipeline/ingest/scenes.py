"""The Beam transform that joins the regions of images and their sentences into scene records."""

import collections
import dataclasses
import hashlib
import itertools
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import apache_beam as beam
import numpy as np

from lxmert_tf.data.scene import Scene, SceneImage, Sentence
from lxmert_tf.data.schema import encode_scene
from lxmert_tf.errors import InputError
from lxmert_tf.regions.extractor import Regions
from lxmert_tf.regions.image import read_image
from lxmert_tf.regions.registry import make_extractor
from pipeline.ingest.config import SplitConfig
from pipeline.ingest.sources.registry import make_source
from pipeline.ingest.sources.source import ImageFile, Source

# What a transform gives besides records travels as tagged tuples, not as tagged outputs: some of
# Beam's runners send every element to every tag.
RECORD = "record"
REJECT = "reject"


class Record(NamedTuple):
    """A serialized scene, and what its place in a file is decided by."""

    image_id: str
    position: int
    sentences: int
    serialized: bytes


class ReadScenes(beam.PTransform):
    """From the pipeline's start to (RECORD, Record) and (REJECT, {...}).

    A reject is a dict of `kind` ("image" or "sentence"), `id`, `file` and `reason`.

    Args:
        source_name: which data set.
        records: which part of it, in which layout.
        extractor: the config of what makes regions of its pictures.

    Raises:
        InputError: the source, its split or the extractor does not exist.
    """

    def __init__(self, source_name: str, records: SplitConfig, extractor: dict[str, Any]):
        super().__init__()
        self._source = make_source(source_name)
        make_extractor(extractor)
        check_split(self._source, records.split)
        self._records = records
        self._extractor = extractor

    def expand(self, pipeline):
        everything = list(self._source.images(self._records.split))
        images = _chosen(everything, self._records)
        chosen = {image.image_id for image in images}
        unchosen = {image.image_id for image in everything} - chosen
        # Sentences of images that belong to another split are not lost; those of images that do
        # not exist are kept, so that the join can reject them.
        sentences = collections.defaultdict(list)
        for image_id, sentence in self._source.sentences(self._records.split):
            if image_id not in unchosen:
                sentences[image_id].append(sentence)
        regions = (
            pipeline
            | "Images" >> beam.Create(images)
            | "Spread" >> beam.Reshuffle()
            | "ExtractRegions" >> beam.ParDo(ExtractRegions(self._extractor))
        )
        extracted = regions | "Extracted" >> beam.Filter(_has_tag, RECORD) | beam.Values()
        unreadable = regions | "Unreadable" >> beam.Filter(_has_tag, REJECT)
        texts = pipeline | "Sentences" >> beam.Create(sentences.items())
        joined = (
            {"images": extracted, "sentences": texts}
            | "JoinByImage" >> beam.CoGroupByKey()
            | "MakeScenes" >> beam.FlatMap(make_records, self._records.layout)
        )
        return (joined, unreadable) | "Together" >> beam.Flatten()


def check_split(source: Source, split: str) -> None:
    """Raises InputError unless the source has that split."""
    if split not in source.splits:
        raise InputError(
            f"{source.name} has no split {split!r}; there are {', '.join(source.splits)}"
        )


def hash_percent(image_id: str) -> int:
    """A number from 0 to 99 that depends on the image's id alone: which split it falls into."""
    return int.from_bytes(hashlib.sha256(image_id.encode()).digest()[:8], "big") % 100


class ExtractRegions(beam.DoFn):
    """Reads a picture and makes its regions, as (RECORD, (image id, SceneImage)) or a reject."""

    def __init__(self, extractor_config: dict[str, Any]):
        self._config = extractor_config

    def setup(self):
        self._extractor = make_extractor(self._config)

    def process(self, image: ImageFile) -> Iterator[tuple[str, Any]]:
        try:
            pixels = read_image(image.path)
        except InputError as error:
            yield reject("image", image.image_id, image.path, str(error))
            return
        regions = self._extractor.extract(pixels)
        height, width, _ = pixels.shape
        scene_image = SceneImage(image.image_id, height, width, _half_precision(regions))
        yield RECORD, (image.image_id, scene_image)


def make_records(
    group: tuple[str, dict[str, Iterable]], layout: str
) -> Iterator[tuple[str, Record | dict[str, str]]]:
    """Makes records of what was joined under one image id.

    Args:
        group: (image id, {"images": SceneImages, "sentences": lists of Sentences}).
        layout: "grouped" or "flat".

    Yields:
        (RECORD, Record) or (REJECT, {...}).
    """
    image_id, parts = group
    images, sentences = list(parts["images"]), _by_id(itertools.chain(*parts["sentences"]))
    for duplicate in images[1:]:
        yield reject("image", duplicate.id, "", "an image with this id was there before")
    if not images:
        for sentence in sentences:
            yield reject("sentence", sentence.id, "", f"its image {image_id} is missing")
        return
    if not sentences:
        yield reject("image", image_id, "", "no sentence is about it")
        return
    scene = Scene((images[0],), tuple(sentences))
    for position, part in enumerate([scene] if layout == "grouped" else scene.flat()):
        yield RECORD, Record(image_id, position, len(part.sentences), encode_scene(part))


def reject(kind: str, item_id: str, file: str, reason: str) -> tuple[str, dict[str, str]]:
    """What was left out and why, as one line of `rejects-*.jsonl`."""
    return REJECT, {"kind": kind, "id": item_id, "file": file, "reason": reason}


def _has_tag(element: tuple[str, Any], tag: str) -> bool:
    return element[0] == tag


def _chosen(images: Iterable[ImageFile], records: SplitConfig) -> list[ImageFile]:
    low, high = records.percent
    images = [image for image in images if low <= hash_percent(image.image_id) < high]
    return images[: records.limit]


def _by_id(sentences: Iterable[Sentence]) -> list[Sentence]:
    # A join gives them in any order; the record must not depend on it.
    return sorted(sentences, key=lambda sentence: (len(sentence.id), sentence.id))


def _half_precision(regions: Regions) -> Regions:
    return dataclasses.replace(regions, features=regions.features.astype(np.float16))
