"""What an ingestion reads: the files that its config names, cut into parts for the workers."""

import dataclasses
import hashlib
import itertools
from typing import Any

from lxmert_tf.errors import InputError
from pipeline.ingest.config import IngestConfig, PartConfig, RegionFiles, SplitConfig
from pipeline.ingest.files import InputFile, find_inputs
from pipeline.ingest.readers.data_set import DataSet, DataSetPicture, DataSetSentences
from pipeline.ingest.readers.pictures import Pictures
from pipeline.ingest.registry import (
    make_data_set,
    make_region_reader,
    make_sentence_reader,
)
from pipeline.ingest.source import RegionReader, SentenceReader, Shard


@dataclasses.dataclass(frozen=True)
class RegionTask:
    """A part of a region file.

    Args:
        reader: reads it.
        unit: the part.
        order: its place among all tasks: of two images with one id the earlier one holds.
        rows_before: rows of the file that come before its first unit and are not wanted.
    """

    reader: RegionReader
    unit: Shard
    order: int
    rows_before: int = 0


@dataclasses.dataclass(frozen=True)
class SentenceTask:
    """An annotation file.

    Args:
        reader: reads it.
        file: the file.
    """

    reader: SentenceReader
    file: InputFile


@dataclasses.dataclass(frozen=True)
class Inputs:
    """All that one split is made of.

    Args:
        regions, sentences: what is read.
        images_per_scene: 1, or 2 for NLVR2.
        complete: whether every sentence's image should be there: not in a trial with few images.
    """

    regions: tuple[RegionTask, ...]
    sentences: tuple[SentenceTask, ...]
    images_per_scene: int
    complete: bool

    @property
    def has_pictures(self) -> bool:
        """Whether an extractor makes regions."""
        return any(isinstance(task.reader, DataSetPicture | Pictures) for task in self.regions)

    @property
    def size(self) -> int:
        """Bytes of the region files, roughly."""
        return sum(task.unit.size for task in self.regions)


def inputs_of(config: IngestConfig) -> Inputs:
    """Finds and cuts the files of `config.records`.

    Raises:
        InputError: the source or a format is not known, or a file is missing or of another format.
    """
    if config.source is not None:
        return _of_data_set(make_data_set(config.source), config.records, config.extractor)
    parts = [config.parts[name] for name in config.records.names]
    sentences = tuple(task for part in parts for task in _sentence_tasks(part))
    per_scene = {task.reader.images_per_scene for task in sentences}
    if len(per_scene) > 1:
        raise InputError("sentences about one image and about two do not go into one split")
    return Inputs(
        tuple(_region_tasks(parts, config)), sentences, per_scene.pop(), not config.records.limit
    )


def check_split(data_set: DataSet, split: str) -> None:
    """Raises InputError unless the data set has that split."""
    if split not in data_set.splits:
        raise InputError(
            f"{data_set.name} has no split {split!r}; there are {', '.join(data_set.splits)}"
        )


def check_scenes(config: IngestConfig, reader: str, images: int) -> None:
    """Raises InputError unless the sentences of all splits are about so many images.

    Args:
        config: with `splits`.
        reader: what reads the scenes, for the error.
        images: that it wants in a scene.
    """
    number = "1 image" if images == 1 else f"{images} images"
    if config.source and images != 1:
        raise InputError(f"{reader} reads scenes of {number}; those of {config.source} have 1")
    wanted = {name for split in config.splits.values() for name in split.names}
    for name in sorted(wanted & config.parts.keys()):
        for files in config.parts[name].sentences:
            found = make_sentence_reader(files.format).images_per_scene
            if found != images:
                raise InputError(
                    f"{reader} reads scenes of {number}; those of parts.{name} ({files.format}) "
                    f"have {found}"
                )


def hash_percent(image_id: str) -> int:
    """A number from 0 to 99 that depends on the image's id alone: which split it falls into."""
    return int.from_bytes(hashlib.sha256(image_id.encode()).digest()[:8], "big") % 100


def _of_data_set(data_set: DataSet, records: SplitConfig, extractor: dict[str, Any]) -> Inputs:
    low, high = records.percent
    regions: list[RegionTask] = []
    for split in records.names:
        check_split(data_set, split)
        for image in data_set.images(split):
            if low <= hash_percent(image.image_id) < high:
                reader = DataSetPicture(image.image_id, extractor)
                regions.append(RegionTask(reader, Shard(InputFile(image.path, 0)), len(regions)))
    sentences = tuple(
        SentenceTask(DataSetSentences(data_set, split), InputFile(data_set.name, 0))
        for split in records.names
    )
    limit = records.limit
    complete = limit is None or limit >= len(regions)
    return Inputs(tuple(regions[:limit]), sentences, 1, complete)


def _sentence_tasks(part: PartConfig):
    for files in part.sentences:
        reader = make_sentence_reader(files.format)
        for file in find_inputs(files.files):
            if reader.reads(file):
                yield SentenceTask(reader, file)


def _region_tasks(parts: list[PartConfig], config: IngestConfig):
    order, left = itertools.count(), config.records.limit
    for files in (files for part in parts for files in part.regions):
        for file in find_inputs(files.files):
            if left == 0:
                return
            reader = make_region_reader(files.format, file, config.extractor)
            rows = files.rows
            if left is not None:
                rows, left = _limited(reader, file, files, left)
            for unit in reader.units(file, rows):
                yield RegionTask(reader, unit, next(order), rows[0])


def _limited(reader: RegionReader, file: InputFile, files: RegionFiles, left: int):
    """The rows of a trial, and how many images may still follow."""
    first, last = files.rows
    last = first + left if last is None else min(last, first + left)
    # Counted by reading them: a trial has few.
    read = (item for unit in reader.units(file, (first, last)) for item in reader.read(unit))
    return (first, last), left - sum(1 for _ in read)
