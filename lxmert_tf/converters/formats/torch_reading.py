"""State dicts that `torch.save` wrote, read without PyTorch.

Two formats: since PyTorch 1.6 a zip archive (`*/data.pkl`, and `*/data/KEY` for each storage);
before, a row of pickles (magic number, version, system, state dict, keys) and then the storages,
each a count of elements (int64) and its bytes. The published LXMERT checkpoint has the latter.
"""

import collections
import dataclasses
import math
import os
import pathlib
import struct
import zipfile
from collections.abc import Callable
from typing import Any

import numpy as np

from lxmert_tf.converters.formats.safe_unpickler import SafeUnpickler
from lxmert_tf.converters.formats.stored_tensor import BFLOAT16, StoredTensor, as_numbers, width
from lxmert_tf.errors import InputError

LEGACY_MAGIC = 0x1950A86A20F9469CFC6C
LEGACY_VERSION = 1001

# Storage classes to little-endian types.
_STORAGES = {
    "FloatStorage": "<f4",
    "DoubleStorage": "<f8",
    "HalfStorage": "<f2",
    "BFloat16Storage": BFLOAT16,
    "LongStorage": "<i8",
    "IntStorage": "<i4",
    "ShortStorage": "<i2",
    "CharStorage": "<i1",
    "ByteStorage": "<u1",
    "BoolStorage": "?",
}


@dataclasses.dataclass(frozen=True)
class _Storage:
    key: str
    dtype: str
    count: int

    @property
    def width(self) -> int:
        return width(self.dtype)


@dataclasses.dataclass(frozen=True)
class _Tensor:
    storage: _Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


def read_torch_file(path) -> dict[str, StoredTensor]:
    """Reads the names and shapes of a state dict; values are read one by one, later.

    Raises:
        InputError: the file is missing, damaged, cut short, no state dict, or hostile. Nothing
            in it is executed.
    """
    path = pathlib.Path(path)
    try:
        with path.open("rb") as file:
            is_zip = file.read(4) == b"PK\x03\x04"
        return _read_zip(path) if is_zip else _read_legacy(path)
    except OSError as error:
        raise InputError(f"{path}: {error.strerror or error}") from error
    except InputError as error:
        raise InputError(f"{path}: {error}") from error
    except (zipfile.BadZipFile, KeyError, NotImplementedError, RuntimeError) as error:
        raise InputError(f"{path}: damaged PyTorch archive ({error})") from error


def _read_zip(path: pathlib.Path) -> dict[str, StoredTensor]:
    with zipfile.ZipFile(path) as archive:
        [pickle_name] = [n for n in archive.namelist() if n.endswith("/data.pkl")] or [None]
        if pickle_name is None:
            raise InputError("not a PyTorch archive: it has no data.pkl")
        root = pickle_name.removesuffix("data.pkl")
        if root + "byteorder" in archive.namelist():
            order = archive.read(root + "byteorder")
            if order != b"little":
                raise InputError(f"byte order is {order!r}; only little-endian files are read")
        if any(info.compress_type != zipfile.ZIP_STORED for info in archive.infolist()):
            # PyTorch compresses nothing; a bomb would.
            raise InputError("refused: the archive has compressed members")
        with archive.open(pickle_name) as file:
            state = _unpickler().load(file, archive.getinfo(pickle_name).file_size)
        sizes = {info.filename: info.file_size for info in archive.infolist()}

    def read_bytes(storage: _Storage, start: int, length: int) -> bytes:
        with zipfile.ZipFile(path) as archive, archive.open(f"{root}data/{storage.key}") as file:
            file.seek(start)
            return file.read(length)

    def size(storage: _Storage) -> int:
        name = f"{root}data/{storage.key}"
        if name not in sizes:
            raise InputError(f"damaged PyTorch archive: it has no {name}")
        return sizes[name]

    return _stored(state, path, size, read_bytes)


def _read_legacy(path: pathlib.Path) -> dict[str, StoredTensor]:
    total = os.path.getsize(path)
    with path.open("rb") as file:
        unpickler = _unpickler()
        if unpickler.load(file, total) != LEGACY_MAGIC:
            raise InputError("not a file that PyTorch wrote: its magic number is wrong")
        version = unpickler.load(file, total)
        if version != LEGACY_VERSION:
            raise InputError(f"PyTorch format {version!r} is not known; {LEGACY_VERSION} is")
        unpickler.load(file, total)
        state = unpickler.load(file, total)
        keys = unpickler.load(file, total)
        widths = {t.storage.key: t.storage.width for t in _tensors(state).values()}
        places: dict[str, tuple[int, int]] = {}
        for key in keys:
            header = file.read(8)
            if len(header) < 8 or key not in widths:
                raise InputError(f"damaged or cut short: storage {key} is missing")
            [count] = struct.unpack("<q", header)
            start, length = file.tell(), count * widths[key]
            if count < 0 or start + length > total:
                raise InputError(f"cut short: storage {key} ends behind the end of the file")
            places[key] = (start, length)
            file.seek(start + length)

    def read_bytes(storage: _Storage, start: int, length: int) -> bytes:
        with path.open("rb") as file:
            file.seek(places[storage.key][0] + start)
            return file.read(length)

    def size(storage: _Storage) -> int:
        if storage.key not in places:
            raise InputError(f"damaged or cut short: storage {storage.key} is missing")
        return places[storage.key][1]

    return _stored(state, path, size, read_bytes)


def _unpickler() -> SafeUnpickler:
    names = {f"torch {name}": dtype for name, dtype in _STORAGES.items()}
    callables: dict[str, Callable[..., Any]] = {
        "collections OrderedDict": collections.OrderedDict,
        "torch._utils _rebuild_tensor_v2": _rebuild_tensor,
        "torch._utils _rebuild_parameter": lambda tensor, *_: tensor,
    }
    return SafeUnpickler(callables, names, _persistent)


def _persistent(identity: Any) -> _Storage:
    kind, dtype, key, _, count = identity[:5]
    if kind != "storage" or dtype not in _STORAGES.values() or not isinstance(key, str):
        raise InputError(f"refused: persistent id {kind!r} is no storage")
    if not isinstance(count, int) or count < 0 or "/" in key:
        raise InputError(f"damaged pickle (storage {key!r} of {count!r} elements)")
    if len(identity) > 5 and identity[5] is not None:
        raise InputError("a view of a storage of before PyTorch 0.4 is not read")
    return _Storage(key, dtype, count)


def _rebuild_tensor(storage, offset, shape, strides, *_) -> _Tensor:
    numbers = (offset, *shape, *strides)
    if not isinstance(storage, _Storage) or any(not isinstance(n, int) or n < 0 for n in numbers):
        raise InputError("damaged pickle (a tensor's storage, shape or strides)")
    if len(shape) != len(strides):
        raise InputError("damaged pickle (a tensor's shape and strides differ in length)")
    # A view that repeats its elements could be small in the file and huge in memory.
    if math.prod(shape) > storage.count:
        raise InputError("damaged pickle (a tensor is larger than its storage)")
    last = offset + sum((n - 1) * stride for n, stride in zip(shape, strides))
    if all(shape) and last >= storage.count:
        raise InputError("damaged pickle (a tensor ends behind its storage)")
    return _Tensor(storage, offset, tuple(shape), tuple(strides))


def _tensors(state: Any) -> dict[str, _Tensor]:
    if not isinstance(state, dict):
        raise InputError(f"not a state dict but a {type(state).__name__}")
    for name, value in state.items():
        if not isinstance(name, str) or not isinstance(value, _Tensor):
            raise InputError(f"not a state dict: the entry {name!r} is no tensor")
    return state


def _stored(
    state: Any,
    path: pathlib.Path,
    size: Callable[[_Storage], int],
    read_bytes: Callable[[_Storage, int, int], bytes],
) -> dict[str, StoredTensor]:
    stored = {}
    for name, tensor in _tensors(state).items():
        if size(tensor.storage) < tensor.storage.count * tensor.storage.width:
            raise InputError(f"cut short: the storage of {name} has too few bytes")
        stored[name] = StoredTensor(tensor.shape, _reader(tensor, name, path, read_bytes))
    return stored


def _reader(tensor: _Tensor, name: str, path: pathlib.Path, read_bytes) -> Callable[[], np.ndarray]:
    def read() -> np.ndarray:
        storage, shape = tensor.storage, tensor.shape
        if not all(shape):
            return np.zeros(shape, np.float32)
        count = 1 + sum((n - 1) * stride for n, stride in zip(shape, tensor.strides))
        length = count * storage.width
        try:
            data = read_bytes(storage, tensor.offset * storage.width, length)
        except (OSError, zipfile.BadZipFile) as error:
            raise InputError(f"{path}: {name} cannot be read ({error})") from error
        if len(data) < length:
            raise InputError(f"{path}: cut short in {name}")
        flat = as_numbers(data, storage.dtype)
        strides = [stride * flat.itemsize for stride in tensor.strides]
        # Within the bytes that were read: `count` covers the largest index.
        return np.ascontiguousarray(np.lib.stride_tricks.as_strided(flat, shape, strides))

    return read
