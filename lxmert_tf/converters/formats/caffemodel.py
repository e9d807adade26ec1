"""Checkpoints of caffe: the blobs of a network's layers, in protobuf's wire format.

The numbers of the fields are those of caffe's src/caffe/proto/caffe.proto. Layers are stored in one
of two forms, and the shape of a blob is a list of lengths or, before 2015, always four numbers.
"""

import functools
import math
import pathlib
from collections.abc import Iterator
from typing import IO

import numpy as np

from lxmert_tf.converters.formats import StoredTensor
from lxmert_tf.converters.formats.file_kind import foreign_kind
from lxmert_tf.errors import InputError

# Fields of a network that hold a layer, with the fields of its name and of its blobs.
_LAYERS = {100: (1, 7), 2: (4, 6)}
# Fields of a blob.
_SIDES = (1, 2, 3, 4)
_FLOATS, _SHAPE, _DOUBLES = 5, 7, 8
_DTYPES: dict[int, np.dtype] = {_FLOATS: np.dtype("<f4"), _DOUBLES: np.dtype("<f8")}
# Kinds of values.
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_WIDTHS = {_FIXED64: 8, _FIXED32: 4}
# A varint holds 64 bits, 7 in a byte.
_LONGEST_VARINT = 10

# The first byte of a value and the one after the last.
_Span = tuple[int, int]


class _DamagedError(Exception):
    """The bytes are not those of a network."""


def read_caffemodel(path) -> dict[str, list[StoredTensor]]:
    """Read the shapes of the blobs in a file; the values are read later, one blob at a time.

    Args:
        path: File such as `resnet101_faster_rcnn_final.caffemodel`.

    Returns:
        The blobs of each layer that has any, by the name of the layer.

    Raises:
        InputError: The file is missing, damaged, cut short or of another kind.
    """
    path = pathlib.Path(path)
    layers: dict[str, list[StoredTensor]] = {}
    try:
        with path.open("rb") as file:
            size = path.stat().st_size
            message = _Message(file)
            for number, value in message.fields((0, size)):
                if number not in _LAYERS:
                    continue
                name, blobs = _read_layer(message, _span(value), *_LAYERS[number], path)
                if name in layers and blobs:
                    raise InputError(f"{path}: duplicate layer {name!r}")
                if blobs:
                    layers[name] = blobs
    except OSError as error:
        raise InputError(f"{path}: {error.strerror or error}") from error
    except _DamagedError as error:
        reason = foreign_kind(path)
        reason = f"it is {reason}" if reason else str(error)
        raise InputError(f"{path}: damaged caffemodel ({reason})") from error
    if not layers:
        raise InputError(f"{path}: not a caffemodel, or it has no weights")
    return layers


class _Message:
    """Fields of messages in an open file, of which only keys and lengths are read."""

    def __init__(self, file: IO[bytes]):
        self.file = file

    def fields(self, span: _Span) -> Iterator[tuple[int, int | _Span]]:
        """Yield the number of each field, and its value if it is a varint, else its span."""
        position, end = span
        while position < end:
            key, position = self._varint(position, end)
            number, kind = key >> 3, key & 7
            if kind == _VARINT:
                value, position = self._varint(position, end)
                yield number, value
                continue
            if kind == _BYTES:
                length, position = self._varint(position, end)
            elif kind in _WIDTHS:
                length = _WIDTHS[kind]
            else:
                raise _DamagedError(f"no field begins at byte {position - 1}")
            if position + length > end:
                raise _DamagedError("it is cut short")
            yield number, (position, position + length)
            position += length

    def varints(self, span: _Span) -> Iterator[int]:
        """Yield the varints of a packed field."""
        position, end = span
        while position < end:
            value, position = self._varint(position, end)
            yield value

    def read(self, span: _Span) -> bytes:
        """Return the bytes of a span."""
        self.file.seek(span[0])
        return self.file.read(span[1] - span[0])

    def _varint(self, position: int, end: int) -> tuple[int, int]:
        """Return a varint and the position after it."""
        value = 0
        for i, byte in enumerate(self.read((position, min(end, position + _LONGEST_VARINT)))):
            value |= (byte & 0x7F) << 7 * i
            if byte < 0x80:
                return value, position + i + 1
        raise _DamagedError("it is cut short")


def _read_layer(
    message: _Message, span: _Span, name_field: int, blobs_field: int, path: pathlib.Path
) -> tuple[str, list[StoredTensor]]:
    name = ""
    blobs: list[_Span] = []
    for number, value in message.fields(span):
        if number == name_field:
            name = message.read(_span(value)).decode("utf-8", "replace")
        elif number == blobs_field:
            blobs.append(_span(value))
    return name, [
        _read_blob(message, blob, f"{path}: blob {i} of the layer {name!r}", path)
        for i, blob in enumerate(blobs)
    ]


def _read_blob(message: _Message, span: _Span, what: str, path: pathlib.Path) -> StoredTensor:
    shape: list[int] | None = None
    sides: dict[int, int] = {}
    values: dict[int, list[_Span]] = {_FLOATS: [], _DOUBLES: []}
    for number, value in message.fields(span):
        if number == _SHAPE:
            shape = list(_read_shape(message, _span(value)))
        elif number in _SIDES and isinstance(value, int):
            sides[number] = value
        elif number in values:
            values[number].append(_span(value))
    if shape is None:
        shape = [sides.get(number, 0) for number in _SIDES] if sides else []
    kind = _DOUBLES if values[_DOUBLES] else _FLOATS
    count, rest = divmod(sum(end - start for start, end in values[kind]), _DTYPES[kind].itemsize)
    if rest or not count or count != math.prod(shape):
        raise InputError(f"{what} has {count} values, which do not fit its shape {shape}")
    read = functools.partial(_read_values, path, values[kind], _DTYPES[kind], tuple(shape))
    return StoredTensor(tuple(shape), read)


def _read_shape(message: _Message, span: _Span) -> Iterator[int]:
    for number, value in message.fields(span):
        if number == 1:
            yield from [value] if isinstance(value, int) else message.varints(value)


def _span(value: int | _Span) -> _Span:
    if isinstance(value, int):
        raise _DamagedError("a field has another type")
    return value


def _read_values(
    path: pathlib.Path, spans: list[_Span], dtype: np.dtype, shape: tuple[int, ...]
) -> np.ndarray:
    try:
        with path.open("rb") as file:
            content = b"".join(map(_Message(file).read, spans))
    except OSError as error:
        raise InputError(f"{path}: {error.strerror or error}") from error
    if len(content) != math.prod(shape) * dtype.itemsize:
        raise InputError(f"{path}: the file has changed while it was read")
    return np.frombuffer(content, dtype).reshape(shape).astype(np.float32)
