"""The safetensors format: a length (uint64), a JSON header, then the tensors' bytes.

Header: {name: {"dtype": "F32", "shape": [...], "data_offsets": [start, end]}}, offsets counted from
the end of the header; "__metadata__" holds strings. (huggingface/safetensors, format description.)
"""

import json
import math
import os
import pathlib
import struct
from collections.abc import Callable, Mapping

import numpy as np

from lxmert_tf.converters.formats.stored_tensor import BFLOAT16, StoredTensor, as_numbers, width
from lxmert_tf.errors import InputError

_DTYPES = {
    "F64": "<f8",
    "F32": "<f4",
    "F16": "<f2",
    "BF16": BFLOAT16,
    "I64": "<i8",
    "I32": "<i4",
    "I16": "<i2",
    "I8": "<i1",
    "U8": "<u1",
    "BOOL": "?",
}
# The reference implementation's own limit: more is an attack, not a header.
_LARGEST_HEADER = 100_000_000


def read_safetensors(path) -> dict[str, StoredTensor]:
    """Reads the names and shapes of a file; values are read one by one, later.

    Raises:
        InputError: the file is missing, damaged or cut short.
    """
    path = pathlib.Path(path)
    try:
        header, start = _read_header(path)
        size = os.path.getsize(path) - start
        return {
            name: _stored(path, name, entry, start, size)
            for name, entry in header.items()
            if name != "__metadata__"
        }
    except OSError as error:
        raise InputError(f"{path}: {error.strerror or error}") from error
    except (ValueError, KeyError, TypeError, AttributeError, struct.error) as error:
        raise InputError(f"{path}: damaged safetensors file ({error})") from error


def write_safetensors(path, shapes: Mapping[str, tuple[int, ...]], value: Callable) -> None:
    """Writes float32 tensors one by one; the same tensors give the same bytes.

    Args:
        path: where.
        shapes: by name.
        value: gives the tensor of a name.
    """
    header: dict[str, object] = {"__metadata__": {"format": "pt"}}
    offset = 0
    for name in sorted(shapes):
        end = offset + 4 * math.prod(shapes[name])
        header[name] = {"dtype": "F32", "shape": shapes[name], "data_offsets": [offset, end]}
        offset = end
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for name in sorted(shapes):
            file.write(np.ascontiguousarray(value(name), "<f4").tobytes())


def _read_header(path: pathlib.Path) -> tuple[dict, int]:
    with path.open("rb") as file:
        [length] = struct.unpack("<Q", file.read(8))
        if length > _LARGEST_HEADER:
            raise ValueError(f"a header of {length} bytes")
        text = file.read(length)
        if len(text) < length:
            raise ValueError("cut short in the header")
        return json.loads(text), file.tell()


def _stored(path: pathlib.Path, name: str, entry: dict, start: int, size: int) -> StoredTensor:
    dtype, shape = _DTYPES[entry["dtype"]], tuple(entry["shape"])
    begin, end = entry["data_offsets"]
    if any(not isinstance(n, int) or n < 0 for n in (*shape, begin, end)):
        raise ValueError(f"shape or offsets of {name}")
    if end - begin != width(dtype) * math.prod(shape) or end > size:
        raise ValueError(f"cut short, or offsets that do not fit the shape, in {name}")

    def read() -> np.ndarray:
        with path.open("rb") as file:
            file.seek(start + begin)
            data = file.read(end - begin)
        if len(data) < end - begin:
            raise InputError(f"{path}: cut short in {name}")
        return as_numbers(data, dtype).reshape(shape)

    return StoredTensor(shape, read)
