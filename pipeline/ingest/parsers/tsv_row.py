"""A row of tab-separated cells with numbers and arrays in base64, read strictly."""

import binascii

import numpy as np
import pybase64

from pipeline.ingest.checks.region_checks import RegionFault

FLOAT, INTEGER = np.dtype("<f4"), np.dtype("<i8")
# Far more digits than any image has pixels; Python would read thousands of them, slowly.
MAX_DIGITS = 9
CUT_SHORT = "the file ends in the middle of the row"


class TsvRow:
    """The cells of one row by the names of their columns.

    Args:
        columns: the names.
        text: the row without "\\n"; it may end with "\\r".
        ended: whether a line end followed; without it the file may end in the middle of the row.

    Raises:
        RegionFault: it has another number of cells; and each method, if a cell is not what it
            must be.
    """

    def __init__(self, columns: tuple[str, ...], text: bytes, ended: bool = True):
        self._last = columns[-1]
        self._ended = ended
        cells = _split(text, len(columns))
        if len(cells) < len(columns) and not ended:
            raise RegionFault(CUT_SHORT)
        if len(cells) != len(columns):
            raise RegionFault(f"the row does not have {len(columns)} columns separated by tabs")
        self._cells = dict(zip(columns, cells))

    def text(self, name: str) -> str:
        """A cell as text; it must be UTF-8."""
        try:
            return str(self._cells[name], "utf-8")
        except UnicodeDecodeError as error:
            raise RegionFault(f"{name} is not UTF-8") from error

    def number(self, name: str) -> int:
        """A cell as a whole number of at least 1."""
        digits = self._cells[name].tobytes()
        if not digits.isdigit() or len(digits) > MAX_DIGITS or int(digits) < 1:
            raise RegionFault(f"{name} is not a whole number of at least 1")
        return int(digits)

    def region_count(self, name: str) -> int:
        """A cell as the number of regions, at least 1."""
        if self._cells[name] == b"0":
            raise RegionFault("the image has no regions")
        return self.number(name)

    def integers(self, name: str, count: int) -> np.ndarray:
        """A cell as int64 [count]."""
        return self._array(name, INTEGER, count).reshape(count)

    def floats(self, name: str, count: int) -> np.ndarray:
        """A cell as float32 [count]."""
        return self._array(name, FLOAT, count).reshape(count)

    def vectors(self, name: str, count: int, size: int | None = None) -> np.ndarray:
        """A cell as float32 [count, size]; where it is None, of whatever size fits the count."""
        return self._array(name, FLOAT, count, size).reshape(count, -1)

    def _array(self, name: str, dtype: np.dtype, count: int, size: int | None = 1) -> np.ndarray:
        try:
            values = pybase64.b64decode(self._cells[name], validate=True)
        except binascii.Error as error:
            raise self._fault(name, f"{name} is not base64") from error
        row_size = count * dtype.itemsize * (size or 1)
        fits = len(values) == row_size if size else values and len(values) % row_size == 0
        if not fits:
            raise self._fault(name, f"{name} does not have the length for num_boxes")
        return np.frombuffer(values, dtype)

    def _fault(self, name: str, reason: str) -> RegionFault:
        cut = name == self._last and not self._ended
        return RegionFault(CUT_SHORT if cut else reason)


def _split(text: bytes, count: int) -> list[memoryview]:
    """The cells as views of the text; one more than `count` stands for any more.

    `bytes.split` would copy the features, nearly all of the row; `bytes.count` is slow.
    """
    view, cells, start = memoryview(text), [], 0
    while len(cells) < count and (end := text.find(b"\t", start)) >= 0:
        cells.append(view[start:end])
        start = end + 1
    return [*cells, view[start : len(text) - text.endswith(b"\r")]]
