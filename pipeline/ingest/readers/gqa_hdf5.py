"""GQA's `gqa_objects_info.json`: which row of which file is which image.

{image id: {"width", "height", "objectsNum", "idx", "file"}} for all files `gqa_objects_N.h5`,
beside which it lies (https://cs.stanford.edu/people/dorarad/gqa).

GQA's object features: `gqa_objects_N.h5` with `gqa_objects_info.json` beside it.

The HDF5 files hold `features` float [n, 100, 2048] and `bboxes` float [n, 100, 4], x1 y1 x2 y2 in
pixels; of each image's rows only the first `objectsNum` are regions, the others are padding.
"""

import contextlib
import functools
import json
import math
import os
import re
from collections.abc import Iterator
from typing import Any, NamedTuple

import h5py
from apache_beam.io.filesystem import BeamIOError
from apache_beam.io.filesystems import FileSystems

from lxmert_tf.errors import InputError
from pipeline.ingest.checks.region_checks import RegionFault, checked_image
from pipeline.ingest.files import READ_ERRORS, InputFile, open_input
from pipeline.ingest.interfaces import ReadError, ReadImage, RegionReader, Shard

_NUMBERED = re.compile(r"(.*)_([0-9]{1,6})\.(?:h5|hdf5)", re.DOTALL)


class GqaEntry(NamedTuple):
    """What the file says of one image, as it stands there."""

    image_id: str
    width: Any
    height: Any
    count: Any

    def sizes(self) -> tuple[int, int, int]:
        """Width, height in pixels and the number of regions; RegionFault if it has none."""
        sizes = (self.width, self.height, self.count)
        if any(type(size) is not int for size in sizes):
            raise RegionFault("the info file has no whole width, height or objectsNum for it")
        return sizes


def gqa_entries(file: InputFile) -> dict[int, list[GqaEntry]]:
    """The images of one file `NAME_N.h5` by their row, from `NAME_info.json` beside it.

    An entry without a whole `file` or `idx` is for no row; its row will have no entry.

    Raises:
        InputError: the file's name has no number, or the info file is missing or no such JSON.
    """
    match = _NUMBERED.fullmatch(file.path)
    if not match:
        raise InputError(f"{file.name}: the name must be as GQA's, gqa_objects_0.h5: it is counted")
    path = f"{match[1]}_info.json"
    return _read(path, _changed(path)).get(int(match[2]), {})


def _changed(path: str) -> float:
    try:
        return FileSystems.last_updated(path)
    except (OSError, BeamIOError):
        # Why it cannot be read is told when it is opened.
        return 0.0


@functools.lru_cache(maxsize=1)
def _read(path: str, changed: float) -> dict[int, dict[int, list[GqaEntry]]]:
    # 149,000 entries for a thousand shards: parsed once per worker, and again when they changed.
    try:
        with open_input(InputFile(path, 0)) as content:
            info = json.load(content)
    except READ_ERRORS as error:
        raise InputError(f"{path}: damaged or cut short") from error
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path}: not JSON, or cut short") from error
    if not isinstance(info, dict):
        raise InputError(f"{path}: not a JSON object of image ids, as GQA's info file is")
    files: dict[int, dict[int, list[GqaEntry]]] = {}
    for image_id, entry in info.items():
        if not isinstance(entry, dict):
            continue
        number, row = entry.get("file"), entry.get("idx")
        if type(number) is int and type(row) is int:
            sizes = (entry.get("width"), entry.get("height"), entry.get("objectsNum"))
            files.setdefault(number, {}).setdefault(row, []).append(GqaEntry(image_id, *sizes))
    return files


SHARD_BYTES = 128 << 20
# A chunk is decompressed as a whole and kept for the rows that follow.
_LARGEST_CHUNK = 64 << 20
# deflate, shuffle, fletcher32, lzf: HDF5 loads code for others.
_FILTERS = {1, 2, 3, 32000}
# What h5py raises on damaged files.
_HDF5_ERRORS = (OSError, ValueError, KeyError, TypeError, RuntimeError, MemoryError, OverflowError)


class GqaHdf5(RegionReader):
    """Reads one row after another; a row without an entry in the info file has no image."""

    name = "gqa_hdf5"

    def shards(self, file: InputFile, rows: tuple[int, int | None] = (0, None)) -> list[Shard]:
        """Ranges of rows of about 128 MB."""
        gqa_entries(file)
        with _opened(file) as (features, boxes):
            count, row_bytes = len(features), _row_bytes(features) + _row_bytes(boxes)
        step = max(1, SHARD_BYTES // row_bytes)
        first, last = rows[0], count if rows[1] is None else min(rows[1], count)
        starts = range(first, last, step)
        stops = [*starts[1:], last]
        return [
            Shard(file, start, stop, (stop - start) * row_bytes)
            for start, stop in zip(starts, stops)
        ]

    def read(self, shard: Shard) -> Iterator[ReadImage | ReadError]:
        """The images of a shard; with the file's last rows, those that it lacks."""
        entries = gqa_entries(shard.file)
        with _opened(shard.file) as (features, boxes):
            row_bytes = _row_bytes(features) + _row_bytes(boxes)
            for line, row in enumerate(range(shard.start, shard.stop), start=1):
                entry, *others = entries.get(row) or [None]
                yield _read_row(line, row, entry, features, boxes, row_bytes)
                for other in others:
                    yield RegionFault("another image has the same row").problem(
                        line, other.image_id
                    )
            if shard.stop == len(features):
                for row in sorted(entries.keys() - range(len(features))):
                    for entry in entries[row]:
                        fault = RegionFault("the file has no such row as the info file says")
                        yield fault.problem(None, entry.image_id)


def _read_row(
    line: int,
    row: int,
    entry: GqaEntry | None,
    features: h5py.Dataset,
    boxes: h5py.Dataset,
    size: int,
) -> ReadImage | ReadError:
    if entry is None:
        return ReadError(line, "", "the info file has no image for the row", size)
    try:
        width, height, count = entry.sizes()
        if not 0 <= count <= features.shape[1]:
            raise RegionFault("objectsNum is not within the regions of a row")
        try:
            values, pixels = features[row, :count], boxes[row, :count]
        except _HDF5_ERRORS as error:
            raise RegionFault("the row is damaged or cut short") from error
        image = checked_image(entry.image_id, height, width, pixels, values)
    except RegionFault as fault:
        return fault.problem(line, entry.image_id, size)
    return ReadImage(line, image, size)


@contextlib.contextmanager
def _opened(file: InputFile) -> Iterator[tuple[h5py.Dataset, h5py.Dataset]]:
    """The two datasets of a file, after all that can be checked without reading them."""
    if not file.seekable:
        raise InputError(f"{file.name}: HDF5 cannot be read from an archive; unpack it")
    with open_input(file) as raw, contextlib.ExitStack() as stack:
        size = raw.seek(0, os.SEEK_END)
        try:
            opened = stack.enter_context(h5py.File(raw, "r", rdcc_nbytes=_LARGEST_CHUNK))
            features, boxes = (_dataset(opened, name) for name in ("features", "bboxes"))
            fits = features.shape[:2] == boxes.shape[:2] and boxes.shape[2] == 4
            if not fits or not features.size:
                raise InputError(f"features {features.shape} and bboxes {boxes.shape} do not fit")
            _check_storage(features, size)
            _check_storage(boxes, size)
        except InputError as error:
            raise InputError(f"{file.name}: {error}") from error
        except _HDF5_ERRORS as error:
            reason = " ".join(str(error).split())
            raise InputError(f"{file.name}: not HDF5, damaged or cut short ({reason})") from error
        yield features, boxes


def _dataset(file: h5py.File, name: str) -> h5py.Dataset:
    link = file.get(name, getlink=True)
    if link is None:
        raise InputError(f"not GQA's: it has no {name!r}")
    if not isinstance(link, h5py.HardLink):
        raise InputError(f"refused: {name!r} is a link to another place or file")
    dataset = file[name]
    if not isinstance(dataset, h5py.Dataset) or dataset.dtype.kind != "f" or dataset.ndim != 3:
        raise InputError(f"not GQA's: {name!r} is no array of numbers with three axes")
    if dataset.is_virtual or dataset.external:
        raise InputError(f"refused: {name!r} lies in other files")
    return dataset


def _check_storage(dataset: h5py.Dataset, file_size: int) -> None:
    """HDF5 leaves it to its reader whether shape, storage and file fit each other."""
    name, row_bytes = dataset.name.lstrip("/"), _row_bytes(dataset)
    if row_bytes > SHARD_BYTES:
        raise InputError(f"refused: a row of {name!r} has {row_bytes} bytes")
    if dataset.chunks is None:
        start, length = dataset.id.get_offset(), len(dataset) * row_bytes
        if start is None or start + length > file_size:
            raise InputError(f"cut short: {name!r} has less data than its shape says")
        return
    properties = dataset.id.get_create_plist()
    filters = {properties.get_filter(n)[0] for n in range(properties.get_nfilters())}
    if filters - _FILTERS:
        raise InputError(f"refused: {name!r} is compressed by other filters than gzip and lzf")
    if math.prod(dataset.chunks) * dataset.dtype.itemsize > _LARGEST_CHUNK:
        raise InputError(f"refused: the chunks of {name!r} are larger than 64 MB")
    needed = math.prod(-(-n // size) for n, size in zip(dataset.shape, dataset.chunks))
    if dataset.id.get_num_chunks() < needed:
        raise InputError(f"cut short: {name!r} has less data than its shape says")


def _row_bytes(dataset: h5py.Dataset) -> int:
    return math.prod(dataset.shape[1:]) * dataset.dtype.itemsize
