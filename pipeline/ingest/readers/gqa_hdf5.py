"""Object features of GQA: `gqa_objects_N.h5` with `gqa_objects_info.json` beside them.

The HDF5 files hold `features`, float [images, 100, 2048], and `bboxes`, float [images, 100, 4]:
x1 y1 x2 y2 in pixels. Only the first `objectsNum` of the 100 are regions; the others are padding.
The info file tells which row of which file an image is; a file without a number is number 0:
{image id: {"width", "height", "objectsNum", "idx", "file"}}.
(https://cs.stanford.edu/people/dorarad/gqa)
"""

import contextlib
import functools
import json
import re
from collections.abc import Iterator
from typing import Any, NamedTuple

import h5py

from lxmert_tf.data.scene import SceneImage
from lxmert_tf.errors import InputError
from pipeline.ingest.checks.region_checks import RegionError, checked_image, read_image
from pipeline.ingest.files import READ_ERRORS, InputFile, last_updated, open_input
from pipeline.ingest.interfaces import (
    ALL_ROWS,
    Piece,
    ReadError,
    ReadImage,
    RegionReader,
    row_pieces,
)
from pipeline.ingest.parsers.hdf5 import HDF5_ERRORS, find_dataset, open_hdf5, row_bytes

# The published file has 20 MB.
_LARGEST_INFO = 128 << 20
_NAME = re.compile(r"(.*?)(?:_([0-9]{1,6}))?\.(?:h5|hdf5)", re.DOTALL | re.IGNORECASE)


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
    """Return the images of a file by row, from the info file beside it.

    An entry whose `file` or `idx` is not an integer is left out.

    Raises:
        InputError: The file's ending is another one, or the info file is missing or invalid.
    """
    path, number = info_file_of(file.path)
    return _read_info(path, last_updated(path)).get(number, {})


def info_file_of(path: str) -> tuple[str, int]:
    """Return the info file of an HDF5 file, and the number by which it knows that file.

    Args:
        path: `NAME_N.h5`, or `NAME.h5`, which is number 0. The info file is `NAME_info.json`.

    Raises:
        InputError: The file has another ending.
    """
    match = _NAME.fullmatch(path)
    if not match:
        raise InputError(f"{path}: the name must end in .h5 or .hdf5, as gqa_objects_0.h5")
    return f"{match[1]}_info.json", int(match[2] or 0)


@functools.lru_cache(maxsize=1)
def _read_info(path: str, updated: float) -> dict[int, dict[int, list[GqaEntry]]]:
    # The file has 149,000 entries, so each worker parses it once for many pieces.
    try:
        with open_input(InputFile(path, 0)) as content:
            text = content.read(_LARGEST_INFO + 1)
        if len(text) > _LARGEST_INFO:
            raise InputError(f"{path}: refused: larger than {_LARGEST_INFO >> 20} MB")
        info = json.loads(text)
    except InputError:
        # It is a ValueError, too.
        raise
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


class GqaHdf5(RegionReader):
    """Reader of GQA's HDF5 files, row by row."""

    name = "gqa_hdf5"

    def pieces(self, file: InputFile, rows: tuple[int, int | None] = ALL_ROWS) -> list[Piece]:
        """Return ranges of rows of about 128 MB."""
        gqa_entries(file)
        with _open_datasets(file) as (features, boxes):
            count, size = len(features), row_bytes(features) + row_bytes(boxes)
        return row_pieces(file, rows, count, size)

    def read(self, piece: Piece) -> Iterator[ReadImage | ReadError]:
        """Yield the images of a piece; the last piece also reports images that the file lacks."""
        entries = gqa_entries(piece.file)
        with _open_datasets(piece.file) as (features, boxes):
            size = row_bytes(features) + row_bytes(boxes)
            for line, row in enumerate(range(piece.start, piece.stop), start=1):  # type: ignore[arg-type]
                entry, *others = entries.get(row) or [None]  # type: ignore[list-item]
                if entry:
                    yield read_image(
                        line, entry.image_id, size, _image, entry, row, features, boxes
                    )
                else:
                    yield ReadError(line, "", "the info file has no image for the row", size)
                for other in others:
                    yield RegionError("another image has the same row").read_error(
                        line, other.image_id
                    )
            if piece.stop == len(features):
                for row in sorted(entries.keys() - range(len(features))):
                    for entry in entries[row]:
                        error = RegionError("the file has no such row as the info file says")
                        yield error.read_error(None, entry.image_id)


def _image(entry: GqaEntry, row: int, features: h5py.Dataset, boxes: h5py.Dataset) -> SceneImage:
    width, height, count = entry.sizes()
    if not 0 <= count <= features.shape[1]:
        raise RegionError("objectsNum is not within the regions of a row")
    try:
        values, pixels = features[row, :count], boxes[row, :count]
    except HDF5_ERRORS as error:
        raise RegionError("the row is damaged or cut short") from error
    return checked_image(entry.image_id, height, width, pixels, values)


def _open_datasets(
    file: InputFile,
) -> contextlib.AbstractContextManager[tuple[h5py.Dataset, h5py.Dataset]]:
    """Open the two datasets of a file and check all but their content."""
    return open_hdf5(file, _datasets)


def _datasets(opened: h5py.File, size: int) -> tuple[h5py.Dataset, h5py.Dataset]:
    features, boxes = (find_dataset(opened, name, size, rank=3) for name in ("features", "bboxes"))
    fits = features.shape[:2] == boxes.shape[:2] and boxes.shape[2] == 4
    if not fits or not features.size:
        raise InputError(f"features {features.shape} and bboxes {boxes.shape} do not fit")
    return features, boxes
