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
