"""HDF5 files with a group per image, as VL-T5 makes them for the images of LXMERT.

The group is named by the image's id and holds `features`, float [regions, 2048], `boxes`, float
[regions, 4]: x1 y1 x2 y2 in pixels, `img_h` and `img_w`, and mostly `obj_id`, `obj_conf`,
`attr_id`, and `attr_conf`. (github.com/j-min/VL-T5, feature_extraction)
"""

from collections.abc import Iterator
from typing import Any

import h5py

from lxmert_tf.data.scene import SceneImage
from lxmert_tf.errors import InputError
from pipeline.ingest.checks.region_checks import RegionError, check_id, read_image
from pipeline.ingest.files import InputFile
from pipeline.ingest.interfaces import (
    ALL_ROWS,
    Piece,
    ReadError,
    ReadImage,
    RegionReader,
    row_pieces,
)
from pipeline.ingest.parsers.hdf5 import HDF5_ERRORS, find_dataset, open_hdf5
from pipeline.ingest.parsers.npy_stream import LARGEST
from pipeline.ingest.readers.numpy_files import image_of_arrays

# The names of datasets in a group, and of the same arrays in NumPy files.
_ARRAYS = {
    "features": "features",
    "boxes": "boxes",
    "img_h": "image_h",
    "img_w": "image_w",
    "obj_id": "objects_id",
    "obj_conf": "objects_conf",
    "attr_id": "attrs_id",
    "attr_conf": "attrs_conf",
}


class GroupedHdf5(RegionReader):
    """Reader of the groups of a file, in the order of their names."""

    name = "grouped_hdf5"

    def pieces(self, file: InputFile, rows: tuple[int, int | None] = ALL_ROWS) -> list[Piece]:
        """Return ranges of groups of about 128 MB."""
        with open_hdf5(file, _groups) as (_, names, _):
            count = len(names)
        return row_pieces(file, rows, count, file.size // count)

    def read(self, piece: Piece) -> Iterator[ReadImage | ReadError]:
        """Yield the images of a piece."""
        size = piece.row_bytes
        with open_hdf5(piece.file, _groups) as (opened, names, file_size):
            for line, name in enumerate(names[piece.start : piece.stop], start=1):
                yield read_image(line, name, size, _image, opened, name, file_size)


def _groups(opened: h5py.File, size: int) -> tuple[h5py.File, list[str], int]:
    names = sorted(opened)
    if not names:
        raise InputError("it holds no images")
    return opened, names, size


def _image(opened: h5py.File, name: str, file_size: int) -> SceneImage:
    check_id(name)
    arrays: dict[str, Any] = {}
    try:
        if not isinstance(opened.get(name, getlink=True), h5py.HardLink):
            raise RegionError("the image is a link to another place or file")
        group = opened[name]
        if not isinstance(group, h5py.Group):
            raise RegionError("the image is not a group of arrays")
        for dataset, array in _ARRAYS.items():
            if dataset in group:
                found = find_dataset(group, dataset, file_size)
                if found.size * found.dtype.itemsize > LARGEST:
                    raise RegionError("an array is larger than 256 MB")
                arrays[array] = found[()]
    except InputError as error:
        raise RegionError(str(error)) from error
    except HDF5_ERRORS as error:
        raise RegionError("the image is damaged or cut short") from error
    return image_of_arrays(name, arrays)
