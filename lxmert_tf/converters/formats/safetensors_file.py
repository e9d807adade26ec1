"""Checkpoints in the safetensors format, as Hugging Face publishes them."""

import contextlib
import functools
import pathlib
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from lxmert_tf.converters.formats import StoredTensor
from lxmert_tf.converters.formats.file_kind import foreign_kind
from lxmert_tf.errors import InputError


def read_safetensors(path) -> dict[str, StoredTensor]:
    """Read the names and shapes of the tensors in a file; the values are read later, one by one.

    Raises:
        InputError: The file is missing, damaged or cut short.
    """
    with _open(path) as file:
        names = file.keys()
        shapes = {name: tuple(file.get_slice(name).get_shape()) for name in names}
    return {
        name: StoredTensor(shape, functools.partial(_read_tensor, path, name))
        for name, shape in shapes.items()
    }


def write_safetensors(path, tensors: Mapping[str, StoredTensor]) -> None:
    """Write float32 tensors; the same tensors give the same bytes.

    The library writes all tensors at once, so memory holds a copy of the checkpoint meanwhile.

    Args:
        path: File to write.
        tensors: Tensors by name.
    """
    # The library writes the buffer of an array as it is, also that of a transposed view.
    values = {name: np.asarray(tensor.read(), order="C") for name, tensor in tensors.items()}
    # transformers refuses files without this entry.
    path = pathlib.Path(path)
    path.touch()
    mode = path.stat().st_mode
    save_file(values, path, metadata={"format": "pt"})
    # The library lets only the owner read the file.
    path.chmod(mode)


def _read_tensor(path, name: str) -> np.ndarray:
    with _open(path) as file:
        values = file.get_tensor(name)
    if not np.can_cast(values.dtype, np.float32, "same_kind"):
        raise InputError(f"{path}: {name} holds {values.dtype}, not real numbers")
    return values.astype(np.float32, copy=False)


@contextlib.contextmanager
def _open(path) -> Iterator[Any]:
    try:
        # safe_open calls a directory a missing device.
        open(path, "rb").close()
        with safe_open(path, framework="numpy") as file:
            yield file
    except OSError as error:
        raise InputError(f"{path}: {error.strerror or error}") from error
    except SafetensorError as error:
        kind = foreign_kind(path)
        is_other = kind is not None and "safetensors" not in kind
        reason = f"it is {kind}" if is_other else " ".join(str(error).split())
        raise InputError(f"{path}: damaged safetensors file ({reason})") from error
