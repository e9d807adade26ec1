"""HDF5 files that VQA projects make of bottom-up attention's TSV, with the image ids in a pickle.

`train36.hdf5` with 36 regions per image holds `image_features`, float [images, 36, 2048],
`image_bb`, float [images, 36, 4]: x1 y1 x2 y2 in pixels, and `spatial_features`, float
[images, 36, 6]: the same divided by width and height, then width and height of the box
(github.com/hengyuan-hu/bottom-up-attention-vqa, tools/detection_features_converter.py).

`train.hdf5` with 10 to 100 regions holds the regions of all images one after another, float
[regions, 2048] and so on, and the first and the last of each image in `pos_boxes`, int [images, 2]
(github.com/jnhwkim/ban-vqa, tools/adaptive_detection_features_converter.py).

`train36_imgid2idx.pkl` beside it tells which row an image is: {image id: row}. The files lack the
images' sizes, which follow from both kinds of boxes.
"""

import dataclasses
import functools
import re
from collections.abc import Iterator
from typing import Any

import h5py
import numpy as np

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
from pipeline.ingest.parsers.hdf5 import (
    HDF5_ERRORS,
    LARGEST_ROW,
    find_dataset,
    open_hdf5,
    row_bytes,
)
from pipeline.ingest.parsers.numpy_pickle import load_numpy_pickle

_SUFFIX = re.compile(r"\.(h5|hdf5)$")
# A pickle of 120,000 ids has 2 MB.
_LARGEST_PICKLE = 64 << 20
# Rows become keys, and integers can be made of which many share a hash. Those that no file has are
# rejected image by image.
_MOST_ROWS = 1 << 31


class BottomUpHdf5(RegionReader):
    """Reader of both kinds, image by image; there are no labels."""

    name = "bottom_up_hdf5"

    def pieces(self, file: InputFile, rows: tuple[int, int | None] = ALL_ROWS) -> list[Piece]:
        """Return ranges of images of about 128 MB."""
        _ids_of(file)
        with open_hdf5(file, _arrays) as arrays:
            count = arrays.count
        return row_pieces(file, rows, count, file.size // count)

    def read(self, piece: Piece) -> Iterator[ReadImage | ReadError]:
        """Yield the images of a piece; the last piece also reports images that the file lacks."""
        ids, size = _ids_of(piece.file), piece.row_bytes
        with open_hdf5(piece.file, _arrays) as arrays:
            for line, row in enumerate(range(piece.start, piece.stop or 0), start=1):
                if row in ids:
                    yield read_image(line, ids[row], size, arrays.image, ids[row], row)
                else:
                    reason = "no image has this row, according to the file of image ids"
                    yield ReadError(line, "", reason, size)
            if piece.stop == arrays.count:
                for row in sorted(ids.keys() - range(arrays.count)):
                    lacking = RegionError("the file has no such row as the file of image ids says")
                    yield lacking.read_error(None, ids[row])


@dataclasses.dataclass(frozen=True)
class _Arrays:
    """The datasets of a file.

    Args:
        features: Of each image, or of all regions.
        boxes: In pixels.
        scaled: The same in 0..1.
        ranges: First and last region of each image; None if the others have an axis for images.
    """

    features: h5py.Dataset
    boxes: h5py.Dataset
    scaled: h5py.Dataset
    ranges: np.ndarray | None

    @property
    def count(self) -> int:
        """Number of images."""
        return len(self.features if self.ranges is None else self.ranges)

    def image(self, image_id: str, row: int) -> SceneImage:
        """Read an image; raise a RegionError if it is invalid."""
        parts = (self.features, self.boxes, self.scaled)
        where: Any = row
        if self.ranges is not None:
            first, last = map(int, self.ranges[row])
            if not 0 <= first <= last <= len(self.features):
                raise RegionError("pos_boxes are not regions of the file")
            if any((last - first) * row_bytes(part) > LARGEST_ROW for part in parts):
                raise RegionError("an array is larger than 128 MB")
            where = slice(first, last)
        try:
            features, boxes, scaled = (part[where] for part in parts)
        except HDF5_ERRORS as error:
            raise RegionError("the row is damaged or cut short") from error
        width, height = _side(boxes[:, 2], scaled[:, 2]), _side(boxes[:, 3], scaled[:, 3])
        return checked_image(image_id, height, width, boxes, features)


def _arrays(opened: h5py.File, size: int) -> _Arrays:
    if "spatial_features" not in opened:
        raise InputError("it has no 'spatial_features', from which the images' sizes follow")
    ranges = _ranges(opened, size) if "pos_boxes" in opened else None
    rank = 3 if ranges is None else 2
    parts = [
        find_dataset(opened, name, size, rank)
        for name in ("image_features", "image_bb", "spatial_features")
    ]
    shapes = [part.shape for part in parts]
    lengths = {shape[:-1] for shape in shapes}
    fits = len(lengths) == 1 and shapes[1][-1] == 4 and shapes[2][-1] >= 4
    if not fits or not parts[0].size:
        raise InputError(
            f"image_features {shapes[0]}, image_bb {shapes[1]} and spatial_features {shapes[2]} do "
            "not fit"
        )
    return _Arrays(parts[0], parts[1], parts[2], ranges)


def _ranges(opened: h5py.File, size: int) -> np.ndarray:
    ranges = find_dataset(opened, "pos_boxes", size, rank=2, kind="iu")
    if not len(ranges) or ranges.shape[1] != 2:
        raise InputError(f"pos_boxes {ranges.shape} are not the first and last region of images")
    if len(ranges) * row_bytes(ranges) > LARGEST_ROW:
        raise InputError("refused: 'pos_boxes' is larger than 128 MB")
    return ranges[:]


def _side(pixels: np.ndarray, scaled: np.ndarray) -> int:
    """Return the width or height of an image, given the far edges of boxes in both units."""
    if not len(scaled) or not np.isfinite([pixels, scaled]).all() or scaled.max() <= 0:
        raise RegionError("image_bb and spatial_features do not tell the image's size")
    farthest = scaled.argmax()
    return round(float(pixels[farthest]) / float(scaled[farthest]))


def _ids_of(file: InputFile) -> dict[int, str]:
    """Return the id of the image in each row.

    Raises:
        InputError: The file of image ids is missing or invalid.
    """
    path = _SUFFIX.sub("", file.path) + "_imgid2idx.pkl"
    return _read_ids(path, last_updated(path))


@functools.lru_cache(maxsize=1)
def _read_ids(path: str, updated: float) -> dict[int, str]:
    # Each worker reads it once for many pieces.
    try:
        with open_input(InputFile(path, 0)) as content:
            rows = load_numpy_pickle(content.read(_LARGEST_PICKLE))
    except READ_ERRORS as error:
        raise InputError(f"{path}: damaged or cut short") from error
    except RegionError as error:
        raise InputError(f"{path}: {error}") from error
    is_fit = isinstance(rows, dict) and all(
        type(image_id) in (int, str) and type(row) is int and abs(row) < _MOST_ROWS
        for image_id, row in rows.items()
    )
    if not is_fit:
        raise InputError(f"{path}: must hold a dict of image ids and rows")
    if len(set(rows.values())) < len(rows):
        raise InputError(f"{path}: two images have the same row")
    return {row: str(image_id) for image_id, row in rows.items()}
