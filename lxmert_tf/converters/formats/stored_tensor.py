"""A tensor that lies in a checkpoint file and is read when it is needed."""

import dataclasses
from collections.abc import Callable

import numpy as np


@dataclasses.dataclass(frozen=True)
class StoredTensor:
    """One tensor of a checkpoint; peak memory stays near one tensor, not one checkpoint.

    Args:
        shape: its shape.
        read: gives its value; floating point of any width as float32.
    """

    shape: tuple[int, ...]
    read: Callable[[], np.ndarray]


BFLOAT16 = "bfloat16"


def as_numbers(data: bytes, dtype: str) -> np.ndarray:
    """A flat array; floating point of any width as float32.

    Args:
        data: the bytes.
        dtype: a NumPy type string, or "bfloat16" (the upper half of a float32).
    """
    if dtype == BFLOAT16:
        return (np.frombuffer(data, "<u2").astype(np.uint32) << 16).view(np.float32)
    flat = np.frombuffer(data, dtype)
    return flat.astype(np.float32) if flat.dtype.kind == "f" else flat


def width(dtype: str) -> int:
    """Bytes per element."""
    return 2 if dtype == BFLOAT16 else np.dtype(dtype).itemsize
