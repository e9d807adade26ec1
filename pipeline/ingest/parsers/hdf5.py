"""HDF5 files, read without trust in what they say of themselves."""

import contextlib
import math
import os
from collections.abc import Callable, Iterator
from typing import TypeVar

import h5py

from lxmert_tf.errors import InputError
from pipeline.ingest.files import InputFile, open_input

# More than the row of any image.
LARGEST_ROW = 128 << 20
# Errors of h5py on damaged files.
HDF5_ERRORS = (OSError, ValueError, KeyError, TypeError, RuntimeError, MemoryError, OverflowError)
# HDF5 decompresses a whole chunk and keeps it for the following rows.
_LARGEST_CHUNK = 64 << 20
# Deflate, shuffle, fletcher32 and lzf. HDF5 would load code for other filters.
_FILTERS = {1, 2, 3, 32000}

T = TypeVar("T")


@contextlib.contextmanager
def open_hdf5(file: InputFile, select: Callable[[h5py.File, int], T]) -> Iterator[T]:
    """Open a file.

    Args:
        file: The file.
        select: Returns what to read from the open file, given also its size in bytes; it may raise
            an InputError without the file's name.

    Raises:
        InputError: The file is compressed, damaged, or refused by `select`.
    """
    if not file.seekable:
        raise InputError(f"{file.name}: HDF5 cannot be read from an archive; unpack it")
    with open_input(file) as raw, contextlib.ExitStack() as stack:
        size = raw.seek(0, os.SEEK_END)
        try:
            opened = stack.enter_context(h5py.File(raw, "r", rdcc_nbytes=_LARGEST_CHUNK))
            selected = select(opened, size)
        except InputError as error:
            raise InputError(f"{file.name}: {error}") from error
        except HDF5_ERRORS as error:
            reason = " ".join(str(error).split())
            raise InputError(f"{file.name}: not HDF5, damaged or cut short ({reason})") from error
        yield selected


def find_dataset(
    group: h5py.Group, name: str, file_size: int, rank: int | None = None, kind: str = "fiu"
) -> h5py.Dataset:
    """Return a dataset after a check of everything but its content.

    Args:
        group: Where it is.
        name: Its name.
        file_size: Bytes of the file.
        rank: Its number of dimensions; None for any.
        kind: The kinds of its dtype, as in NumPy.

    Raises:
        InputError: There is none, it is of another kind, or it is somewhere else.
    """
    link = group.get(name, getlink=True)
    if link is None:
        raise InputError(f"it has no {name!r}")
    if not isinstance(link, h5py.HardLink):
        raise InputError(f"refused: {name!r} is a link to another place or file")
    dataset = group[name]
    if not isinstance(dataset, h5py.Dataset) or dataset.dtype.kind not in kind:
        raise InputError(f"{name!r} is not a numeric array")
    if rank is not None and dataset.ndim != rank:
        raise InputError(f"{name!r} is not a numeric array of rank {rank}")
    if dataset.is_virtual or dataset.external:
        raise InputError(f"refused: {name!r} lies in other files")
    _check_storage(dataset, file_size)
    return dataset


def row_bytes(dataset: h5py.Dataset) -> int:
    """Return the size of a row, uncompressed."""
    return math.prod(dataset.shape[1:]) * dataset.dtype.itemsize


def _check_storage(dataset: h5py.Dataset, file_size: int) -> None:
    """Check that a dataset's shape, storage and file size agree, which HDF5 does not."""
    name, length = dataset.name.rpartition("/")[2], math.prod(dataset.shape)
    if not dataset.ndim:
        return
    if row_bytes(dataset) > LARGEST_ROW:
        raise InputError(f"refused: a row of {name!r} has {row_bytes(dataset)} bytes")
    if dataset.chunks is None:
        start = dataset.id.get_offset()
        if length and (start is None or start + length * dataset.dtype.itemsize > file_size):
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
