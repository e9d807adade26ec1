"""Weights that Keras 2 saved as HDF5 (`tf_model.h5` of transformers), read without the model.

Each layer is a group that contains the datasets of its variables. Their paths are the names of the
variables, such as `tf_lxmert_model/lxmert/encoder/layer_._0/attention/self/query/kernel:0` in the
group `lxmert`. They follow the rules of `modeling_tf_pytorch_utils` in transformers.

h5py reads only the structure. Keras writes each dataset in one piece, so its values are read later
as plain bytes. The HDF5 library never follows a link or runs a filter of a malicious file.
"""

import functools
import math
import os
import pathlib
import re
from collections.abc import Iterator

import h5py
import numpy as np

from lxmert_tf.converters.formats import StoredTensor
from lxmert_tf.converters.formats.file_kind import foreign_kind
from lxmert_tf.errors import InputError

# PyTorch's names of the variables of a layer.
_PYTORCH_NAMES = {"kernel": "weight", "gamma": "weight", "embeddings": "weight", "beta": "bias"}


def read_keras_h5(path) -> dict[str, StoredTensor]:
    """Read the names and shapes of the tensors in a file; the values are read later, one by one.

    Returns:
        Tensors under PyTorch's names, with kernels as [out, in].

    Raises:
        InputError: The file is missing, damaged or cut short, or has what Keras does not write:
            links, objects, compressed or external data.
    """
    path = pathlib.Path(path)
    try:
        # Python's reasons are clearer than those of HDF5.
        path.open("rb").close()
    except OSError as error:
        raise InputError(f"{path}: {error.strerror or error}") from error
    try:
        # Locking fails in directories that are read-only.
        with h5py.File(path, "r", locking=False) as file:
            return _stored_tensors(path, file, os.path.getsize(path))
    except InputError as error:
        raise InputError(f"{path}: {error}") from error
    except (OSError, ValueError, KeyError, TypeError, RuntimeError, MemoryError) as error:
        kind = foreign_kind(path)
        is_other = kind is not None and "HDF5" not in kind
        reason = f"it is {kind}" if is_other else " ".join(str(error).split())
        raise InputError(f"{path}: damaged HDF5 file ({reason})") from error


def pytorch_name(dataset_path: str) -> str:
    """Return PyTorch's name for a dataset.

    Args:
        dataset_path: Path in the file: layer, model, then the name of the variable.

    Raises:
        InputError: The path is too short for a variable.

    Example:
        >>> pytorch_name("lxmert/tf_model/lxmert/encoder/layer_._0/output/dense/kernel:0")
        'lxmert.encoder.layer.0.output.dense.weight'
    """
    # transformers writes `mlm___cls` for the layer that PyTorch calls `cls`.
    parts = [re.sub(r"^.*___", "", part) for part in dataset_path.split("/")[2:]]
    if not parts:
        raise InputError(f"not written by Keras: dataset {dataset_path!r} belongs to no layer")
    *parts, last = "/".join(parts).removesuffix(":0").replace("_._", "/").split("/")
    return ".".join([*parts, _PYTORCH_NAMES.get(last, last)])


def _stored_tensors(path: pathlib.Path, file: h5py.File, size: int) -> dict[str, StoredTensor]:
    stored: dict[str, StoredTensor] = {}
    for name, dataset in _datasets(file, {_address(file)}):
        tensor = _stored_tensor(path, name, dataset, size)
        # Keras writes the embeddings twice, because the masked-LM layer shares them.
        first = stored.setdefault(pytorch_name(name), tensor)
        if first.shape != tensor.shape:
            raise InputError(
                f"duplicate entry {pytorch_name(name)!r} with shapes {first.shape}, {tensor.shape}"
            )
    if not stored:
        raise InputError("not written by Keras: it holds no weights")
    return stored


def _datasets(group: h5py.Group, seen: set[int]) -> Iterator[tuple[str, h5py.Dataset]]:
    """Yield the path and the dataset of each dataset below a group, following no link."""
    for key in group:
        name = f"{group.name}/{key}".lstrip("/")
        if not isinstance(group.get(key, getlink=True), h5py.HardLink):
            raise InputError(f"refused: {name!r} is a link to another path or file")
        item = group[key]
        if isinstance(item, h5py.Dataset):
            yield name, item
            continue
        if not isinstance(item, h5py.Group):
            raise InputError(f"refused: {name!r} is neither a group nor a dataset")
        if _address(item) in seen:
            raise InputError(f"refused: group {name!r} has two names or contains itself")
        seen.add(_address(item))
        yield from _datasets(item, seen)


def _address(group: h5py.Group) -> int:
    return h5py.h5o.get_info(group.id).addr


def _stored_tensor(path, name: str, dataset: h5py.Dataset, file_size: int) -> StoredTensor:
    dtype, shape = dataset.dtype, dataset.shape
    # For numbers that NumPy lacks, h5py names a wider type than the one in the file.
    is_plain = dtype.kind in "fiu" and h5py.h5t.py_create(dtype) == dataset.id.get_type()
    if not is_plain or shape is None:
        raise InputError(f"refused: {name!r} holds {dtype}, not plain numbers")
    if dataset.is_virtual or dataset.external or dataset.chunks:
        raise InputError(f"refused: {name!r} is virtual, external, chunked or compressed")
    # HDF5 does not check that the shape, the storage and the file agree.
    start, length = dataset.id.get_offset(), math.prod(shape) * dtype.itemsize
    if start is None or dataset.id.get_storage_size() != length or start + length > file_size:
        raise InputError(f"cut short: {name!r} has less data than its shape requires")
    read = functools.partial(_read_tensor, path, name, start, dtype, shape)
    if name.endswith("/kernel:0"):
        return StoredTensor(shape[::-1], lambda: read().T)
    return StoredTensor(shape, read)


def _read_tensor(path, name: str, start: int, dtype: np.dtype, shape) -> np.ndarray:
    length = math.prod(shape) * dtype.itemsize
    try:
        with path.open("rb") as file:
            file.seek(start)
            data = file.read(length)
    except OSError as error:
        raise InputError(f"{path}: {error.strerror or error}") from error
    if len(data) < length:
        raise InputError(f"{path}: cut short in {name!r}")
    return np.frombuffer(data, dtype).astype(np.float32, copy=False).reshape(shape)
