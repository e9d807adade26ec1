"""The word pieces with a meaning of their own, which every vocabulary has."""

import collections
from collections.abc import Sequence

from lxmert_tf.errors import InputError

SPECIAL_PIECES = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")


def special_piece_ids(vocabulary: Sequence[str]) -> dict[str, int]:
    """Return the ids of the special pieces.

    Args:
        vocabulary: Word pieces in the order of their ids.

    Raises:
        InputError: The vocabulary lacks a special piece, or has a piece twice.
    """
    counts = collections.Counter(vocabulary)
    # A missing piece or a duplicate would give other ids than any other tokenizer.
    for piece in (*SPECIAL_PIECES, *counts):
        if counts[piece] != 1:
            raise InputError(
                f"the vocabulary has {piece} {counts[piece]} times; it must have it once"
            )
    return {piece: vocabulary.index(piece) for piece in SPECIAL_PIECES}
