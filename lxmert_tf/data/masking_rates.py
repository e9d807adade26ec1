"""Rates of masking and swapping, in a module without TensorFlow so that configs load fast."""

import dataclasses
from typing import Annotated

import pydantic

from lxmert_tf.config_file import check_fields
from lxmert_tf.errors import InputError

Share = Annotated[float, pydantic.Field(ge=0, le=1)]


@dataclasses.dataclass(frozen=True)
class MaskingRates:
    """How often the pre-training tasks hide and swap; defaults as published (paper section 3.1).

    Args:
        words: Share of the word pieces to predict.
        regions: Share of the regions to predict.
        erased: Share of these that become [MASK], or zeros.
        replaced: Share of these that become a random piece, or a region of another image. The rest
            stays as it is.
        swapped: Share of the sentences that are replaced by one about another image.

    Raises:
        InputError: A share is not in 0..1, or `erased + replaced` exceeds 1.
    """

    words: Share = 0.15
    regions: Share = 0.15
    erased: Share = 0.8
    replaced: Share = 0.1
    swapped: Share = 0.5

    def __post_init__(self):
        check_fields(self)
        if self.erased + self.replaced > 1:
            raise InputError(f"erased + replaced is {self.erased + self.replaced}; at most 1")
