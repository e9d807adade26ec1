"""How often the pre-training tasks hide and swap; apart from the ops, for configs to use."""

import dataclasses

from lxmert_tf.errors import InputError


@dataclasses.dataclass(frozen=True)
class MaskingRates:
    """How often what is hidden or swapped; defaults as published.

    Args:
        words: share of the word pieces to be predicted.
        regions: share of the regions to be predicted.
        erased: of those, the share that becomes [MASK], or zeros.
        replaced: of those, the share that becomes a random piece, or a region of another image;
            the rest is kept as it is.
        swapped: share of the sentences that are replaced by one of another image.
    """

    words: float = 0.15
    regions: float = 0.15
    erased: float = 0.8
    replaced: float = 0.1
    swapped: float = 0.5

    def __post_init__(self):
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if not 0 <= value <= 1:
                raise InputError(f"{field.name} is {value}; it must be in [0, 1]")
        if self.erased + self.replaced > 1:
            raise InputError(f"erased + replaced is {self.erased + self.replaced}; at most 1")
