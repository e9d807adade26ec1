"""NumPy's `.npy` format (numpy.lib.format), read without trusting its header."""

import math
import tokenize
from io import BufferedIOBase
from typing import Any

import numpy as np

from pipeline.ingest.checks.region_checks import RegionError
from pipeline.ingest.parsers.numpy_pickle import load_numpy_pickle

# More than the regions of any image. Longer arrays are not read.
LARGEST = 256 << 20
# Errors of NumPy's and Python's parsers on an invalid header.
_HEADER_ERRORS = (
    *(ValueError, SyntaxError, TypeError, KeyError, RecursionError, MemoryError, OverflowError),
    tokenize.TokenError,
)
# Version 3.0 differs from 2.0 only in names of fields; arrays with fields are refused.
_HEADER_READERS = {
    (1, 0): np.lib.format.read_array_header_1_0,
    (2, 0): np.lib.format.read_array_header_2_0,
    (3, 0): np.lib.format.read_array_header_2_0,
}


def read_npy(stream: BufferedIOBase) -> Any:
    """Read an array.

    Returns:
        The array; if it holds a single object (a dict that was saved), that object.

    Raises:
        RegionError: The array is damaged, cut short, larger than 256 MB, or holds anything but
            numbers, text and plain containers of them.
    """
    prefix = stream.read(np.lib.format.MAGIC_LEN)
    if not prefix:
        raise RegionError("the file is empty")
    if not prefix.startswith(np.lib.format.MAGIC_PREFIX):
        raise RegionError("not in NumPy's format .npy")
    try:
        read_header = _HEADER_READERS.get((prefix[-2], prefix[-1]))
        if read_header is None:
            raise RegionError("an array is not of version 1.0, 2.0, or 3.0 of the format")
        shape, is_fortran, dtype = read_header(stream)
        length = math.prod(shape) * dtype.itemsize
    except _HEADER_ERRORS as error:
        raise _damaged() from error
    if dtype.hasobject:
        return _object(stream)
    if dtype.kind not in "fiubSU" or any(size < 0 for size in shape):
        raise RegionError("an array holds neither numbers nor text")
    if length > LARGEST:
        raise _too_large()
    data = stream.read(length)
    if len(data) < length or not dtype.itemsize:
        raise _damaged()
    try:
        return np.frombuffer(data, dtype).reshape(shape, order="F" if is_fortran else "C")
    except (ValueError, OverflowError) as error:
        # An empty array may have other sides of any length, and any number of them.
        raise _damaged() from error


def _object(stream: BufferedIOBase) -> Any:
    data = stream.read(LARGEST + 1)
    if len(data) > LARGEST:
        raise _too_large()
    value = load_numpy_pickle(data)
    if not isinstance(value, np.ndarray):
        raise RegionError("an array holds something else than it says")
    if value.size != 1:
        raise RegionError("an array holds Python objects (dtype object) instead of numbers")
    return value.item()


def _damaged() -> RegionError:
    return RegionError("the array is damaged or cut short")


def _too_large() -> RegionError:
    return RegionError("an array is larger than 256 MB")
