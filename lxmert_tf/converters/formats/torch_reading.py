"""State dicts in the format of `torch.save`, read without PyTorch and without executing anything.

There are two formats. Since PyTorch 1.6 it is a zip archive with `*/data.pkl` and a `*/data/KEY`
for each storage. Before, it was five pickles (magic number, version, system, state dict, keys) and
then the storages, each a number of elements (int64) and their bytes. The published LXMERT
checkpoints have the older format.
"""

import dataclasses
import functools
import math
import os
import pathlib
import reprlib
import struct
import zipfile
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from lxmert_tf.converters.formats import StoredTensor
from lxmert_tf.converters.formats.file_kind import foreign_kind
from lxmert_tf.converters.formats.safe_unpickler import SafeUnpickler, ordered_dict
from lxmert_tf.errors import InputError, first_line

LEGACY_MAGIC = 0x1950A86A20F9469CFC6C
LEGACY_VERSION = 1001

_STORAGE_DTYPES = {
    "torch FloatStorage": np.dtype("<f4"),
    "torch DoubleStorage": np.dtype("<f8"),
    "torch HalfStorage": np.dtype("<f2"),
    "torch BFloat16Storage": np.dtype(tf.bfloat16.as_numpy_dtype),
    "torch LongStorage": np.dtype("<i8"),
    "torch IntStorage": np.dtype("<i4"),
    "torch ShortStorage": np.dtype("<i2"),
    "torch CharStorage": np.dtype("<i1"),
    "torch ByteStorage": np.dtype("<u1"),
    "torch BoolStorage": np.dtype("?"),
}
# What damage to an archive or to the structure of its pickles raises.
_DAMAGE = (
    *(zipfile.BadZipFile, struct.error, EOFError, NotImplementedError, RuntimeError),
    *(ValueError, TypeError, LookupError, OverflowError),
)


@dataclasses.dataclass(frozen=True)
class _Storage:
    key: str
    dtype: np.dtype
    count: int


@dataclasses.dataclass(frozen=True)
class _Tensor:
    storage: _Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


# Function that returns bytes of a storage, given its key, the first byte and the number of bytes.
_ReadBytes = Callable[[str, int, int], bytes]


def read_torch_file(path) -> dict[str, StoredTensor]:
    """Read the names and shapes of a state dict; the values are read later, one by one.

    Raises:
        InputError: The file is missing, damaged, cut short, malicious or not a state dict.
    """
    path = pathlib.Path(path)
    try:
        with path.open("rb") as file:
            is_zip = file.read(4) == b"PK\x03\x04"
        if kind := foreign_kind(path):
            raise InputError(f"not a PyTorch file (.pth, .pt or .bin) but {kind}")
        return _read_zip(path) if is_zip else _read_legacy(path)
    except OSError as error:
        raise InputError(f"{path}: {error.strerror or error}") from error
    except InputError as error:
        raise InputError(f"{path}: {error}") from error
    except _DAMAGE as error:
        raise InputError(f"{path}: damaged PyTorch file ({first_line(error)})") from error


def _read_zip(path: pathlib.Path) -> dict[str, StoredTensor]:
    # Stays open as long as a tensor can be read from it.
    archive = zipfile.ZipFile(path)
    sizes = {info.filename: info.file_size for info in archive.infolist()}
    # PyTorch compresses nothing, and a small file could expand to fill the memory.
    if any(info.compress_type != zipfile.ZIP_STORED for info in archive.infolist()):
        raise InputError("refused: the archive has compressed members")
    pickles = [name for name in sizes if name.endswith("/data.pkl")]
    if len(pickles) != 1:
        raise InputError(f"not a PyTorch archive: it has {len(pickles)} data.pkl, not one")
    root = pickles[0].removesuffix("data.pkl")
    if f"{root}byteorder" in sizes and archive.read(f"{root}byteorder") != b"little":
        raise InputError("byte order is not little-endian, the only one supported")
    with archive.open(pickles[0]) as file:
        state = _checked(_unpickler().load(file, sizes[pickles[0]]))

    def read_bytes(key: str, start: int, length: int) -> bytes:
        with archive.open(f"{root}data/{key}") as file:
            file.seek(start)
            return file.read(length)

    storage_sizes = {name.removeprefix(f"{root}data/"): size for name, size in sizes.items()}
    return _stored_tensors(state, path, storage_sizes, read_bytes)


def _read_legacy(path: pathlib.Path) -> dict[str, StoredTensor]:
    total = os.path.getsize(path)
    with path.open("rb") as file:
        unpickler = _unpickler()
        if unpickler.load(file, total) != LEGACY_MAGIC:
            raise InputError("not a PyTorch file: its magic number is wrong")
        version = unpickler.load(file, total)
        if version != LEGACY_VERSION:
            raise InputError(f"unknown PyTorch format {_shown(version)}; expected {LEGACY_VERSION}")
        unpickler.load(file, total)  # Sizes of C types on the system that wrote the file.
        state = _checked(unpickler.load(file, total))
        item_sizes = {t.storage.key: t.storage.dtype.itemsize for t in state.values()}
        starts: dict[str, int] = {}
        sizes: dict[str, int] = {}
        for key in unpickler.load(file, total):
            if not isinstance(key, str):
                raise InputError("damaged pickle (the key of a storage is not a string)")
            [count] = struct.unpack("<q", file.read(8))
            starts[key], sizes[key] = file.tell(), count * item_sizes[key]
            if count < 0 or starts[key] + sizes[key] > total:
                raise InputError(f"cut short: storage {key!r} ends after the end of the file")
            file.seek(sizes[key], os.SEEK_CUR)

    def read_bytes(key: str, start: int, length: int) -> bytes:
        with path.open("rb") as file:
            file.seek(starts[key] + start)
            return file.read(length)

    return _stored_tensors(state, path, sizes, read_bytes)


def _unpickler() -> SafeUnpickler:
    callables: dict[str, Callable[..., Any]] = {
        "collections OrderedDict": ordered_dict,
        "torch._utils _rebuild_tensor_v2": _rebuild_tensor,
        "torch._utils _rebuild_parameter": lambda tensor, *_: tensor,
    }
    return SafeUnpickler(callables, _STORAGE_DTYPES, _persistent)


def _persistent(identity: Any) -> _Storage:
    kind, dtype, key, _, count = identity[:5]
    if kind != "storage" or not isinstance(dtype, np.dtype) or not isinstance(key, str):
        raise InputError(f"refused: persistent ID {_shown(kind)} is not a storage")
    if not isinstance(count, int) or count < 0 or "/" in key:
        raise InputError(f"damaged pickle (storage {key!r} of {_shown(count)} elements)")
    if len(identity) > 5 and identity[5] is not None:
        raise InputError("views of storages, which PyTorch wrote before 0.4, are not supported")
    return _Storage(key, dtype, count)


def _rebuild_tensor(storage, offset, shape, strides, *_) -> _Tensor:
    numbers = (offset, *shape, *strides)
    if not isinstance(storage, _Storage) or any(not isinstance(n, int) or n < 0 for n in numbers):
        raise InputError("damaged pickle (storage, shape or strides of a tensor)")
    if len(shape) != len(strides):
        raise InputError("damaged pickle (shape and strides of a tensor differ in length)")
    # A view that repeats its elements could be small in the file and huge in memory.
    if math.prod(shape) > storage.count:
        raise InputError("damaged pickle (a tensor is larger than its storage)")
    if all(shape) and offset + _span(shape, strides) > storage.count:
        raise InputError("damaged pickle (a tensor ends after its storage)")
    return _Tensor(storage, offset, tuple(shape), tuple(strides))


def _shown(value: Any) -> str:
    # A list of two lists of two lists, and so on, has a long text.
    return reprlib.repr(value)


def _span(shape, strides) -> int:
    """Return the number of elements from the first to the last of a tensor that is not empty."""
    return 1 + sum((n - 1) * stride for n, stride in zip(shape, strides))


def _checked(state: Any) -> dict[str, _Tensor]:
    if not isinstance(state, dict):
        raise InputError(f"not a state dict but a {type(state).__name__}")
    # Detectron2 saves the state dict under this key.
    if isinstance(state.get("model"), dict):
        state = state["model"]
    for name, value in state.items():
        if not isinstance(name, str) or not isinstance(value, _Tensor):
            raise InputError(f"not a state dict: the entry {name!r} is not a tensor")
    return state


def _stored_tensors(
    state: Mapping[str, _Tensor],
    path: pathlib.Path,
    storage_sizes: Mapping[str, int],
    read_bytes: _ReadBytes,
) -> dict[str, StoredTensor]:
    stored = {}
    for name, tensor in state.items():
        storage = tensor.storage
        if storage_sizes.get(storage.key, 0) < storage.count * storage.dtype.itemsize:
            raise InputError(f"cut short: the storage of {name!r} is missing or has too few bytes")
        read = functools.partial(_read_tensor, tensor, f"{path}: {name!r}", read_bytes)
        stored[name] = StoredTensor(tensor.shape, read)
    return stored


def _read_tensor(tensor: _Tensor, where: str, read_bytes: _ReadBytes) -> np.ndarray:
    storage, shape = tensor.storage, tensor.shape
    if not all(shape):
        return _empty(shape, where)
    size = storage.dtype.itemsize
    length = size * _span(shape, tensor.strides)
    try:
        data = read_bytes(storage.key, size * tensor.offset, length)
    except (OSError, *_DAMAGE) as error:
        raise InputError(f"{where} cannot be read ({first_line(error)})") from error
    if len(data) < length:
        raise InputError(f"{where} is cut short")
    values = np.frombuffer(data, storage.dtype).astype(np.float32, copy=False)
    strides = [stride * values.itemsize for stride in tensor.strides]
    try:
        # The view stays inside the buffer, which `_span` has measured.
        return np.array(np.lib.stride_tricks.as_strided(values, shape, strides), order="C")
    except (ValueError, OverflowError) as error:
        # NumPy has at most 32 axes, or 64.
        raise InputError(f"{where} has a shape that NumPy cannot have ({error})") from error


def _empty(shape: tuple[int, ...], where: str) -> np.ndarray:
    try:
        return np.zeros(shape, np.float32)
    except (ValueError, OverflowError) as error:
        raise InputError(f"{where} has a shape that NumPy cannot have ({error})") from error
