"""State dicts in the format of `torch.save`, written without PyTorch.

A zip archive of members that are not compressed: `NAME/data.pkl`, a pickle of protocol 2 that
rebuilds an OrderedDict of tensors, and `NAME/data/KEY`, the bytes of each storage. The pickle is
assembled by hand, because `pickle` only names functions that it can import.
"""

import math
import struct
import zipfile
from collections.abc import Mapping

import numpy as np

from lxmert_tf.converters.formats import StoredTensor

_ROOT = "archive"
# A fixed time, so that the same weights give the same bytes.
_TIME = (1980, 1, 1, 0, 0, 0)

_PROTOCOL_2 = b"\x80\x02"
_MARK, _TUPLE, _EMPTY_TUPLE = b"(", b"t", b")"
_REDUCE, _PERSISTENT, _SET_ITEMS, _FALSE, _STOP = b"R", b"Q", b"u", b"\x89", b"."


def write_torch_file(
    path, tensors: Mapping[str, StoredTensor], tied: Mapping[str, str] | None = None
) -> None:
    """Write float32 tensors one by one; the same tensors give the same bytes.

    Args:
        path: File to write.
        tensors: Tensors by name.
        tied: Further names, each with the name of the tensor whose storage it shares.
    """
    keys = {name: str(number) for number, name in enumerate(sorted(tensors))}
    entries = {name: _tensor(keys[name], tensors[name].shape) for name in tensors}
    entries |= {copy: entries[original] for copy, original in (tied or {}).items()}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        _add(archive, "data.pkl", _state_dict(entries))
        _add(archive, "byteorder", b"little")
        for name, key in keys.items():
            values = np.ascontiguousarray(tensors[name].read(), "<f4")
            _add(archive, f"data/{key}", values.tobytes())
        _add(archive, "version", b"3\n")


def _add(archive: zipfile.ZipFile, name: str, data: bytes) -> None:
    archive.writestr(zipfile.ZipInfo(f"{_ROOT}/{name}", _TIME), data)


def _state_dict(entries: Mapping[str, bytes]) -> bytes:
    items = b"".join(_text(name) + tensor for name, tensor in sorted(entries.items()))
    return _PROTOCOL_2 + _ordered_dict() + _MARK + items + _SET_ITEMS + _STOP


def _tensor(key: str, shape: tuple[int, ...]) -> bytes:
    strides = [math.prod(shape[axis + 1 :]) for axis in range(len(shape))]
    storage = _tuple(
        _text("storage"),
        _global("torch", "FloatStorage"),
        _text(key),
        _text("cpu"),
        _integer(math.prod(shape)),
    )
    arguments = _tuple(
        storage + _PERSISTENT,
        _integer(0),
        _tuple(*map(_integer, shape)),
        _tuple(*map(_integer, strides)),
        _FALSE,
        _ordered_dict(),
    )
    return _global("torch._utils", "_rebuild_tensor_v2") + arguments + _REDUCE


def _ordered_dict() -> bytes:
    return _global("collections", "OrderedDict") + _EMPTY_TUPLE + _REDUCE


def _global(module: str, name: str) -> bytes:
    return f"c{module}\n{name}\n".encode()


def _text(text: str) -> bytes:
    data = text.encode()
    return b"X" + struct.pack("<I", len(data)) + data


def _integer(number: int) -> bytes:
    return b"J" + struct.pack("<i", number)


def _tuple(*parts: bytes) -> bytes:
    return _MARK + b"".join(parts) + _TUPLE
