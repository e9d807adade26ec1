"""Object features of GQA: `gqa_objects_N.h5` with `gqa_objects_info.json` beside them.

The HDF5 files hold `features`, float [images, 100, 2048], and `bboxes`, float [images, 100, 4]:
x1 y1 x2 y2 in pixels. Only the first `objectsNum` of the 100 are regions; the others are padding.
The info file tells which row of which file an image is:
{image id: {"width", "height", "objectsNum", "idx", "file"}}.
(https://cs.stanford.edu/people/dorarad/gqa)
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
from pipeline.ingest.checks.region_checks import RegionError, checked_image
from pipeline.ingest.files import READ_ERRORS, InputFile, open_input
from pipeline.ingest.interfaces import ALL_ROWS, ReadError, ReadImage, RegionReader, Shard

_NUMBERED = re.compile(r"(.*)_([0-9]{1,6})\.(?:h5|hdf5)", re.DOTALL)


class GqaEntry(NamedTuple):
    """The unchecked values of one image in the info file."""

    image_id: str
    width: Any
    height: Any
    count: Any

    def sizes(self) -> tuple[int, int, int]:
        """Return width and height in pixels and the number of regions; RegionError if invalid."""
        sizes = (self.width, self.height, self.count)
        if any(type(size) is not int for size in sizes):
            raise RegionError("the info file has no whole width, height or objectsNum for it")
        return sizes


def gqa_entries(file: InputFile) -> dict[int, list[GqaEntry]]:
    """Return the images of a file `NAME_N.h5` by row, from `NAME_info.json` beside it.

    An entry whose `file` or `idx` is not an integer is left out.

    Raises:
        InputError: The file's name has no number, or the info file is missing or invalid.
    """
    match = _NUMBERED.fullmatch(file.path)
    if not match:
        raise InputError(f"{file.name}: the name must have a number, as gqa_objects_0.h5")
    path = f"{match[1]}_info.json"
    return _read_info(path, _last_updated(path)).get(int(match[2]), {})


def _last_updated(path: str) -> float:
    try:
        return FileSystems.last_updated(path)
    except (OSError, BeamIOError):
        # Opening the file will raise the error.
        return 0.0


@functools.lru_cache(maxsize=1)
def _read_info(path: str, last_updated: float) -> dict[int, dict[int, list[GqaEntry]]]:
    # The file has 149,000 entries, so each worker parses it once for many shards.
    try:
        with open_input(InputFile(path, 0)) as content:
            info = json.load(content)
    except READ_ERRORS as error:
        raise InputError(f"{path}: damaged or cut short") from error
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path}: not JSON, or cut short") from error
    if not isinstance(info, dict):
        raise InputError(f"{path}: not a JSON object of image ids, as the info file of GQA")
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
# HDF5 decompresses a whole chunk and keeps it for the following rows.
_LARGEST_CHUNK = 64 << 20
# Deflate, shuffle, fletcher32 and lzf. HDF5 would load code for other filters.
_FILTERS = {1, 2, 3, 32000}
# Errors of h5py on damaged files.
_HDF5_ERRORS = (OSError, ValueError, KeyError, TypeError, RuntimeError, MemoryError, OverflowError)


class GqaHdf5(RegionReader):
    """Reader of GQA's HDF5 files, row by row."""

    name = "gqa_hdf5"

    def shards(self, file: InputFile, rows: tuple[int, int | None] = ALL_ROWS) -> list[Shard]:
        """Return ranges of rows of about 128 MB."""
        gqa_entries(file)
        with _open_datasets(file) as (features, boxes):
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
        """Yield the images of a shard; the last shard also reports images that the file lacks."""
        entries = gqa_entries(shard.file)
        with _open_datasets(shard.file) as (features, boxes):
            row_bytes = _row_bytes(features) + _row_bytes(boxes)
            for line, row in enumerate(range(shard.start, shard.stop), start=1):  # type: ignore[arg-type]
                entry, *others = entries.get(row) or [None]  # type: ignore[list-item]
                yield _read_row(line, row, entry, features, boxes, row_bytes)
                for other in others:
                    yield RegionError("another image has the same row").read_error(
                        line, other.image_id
                    )
            if shard.stop == len(features):
                for row in sorted(entries.keys() - range(len(features))):
                    for entry in entries[row]:
                        error = RegionError("the file has no such row as the info file says")
                        yield error.read_error(None, entry.image_id)


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
            raise RegionError("objectsNum is not within the regions of a row")
        try:
            values, pixels = features[row, :count], boxes[row, :count]
        except _HDF5_ERRORS as error:
            raise RegionError("the row is damaged or cut short") from error
        image = checked_image(entry.image_id, height, width, pixels, values)
    except RegionError as error:
        return error.read_error(line, entry.image_id, size)
    return ReadImage(line, image, size)


@contextlib.contextmanager
def _open_datasets(file: InputFile) -> Iterator[tuple[h5py.Dataset, h5py.Dataset]]:
    """Open the two datasets of a file and check all but their content."""
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
        raise InputError(f"not a file of GQA: it has no {name!r}")
    if not isinstance(link, h5py.HardLink):
        raise InputError(f"refused: {name!r} is a link to another place or file")
    dataset = file[name]
    if not isinstance(dataset, h5py.Dataset) or dataset.dtype.kind != "f" or dataset.ndim != 3:
        raise InputError(f"not a file of GQA: {name!r} is not a numeric array of rank 3")
    if dataset.is_virtual or dataset.external:
        raise InputError(f"refused: {name!r} lies in other files")
    return dataset


def _check_storage(dataset: h5py.Dataset, file_size: int) -> None:
    """Check that a dataset's shape, storage and file size agree, which HDF5 does not."""
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
