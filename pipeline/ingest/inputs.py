"""The inputs of an ingestion: the files that a configuration names, split into tasks."""

import collections
import dataclasses
import fnmatch
import hashlib
import itertools
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

from lxmert_tf.errors import InputError
from pipeline.ingest.config import (
    ALL_PERCENT,
    IngestConfig,
    PartConfig,
    RegionFiles,
    SplitConfig,
)
from pipeline.ingest.files import InputFile, find_inputs
from pipeline.ingest.image_names import (
    PICTURE_ENDINGS,
    IdRegex,
    OtherImages,
    distinct_ids,
    distinct_labels,
    image_key,
    name_of_file,
    parse_name,
)
from pipeline.ingest.interfaces import Piece, RegionReader, SentenceReader
from pipeline.ingest.readers.data_set import DataSet, DataSetPicture, DataSetSentences
from pipeline.ingest.readers.pictures import Pictures
from pipeline.ingest.registry import (
    detect_format,
    is_region_file,
    is_sentence_file,
    known_endings,
    make_data_set,
    make_region_reader,
    make_sentence_reader,
)


@dataclasses.dataclass(frozen=True)
class RegionTask:
    """A part of a region file to read.

    Args:
        reader: Reads it.
        piece: The part.
        number: Position among all tasks. Of two images with one id, that of the earlier task is
            kept.
        image_id: Id of the only image of the file; empty if the reader gives ids.
    """

    reader: RegionReader
    piece: Piece
    number: int
    image_id: str = ""


@dataclasses.dataclass(frozen=True)
class SentenceTask:
    """An annotation file to read.

    Args:
        reader: Reads it.
        file: The file.
    """

    reader: SentenceReader
    file: InputFile


@dataclasses.dataclass(frozen=True)
class Inputs:
    """All inputs of one split.

    Args:
        regions: Parts of region files.
        sentences: Annotation files.
        images_per_scene: 1, or 2 for NLVR2.
        complete: Whether the image of every sentence is expected; False for a trial that reads a
            few images.
        ignored: Names of files that patterns found, but that are of another kind.
        left_out: Images in other folders than those of the split. Sentences about them are left
            out, too.
    """

    regions: tuple[RegionTask, ...]
    sentences: tuple[SentenceTask, ...]
    images_per_scene: int
    complete: bool
    ignored: tuple[str, ...] = ()
    left_out: OtherImages = dataclasses.field(default_factory=OtherImages)

    @property
    def has_pictures(self) -> bool:
        """True if an extractor makes the regions."""
        return any(isinstance(task.reader, DataSetPicture | Pictures) for task in self.regions)

    @property
    def size(self) -> int:
        """Approximate bytes of the region files."""
        return sum(task.piece.size for task in self.regions)


def inputs_of(config: IngestConfig) -> Inputs:
    """Find the files of `config.records` and split them into tasks.

    Raises:
        InputError: The data set or a format is unknown, no files match a pattern, a file has
            another format, the sentences of the parts are about different numbers of images, or
            none of the images are in a folder of the split.
    """
    records = config.records
    assert records is not None  # configurations of several splits are read split by split
    if config.source is not None:
        return _data_set_inputs(make_data_set(config.source), records, config.extractor)
    parts = [config.parts[name] for name in records.names]
    ignored: list[str] = []
    sentences = _labeled(task for part in parts for task in _sentence_tasks(part, ignored))
    images_per_scene = {task.reader.images_per_scene for task in sentences}
    if len(images_per_scene) > 1:
        raise InputError("one split cannot have sentences about one image and about two images")
    if images_per_scene == {2} and records.percent != ALL_PERCENT:
        raise InputError("percent needs sentences about one image; use the splits of NLVR2")
    found = [
        region_file
        for part in parts
        for files in part.regions
        for region_file in _region_files(files, config.extractor, ignored)
    ]
    found, left_out = _split_by_folder(found, records.folders, IdRegex(config.image_id_regex))
    return Inputs(
        tuple(_region_tasks(found, records.limit)),
        sentences,
        images_per_scene.pop(),
        complete=records.limit is None,
        ignored=tuple(dict.fromkeys(ignored)),
        left_out=left_out,
    )


def check_split(data_set: DataSet, split: str) -> None:
    """Raise an InputError if a data set does not have a split."""
    if split not in data_set.splits:
        raise InputError(
            f"{data_set.name} has no split {split!r}; it must be one of "
            f"{', '.join(data_set.splits)}"
        )


def check_scenes(config: IngestConfig, reader: str, images: int) -> None:
    """Check that the sentences of all splits are about a number of images.

    Args:
        config: The ingestion, with `splits`.
        reader: Name of what will read the scenes, for the message.
        images: Number of images that it needs in a scene.

    Raises:
        InputError: A part has sentences about another number of images.
    """
    needed = f"{reader} needs scenes of {images} image{'s' if images > 1 else ''}"
    if config.source and images != 1:
        raise InputError(f"{needed}; those of {config.source} have 1")
    names = {name for split in config.splits.values() for name in split.names}
    for name in sorted(names & config.parts.keys()):
        for files in config.parts[name].sentences:
            found = make_sentence_reader(files.format).images_per_scene
            if found != images:
                raise InputError(f"{needed}; those of parts.{name} ({files.format}) have {found}")


def hash_percent(image_id: str) -> int:
    """Return a number from 0 to 99 to select a split; it is the same for all names of an image."""
    return int.from_bytes(hashlib.sha256(image_key(image_id).encode()).digest()[:8], "big") % 100


def is_within(percent: tuple[int, int], image_id: str) -> bool:
    """Return whether `hash_percent` of an image is in a range, whose end is excluded."""
    return percent == ALL_PERCENT or percent[0] <= hash_percent(image_id) < percent[1]


def _data_set_inputs(data_set: DataSet, records: SplitConfig, extractor: dict[str, Any]) -> Inputs:
    if records.folders:
        raise InputError(f"folders needs files; the data set {data_set.name} has none")
    regions: list[RegionTask] = []
    for split in records.names:
        check_split(data_set, split)
        for image in data_set.images(split):
            if is_within(records.percent, image.image_id):
                reader = DataSetPicture(image.image_id, extractor)
                regions.append(RegionTask(reader, Piece(InputFile(image.path, 0)), len(regions)))
    sentences = tuple(
        SentenceTask(DataSetSentences(data_set, split), InputFile(data_set.name, 0))
        for split in records.names
    )
    limit = records.limit
    complete = limit is None or limit >= len(regions)
    return Inputs(tuple(regions[:limit]), sentences, 1, complete)


def _sentence_tasks(part: PartConfig, ignored: list[str]) -> Iterator[SentenceTask]:
    for files in part.sentences:
        reader = make_sentence_reader(files.format)
        found = find_inputs(files.files)
        ignored += [file.name for file in found if not is_sentence_file(file)]
        chosen = (file for file in found if is_sentence_file(file) and reader.reads(file))
        tasks = [SentenceTask(reader, file) for file in chosen]
        if not tasks:
            raise InputError(f"{' '.join(files.files)}: no {files.format} sentences in these files")
        yield from tasks


def _labeled(tasks: Iterable[SentenceTask]) -> tuple[SentenceTask, ...]:
    tasks = tuple(tasks)
    labels = distinct_labels(task.file.name for task in tasks)
    return tuple(
        dataclasses.replace(task, file=dataclasses.replace(task.file, label=labels[task.file.name]))
        for task in tasks
    )


class _RegionFile(NamedTuple):
    """A region file that was found.

    Args:
        reader: Reads it.
        file: The file.
        rows: The range of rows to read.
    """

    reader: RegionReader
    file: InputFile
    rows: tuple[int, int | None]


def _region_files(
    files: RegionFiles, extractor: dict[str, Any], ignored: list[str]
) -> Iterator[_RegionFile]:
    names = [files.format] if files.format else []
    readers = {name: make_region_reader(name, extractor) for name in names}
    found = find_inputs(files.files)
    chosen = [file for file in found if is_region_file(files.format, file)]
    ignored += sorted({file.name for file in found} - {file.name for file in chosen})
    for file in chosen:
        name = files.format or detect_format(file)
        if name not in readers:
            readers[name] = make_region_reader(name, extractor)
        yield _RegionFile(readers[name], file, files.rows)
    if not chosen:
        raise InputError(
            f"{' '.join(files.files)}: none of the files, such as {found[0].name}, is a region "
            f"file; their endings are {known_endings()}"
        )


def _split_by_folder(
    found: list[_RegionFile], folders: Iterable[str | int], id_regex: IdRegex
) -> tuple[list[_RegionFile], OtherImages]:
    """Return the files that are in folders, and the images that are in others."""
    patterns = list(map(str, folders))
    if not patterns:
        return found, OtherImages()
    inside, used = [], set()
    names: dict[bool, list[str]] = {True: [], False: []}
    for region_file in found:
        if not region_file.reader.named_by_file:
            raise InputError(
                f"folders needs files of one image each, such as pictures; {region_file.file.name} "
                "has several"
            )
        name = name_of_file(region_file.file.name)
        folder = "".join(parse_name(name).folders[-1:])
        matching = [pattern for pattern in patterns if fnmatch.fnmatchcase(folder, pattern)]
        used.update(matching)
        if matching:
            inside.append(region_file)
        names[bool(matching)].append(id_regex(name))
    for pattern in patterns:
        if pattern not in used:
            raise InputError(f"folders: no images are in a folder {pattern!r}")
    return inside, OtherImages(names[True], names[False])


def _region_tasks(found: list[_RegionFile], limit: int | None) -> Iterator[RegionTask]:
    ids = _ids_of_images(file.name for reader, file, _ in found if reader.named_by_file)
    number = itertools.count()
    for reader, file, rows in found:
        if limit == 0:
            return
        if limit is not None:
            rows = _first_rows(rows, limit)
            limit -= _count_images(reader, file, rows)
        image_id = ids[file.name] if reader.named_by_file else ""
        for piece in reader.pieces(file, rows):
            yield RegionTask(reader, piece, next(number), image_id)


def _ids_of_images(paths: Iterable[str]) -> dict[str, str]:
    """Return the ids of files of one image each."""
    names = {path: name_of_file(path) for path in paths}
    counts = collections.Counter(names.values())
    for path, name in names.items():
        # Of `scan.001` and `scan.002`, the number is part of the name.
        if counts[name] > 1 and not _has_known_ending(path):
            names[path] = path
    ids = distinct_ids(names.values())
    return {path: ids[name] for path, name in names.items()}


def _has_known_ending(path: str) -> bool:
    return path.lower().removesuffix(".gz").endswith((".npy", ".npz", *PICTURE_ENDINGS))


def _first_rows(rows: tuple[int, int | None], limit: int) -> tuple[int, int]:
    first, last = rows
    return first, first + limit if last is None else min(last, first + limit)


def _count_images(reader: RegionReader, file: InputFile, rows: tuple[int, int]) -> int:
    # Reads them, which is cheap for the few images of a trial.
    return sum(1 for piece in reader.pieces(file, rows) for _ in reader.read(piece))
