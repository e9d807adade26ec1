"""Shapes and dtypes of a signature's inputs, without TensorFlow."""

from collections.abc import Collection, Sequence
from typing import NamedTuple

import numpy as np

from lxmert_tf.errors import InputError

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


def check_signature(name: str, signatures: Collection[str], model: str = "the model") -> None:
    """Check that a model has a signature.

    Args:
        name: The signature.
        signatures: The names of the model's signatures.
        model: The model, for the message.

    Raises:
        InputError: It has none of this name. Models of two images have no states, and exports of
            earlier versions none of questions.
    """
    if name not in signatures:
        raise InputError(f"{model}: no signature {name!r}; signatures: {', '.join(signatures)}")
