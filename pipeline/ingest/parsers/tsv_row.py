"""A strictly parsed row of tab-separated numbers and base64 arrays.

Cells may be in quotes, as csv.writer and pandas write them, and arrays may have the form b'...',
which Python 3 makes of bytes that are written as text.

No cell tells the type of an array. The number of bytes tells the size of an item, or if the number
of items is unknown (features), the bytes themselves do.
"""

import binascii
import math

import numpy as np
import pybase64

from pipeline.ingest.checks.region_checks import RegionError

# Types by the bytes of an item.
_FLOATS: dict[int, np.dtype] = {2: np.dtype("<f2"), 4: np.dtype("<f4"), 8: np.dtype("<f8")}
_INTEGERS: dict[int, np.dtype] = {2: np.dtype("<i2"), 4: np.dtype("<i4"), 8: np.dtype("<i8")}
# Integers nearer to 0 than this would be NaN or nearly 0 as floats: below 2**-7 of float16, 2**-126
# of float32, and 2**-1022 of float64. No boxes or features are like that.
_INTEGER_LIMITS = {2: 1 << 13, 4: 1 << 23, 8: 1 << 52}
# More classes than any detector has. Floats that are read as integers are larger.
_MOST_CLASSES = 10**7
# Half-words of the features that are compared first, and the fewest groups that tell anything.
_SAMPLE, _FEWEST_GROUPS = 1024, 16
# A smaller float32 is part of another type.
_SMALLEST_FEATURE = 1e-12
# The largest distance (total variation) between two samples of the same numbers. Halves of one
# number are at least 0.75 apart, those of different numbers close to 0 if there are many.
_LARGEST_DISTANCE = 0.65
# Python would parse thousands of digits, slowly. No image has so many pixels.
MAX_DIGITS = 9
CUT_SHORT = "the file ends in the middle of the row"


class TsvRow:
    """The cells of a row by the names of their columns. All methods raise a `RegionError`.

    Args:
        columns: Names of the columns.
        text: The row without "\\n"; it may end with one or two "\\r".
        ended: Whether a line end followed. If not, the file may be cut in the middle of the row.

    Raises:
        RegionError: The row has another number of cells.
    """

    def __init__(self, columns: tuple[str, ...], text: bytes, ended: bool = True):
        self._last = columns[-1]
        self._ended = ended
        cells = split_cells(text, len(columns))
        if len(cells) < len(columns) and not ended:
            raise RegionError(CUT_SHORT)
        if len(cells) != len(columns):
            raise RegionError(f"the row does not have {len(columns)} columns separated by tabs")
        self._cells = dict(zip(columns, cells))

    def text(self, name: str) -> str:
        """Return a cell as text."""
        try:
            return cell_text(self._cells[name])
        except UnicodeDecodeError as error:
            raise RegionError(f"{name} is not UTF-8") from error

    def number(self, name: str) -> int:
        """Return a cell as a positive integer."""
        digits = self._plain(name).tobytes()
        if not digits.isdigit() or len(digits) > MAX_DIGITS or int(digits) < 1:
            raise RegionError(f"{name} is not a whole number of at least 1")
        return int(digits)

    def region_count(self, name: str) -> int:
        """Return a cell as a number of regions, at least 1."""
        if self._plain(name) == b"0":
            raise RegionError("the image has no regions")
        return self.number(name)

    def integers(self, name: str, count: int) -> np.ndarray:
        """Return a cell of int64 or int32 as int64 [count]."""
        data = self._decoded(name)
        values = np.frombuffer(data, _INTEGERS[self._item_size(name, data, count)])
        if values.min() < -_MOST_CLASSES or values.max() > _MOST_CLASSES:
            raise RegionError(f"{name} are not whole numbers")
        return values.astype(np.int64, copy=False)

    def numbers(self, name: str, *shape: int) -> np.ndarray:
        """Return a cell of float32, float64, int32, or int64 as an array of a shape."""
        data = self._decoded(name)
        size = self._item_size(name, data, math.prod(shape))
        values = np.frombuffer(data, _FLOATS[size]).reshape(shape)
        return values.view(_INTEGERS[size]) if _are_integers(values) else values

    def features(self, name: str, count: int) -> np.ndarray:
        """Return a cell of float32, float64, or float16 vectors of any length as [count, length].

        The values tell the type.
        """
        data = self._decoded(name)
        if not data or len(data) % (2 * count):
            raise self._error(name, f"the length of {name} does not fit num_boxes")
        words = np.frombuffer(data, "<u2").reshape(count, -1)
        is_float32_long = words.shape[1] % 2 == 0
        if _are_integers(words) or (is_float32_long and _are_integers(words.view("<u4"))):
            raise RegionError(f"{name} are integers; they must be float32")
        size = _feature_item_size(words)
        if size:
            return words.view(_FLOATS[size])
        if is_float32_long:
            raise self._error(name, f"{name} are too few to tell float32 from other types")
        raise self._error(name, f"the length of {name} does not fit num_boxes")

    def _decoded(self, name: str) -> bytes:
        try:
            return pybase64.b64decode(self._encoded(name), validate=True)
        except binascii.Error as error:
            raise self._error(name, f"{name} is not base64") from error

    def _item_size(self, name: str, data: bytes, count: int) -> int:
        """Return the bytes of an item, 4 or 8."""
        if len(data) in (4 * count, 8 * count):
            return len(data) // count
        reason = f"the length of {name} does not fit num_boxes"
        if len(data) == 2 * count:
            reason += "; its items must have 32 or 64 bits, not 16"
        raise self._error(name, reason)

    def _plain(self, name: str) -> memoryview:
        return _without(self._cells[name], b'"', b'"')

    def _encoded(self, name: str) -> memoryview:
        return _without(self._plain(name), b"b'", b"'")

    def _error(self, name: str, reason: str) -> RegionError:
        cut = name == self._last and not self._ended
        return RegionError(CUT_SHORT if cut else reason)


def _are_integers(values: np.ndarray) -> bool:
    """Return whether an array, whose type is only known to have so many bytes, holds integers."""
    integers, limit = values.view(_INTEGERS[values.itemsize]), _INTEGER_LIMITS[values.itemsize]
    # The first row settles it for floats.
    for part in (integers[:1], integers):
        if part.min() <= -limit or part.max() >= limit:
            return False
    return bool(integers.any())


def _feature_item_size(words: np.ndarray) -> int:
    """Return the bytes of the floats in which half-words, uint16 [R, W], belong; 0 if unclear."""
    flat, width = words.reshape(-1), words.shape[1]
    size = _grouped_size(flat[:_SAMPLE], width) or _grouped_size(flat, width)
    if size or width % 2:
        return size
    singles = words.view(_FLOATS[4])
    # Halves of float64 may be signaling NaN, of which NumPy warns.
    with np.errstate(invalid="ignore"):
        is_unclear = ((singles != 0) & (np.abs(singles) < _SMALLEST_FEATURE)).any() or (
            width % 4 == 0 and singles.any() and not singles[:, 0::2].any()
        )
    return 0 if is_unclear else 4


def _grouped_size(words: np.ndarray, width: int) -> int:
    """Return the bytes of the floats in which half-words belong together: 2, 4, or 8.

    The last half-word of a float has its sign and exponent, and is alike in all features. Those
    before it hold the rest of the mantissa, which is random or zero.

    Args:
        words: uint16 [N].
        width: Number of half-words in a vector.

    Returns:
        The bytes; 0 if there are too few half-words, or if they belong to no vectors of this width.
    """
    group = 4 if width % 4 == 0 else 2
    *first, third, last = words[: len(words) // group * group].reshape(-1, group).T
    used = (third | last) != 0
    if np.count_nonzero(used) < _FEWEST_GROUPS:
        return 0
    if _are_alike(third[used], last[used]):
        return 2
    if not first:
        return 0 if width % 2 else 4
    used |= (first[0] | first[1]) != 0
    return 4 if _are_alike(first[1][used], last[used]) else 8


def _are_alike(some: np.ndarray, others: np.ndarray) -> bool:
    """Return whether half-words of the same number may have the same distribution."""
    # By the bits that are sign and exponent in float16, and in other types nearly so.
    counts = [np.bincount(words >> 10, minlength=64) for words in (some, others)]
    distance = np.abs(counts[0] - counts[1]).sum() / (2 * len(some))
    return bool(distance <= _LARGEST_DISTANCE)


def split_cells(text: bytes, count: int) -> list[memoryview]:
    """Return the cells as views of the text, and if there are more than `count`, one more.

    `bytes.split` would copy the features, which are most of the row, and `bytes.count` is slow.
    """
    view, start = memoryview(text), 0
    cells: list[memoryview] = []
    while len(cells) < count and (end := text.find(b"\t", start)) >= 0:
        cells.append(view[start:end])
        start = end + 1
    return [*cells, view[start : len(text) - text.endswith(b"\r") - text.endswith(b"\r\r")]]


def cell_text(cell: memoryview, errors: str = "strict") -> str:
    """Return the text of a cell, without the quotes around it.

    Args:
        cell: The cell.
        errors: What to do with bytes that are not UTF-8, as `bytes.decode` has it.
    """
    text = str(cell, "utf-8", errors)
    return text[1:-1].replace('""', '"') if _is_within(cell, b'"', b'"') else text


def _is_within(cell: memoryview, opening: bytes, closing: bytes) -> bool:
    # The last byte first, because it is quickly told to be another.
    return len(cell) > len(opening) and cell[-1] == closing[0] and cell[: len(opening)] == opening


def _without(cell: memoryview, opening: bytes, closing: bytes) -> memoryview:
    return cell[len(opening) : -1] if _is_within(cell, opening, closing) else cell
