"""Readers and writers of checkpoint files."""

import dataclasses
from collections.abc import Callable

import numpy as np


@dataclasses.dataclass(frozen=True)
class StoredTensor:
    """Tensor that is read when it is needed, so that memory holds one of a checkpoint at a time.

    Args:
        shape: Shape of the tensor.
        read: Function that returns the values as float32.
    """

    shape: tuple[int, ...]
    read: Callable[[], np.ndarray]
