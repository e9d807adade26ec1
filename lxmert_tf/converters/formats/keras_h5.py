"""Weights that Keras 2 wrote as HDF5 (transformers' `tf_model.h5`), read without their model.

Each layer is a group; below it lie the datasets, named as the variables are: in `lxmert`
`tf_lxmert_for_pre_training/lxmert/encoder/layer_._0/attention/self/query/kernel:0`. The names
follow transformers' conventions of TensorFlow for PyTorch's (its modeling_tf_pytorch_utils).

HDF5 is used for the names and places alone. The datasets lie in the file in one piece each, as
Keras writes them, and are read from there as plain bytes.
"""

import math
import os
import pathlib
import re
from collections.abc import Iterator

import h5py
import numpy as np

from lxmert_tf.converters.formats.stored_tensor import StoredTensor, as_numbers
from lxmert_tf.errors import InputError

# What TensorFlow calls a layer's parts, by PyTorch's names.
_PARTS = {"kernel": "weight", "gamma": "weight", "embeddings": "weight", "beta": "bias"}


def read_keras_h5(path) -> dict[str, StoredTensor]:
    """Reads the names and shapes of a file; values are read one by one, later.

    Returns:
        The tensors under PyTorch's names; kernels as [out, in].

    Raises:
        InputError: the file is missing, damaged or cut short, or holds what Keras does not write:
            links (to other files or within this one), objects, compressed or external data.
    """
    path = pathlib.Path(path)
    try:
        # Python says best why a file cannot be opened.
        path.open("rb").close()
    except OSError as error:
        raise InputError(f"{path}: {error.strerror or error}") from error
    try:
        # Without a lock: the directory may be one that cannot be written to.
        with h5py.File(path, "r", locking=False) as file:
            return _stored(path, file, os.path.getsize(path))
    except InputError as error:
        raise InputError(f"{path}: {error}") from error
    except (OSError, ValueError, KeyError, TypeError, RuntimeError, MemoryError) as error:
        reason = " ".join(str(error).split())
        raise InputError(f"{path}: damaged HDF5 file ({reason})") from error


def pytorch_name(layer_path: str) -> str:
    """PyTorch's name for a dataset.

    Args:
        layer_path: the path of the dataset: layer, model, then the variable's own name.

    Raises:
        InputError: the path is too short to be a variable's.
    """
    # `mlm___cls` is PyTorch's `cls`; `layer_._0` is `layer.0`.
    own = [re.sub(r"^.*___", "", part) for part in layer_path.split("/")[2:]]
    if not own:
        raise InputError(f"not written by Keras: the dataset {layer_path!r} belongs to no layer")
    *parts, last = "/".join(own).removesuffix(":0").replace("_._", "/").split("/")
    return ".".join([*parts, _PARTS.get(last, last)])


def _stored(path: pathlib.Path, file: h5py.File, size: int) -> dict[str, StoredTensor]:
    stored: dict[str, StoredTensor] = {}
    for name, dataset in _datasets(file, {_address(file)}):
        tensor = _tensor(path, name, dataset, size)
        # The masked-LM layer holds the embeddings too, and Keras writes them with each layer.
        before = stored.setdefault(pytorch_name(name), tensor)
        if before.shape != tensor.shape:
            raise InputError(f"{name!r} stands twice, with shapes {before.shape}, {tensor.shape}")
    if not stored:
        raise InputError("not written by Keras: it holds no weights")
    return stored


def _datasets(group: h5py.Group, seen: set[int]) -> Iterator[tuple[str, h5py.Dataset]]:
    """Every dataset below a group, with its path; nothing outside the file is touched."""
    for key in group:
        name = f"{group.name}/{key}".lstrip("/")
        if not isinstance(group.get(key, getlink=True), h5py.HardLink):
            raise InputError(f"refused: {name!r} is a link to another place or file")
        item = group[key]
        if isinstance(item, h5py.Dataset):
            yield name, item
            continue
        if not isinstance(item, h5py.Group):
            raise InputError(f"refused: {name!r} is neither a group nor a dataset")
        if _address(item) in seen:
            raise InputError(f"refused: the group {name!r} has two names or holds itself")
        seen.add(_address(item))
        yield from _datasets(item, seen)


def _address(group: h5py.Group) -> int:
    return h5py.h5o.get_info(group.id).addr


def _tensor(path: pathlib.Path, name: str, dataset: h5py.Dataset, size: int) -> StoredTensor:
    dtype, shape = dataset.dtype, dataset.shape
    # h5py widens numbers that NumPy lacks; the bytes would be other ones than it says.
    is_plain = dtype.kind in "fiu" and h5py.h5t.py_create(dtype) == dataset.id.get_type()
    if not is_plain or shape is None:
        raise InputError(f"refused: {name!r} holds {dtype}, not plain numbers")
    if dataset.is_virtual or dataset.external or dataset.chunks:
        raise InputError(f"refused: {name!r} is virtual, external, chunked or compressed")
    # HDF5 leaves it to its reader whether shape, storage and file fit each other.
    start, length = dataset.id.get_offset(), math.prod(shape) * dtype.itemsize
    if start is None or dataset.id.get_storage_size() != length or start + length > size:
        raise InputError(f"cut short: {name!r} has less data than its shape says")
    is_kernel = name.endswith("/kernel:0")

    def read() -> np.ndarray:
        try:
            with path.open("rb") as file:
                file.seek(start)
                data = file.read(length)
        except OSError as error:
            raise InputError(f"{path}: {error.strerror or error}") from error
        if len(data) < length:
            raise InputError(f"{path}: cut short in {name!r}")
        value = as_numbers(data, dtype.str).reshape(shape)
        return value.T if is_kernel else value

    return StoredTensor(shape[::-1] if is_kernel else shape, read)
