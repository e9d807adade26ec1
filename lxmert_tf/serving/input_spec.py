"""Shapes and dtypes of a signature's inputs, without TensorFlow."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

STRING = np.dtype(object)


class InputSpec(NamedTuple):
    """An input of a signature.

    Attributes:
        shape: Sizes of the axes; None for an axis of any size.
        dtype: The dtype of the array; `STRING` for texts, which are bytes objects.
    """

    shape: tuple[int | None, ...]
    dtype: np.dtype

    @property
    def width(self) -> int:
        """Size of the last axis, which must be fixed."""
        width = self.shape[-1]
        assert width is not None
        return width

    def fits(self, shape: Sequence[int]) -> bool:
        """Return whether an array of this shape can be the input."""
        return len(shape) == len(self.shape) and all(
            wanted in (None, size) for wanted, size in zip(self.shape, shape)
        )


# Inputs of a signature, by name.
Specs = dict[str, InputSpec]
