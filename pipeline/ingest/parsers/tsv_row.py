"""A strictly parsed row of tab-separated numbers and base64 arrays.

Cells may be in quotes, as csv.writer and pandas write them, and arrays may have the form b'...',
which Python 3 makes of bytes that are written as text.
"""

import binascii

import numpy as np
import pybase64

from pipeline.ingest.checks.region_checks import LARGEST_FEATURE, RegionError

FLOAT, INTEGER = np.dtype("<f4"), np.dtype("<i8")
# What files have instead, as the length of an array tells.
_OTHER_WIDTH: dict[np.dtype, np.dtype] = {FLOAT: np.dtype("<f8"), INTEGER: np.dtype("<i4")}
# More classes than any detector has. float32 numbers that are read as int32 are larger.
_MOST_CLASSES = 10**7
# The least magnitude of a feature, and the least fraction of values outside the range of features
# among the lower halves of float64.
_SMALLEST_FEATURE = 1e-12
_LEAST_IMPLAUSIBLE = 0.1
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
        values = self._array(name, INTEGER, count).reshape(count)
        if values.dtype != INTEGER and np.abs(values.astype(INTEGER)).max() > _MOST_CLASSES:
            raise RegionError(f"{name} are not whole numbers")
        return values.astype(INTEGER, copy=False)

    def floats(self, name: str, count: int) -> np.ndarray:
        """Return a cell of float32 or float64 as an array [count]."""
        return self._array(name, FLOAT, count).reshape(count)

    def vectors(self, name: str, count: int, size: int | None = None) -> np.ndarray:
        """Return a cell of float32 or float64 as an array [count, size].

        Args:
            name: The column.
            count: Number of vectors.
            size: Their length; None stands for any, and the values tell whether they are float64.
        """
        vectors = self._array(name, FLOAT, count, size).reshape(count, -1)
        # Halves of float64 may be signaling NaN, of which NumPy warns.
        with np.errstate(invalid="ignore"):
            return vectors if size else _widened(vectors)

    def _array(self, name: str, dtype: np.dtype, count: int, size: int | None = 1) -> np.ndarray:
        try:
            values = pybase64.b64decode(self._encoded(name), validate=True)
        except binascii.Error as error:
            raise self._error(name, f"{name} is not base64") from error
        row_size = count * dtype.itemsize * (size or 1)
        if size and len(values) * dtype.itemsize == row_size * _OTHER_WIDTH[dtype].itemsize:
            dtype = _OTHER_WIDTH[dtype]
        elif len(values) != row_size if size else not values or len(values) % row_size:
            raise self._error(name, f"{name} does not have the length for num_boxes")
        return np.frombuffer(values, dtype)

    def _plain(self, name: str) -> memoryview:
        return _without(self._cells[name], b'"', b'"')

    def _encoded(self, name: str) -> memoryview:
        return _without(self._plain(name), b"b'", b"'")

    def _error(self, name: str, reason: str) -> RegionError:
        cut = name == self._last and not self._ended
        return RegionError(CUT_SHORT if cut else reason)


def _widened(vectors: np.ndarray) -> np.ndarray:
    """Return float32 [R, 2 F] as float64 [R, F] if the bytes are those of float64.

    The lower halves of float64 are mostly no features as float32. All of them are zero if the
    values were float16 or whole numbers before.
    """
    if vectors.shape[1] % 2:
        return vectors
    lower = vectors[:, 0::2]
    # The first row settles it for float32.
    if lower[0].any() and not _is_implausible(lower[0]).any():
        return vectors
    doubles = vectors.view(_OTHER_WIDTH[FLOAT])
    if lower.any():
        is_float64 = _is_implausible(lower).mean() >= _LEAST_IMPLAUSIBLE
        is_float64 = is_float64 and (np.abs(doubles) <= LARGEST_FEATURE).all()
    else:
        is_float64 = vectors.any() and not _is_implausible(doubles).any()
    return doubles if is_float64 else vectors


def _is_implausible(values: np.ndarray) -> np.ndarray:
    """Return which values no feature has: very large or small ones, and NaN."""
    magnitudes = np.abs(values)
    is_in_range = (magnitudes >= _SMALLEST_FEATURE) & (magnitudes <= LARGEST_FEATURE)
    return ~(is_in_range | (magnitudes == 0))


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
