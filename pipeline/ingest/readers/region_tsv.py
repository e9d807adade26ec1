"""Region files of tab-separated text: a row per image, arrays in base64.

Arrays are raw little-endian values, with boxes in pixels. The formats differ in their columns. A
header with the names of the columns, in any order, may be the first line. A header with other names
is refused, because it is unclear which column is which.
"""

import abc
import contextlib
import io
import re
from collections.abc import Generator
from typing import ClassVar

from lxmert_tf.data.scene import SceneImage
from lxmert_tf.errors import InputError
from lxmert_tf.text_file import why_not_text
from pipeline.ingest.checks.region_checks import RegionError, checked_image, read_image
from pipeline.ingest.files import READ_ERRORS, InputFile, open_input
from pipeline.ingest.interfaces import (
    ALL_ROWS,
    Piece,
    ReadError,
    ReadImage,
    RegionReader,
    Returned,
)
from pipeline.ingest.parsers.text_rows import (
    BLOCK_BYTES,
    MAX_LINE_BYTES,
    Line,
    is_blank,
    piece_rows,
    split_lines,
    text_pieces,
)
from pipeline.ingest.parsers.tsv_row import CUT_SHORT, TsvRow, cell_text, split_cells

# Larger than any id. A line that is not a row may be long.
_MAX_ID_BYTES = 1000
_MAX_HEADER_BYTES = 1000
# A name of a column, which is neither a number nor an array.
_COLUMN_NAME = re.compile(r"#? *[A-Za-z_][A-Za-z0-9_ .-]*")
_FEWEST_COLUMNS = 3
# A cell that goes on in the next line: base64 in lines of 76 characters, as MIME has it, or an
# opening quote without the closing one.
_OPEN_CELL = re.compile(rb'\t("?[A-Za-z0-9+/]{76}|"[^\t"]*)\r{0,2}\Z')


class RegionTsv(RegionReader):
    """Base class of the formats.

    Attributes:
        columns: Names of the columns, in the order of the file.
    """

    columns: ClassVar[tuple[str, ...]]

    @abc.abstractmethod
    def image(self, row: TsvRow) -> SceneImage:
        """Build the image of a row.

        Raises:
            RegionError: The row is invalid.
        """

    def pieces(self, file: InputFile, rows: tuple[int, int | None] = ALL_ROWS) -> list[Piece]:
        """Return byte ranges of about 128 MB; for a compressed file, one range of rows."""
        # `read` reports the damage.
        with contextlib.suppress(*READ_ERRORS):
            _check_text(file, self.name)
            self._check_header(file)
            check_line_breaks(file, len(self.columns))
        return text_pieces(file, rows, _is_header)

    def read(self, piece: Piece) -> Generator[ReadImage | ReadError, None, int]:
        """Yield the image of each row."""
        number, previous = 0, None
        rows = Returned(piece_rows(piece, _is_header))
        try:
            columns = header_of(piece.file) or self.columns
            for line in rows:
                number, item = line.number, self._read_row(line, columns)
                if isinstance(item, ReadImage) and not line.ended and _is_narrower(item, previous):
                    # The file is cut where what is left divides evenly among the regions.
                    item = ReadError(number, item.image.id, CUT_SHORT, line.size)
                yield item
                previous = item
        except READ_ERRORS:
            yield ReadError(number + 1, "", "the file is damaged or ends too early from here on")
        return number if rows.value is None else rows.value

    def _check_header(self, file: InputFile) -> None:
        header = header_of(file)
        if header and sorted(header) != sorted(self.columns):
            raise InputError(
                f"{file.name}: the header has the columns {', '.join(header)}; {self.name} has "
                f"{', '.join(self.columns)}, in any order"
            )
        if header and next(piece_rows(Piece(file), _is_header), None) is None:
            raise InputError(f"{file.name}: the file has a header and no rows")

    def _read_row(self, line: Line, columns: tuple[str, ...]) -> ReadImage | ReadError:
        image_id = _first_cell(line.text)
        return read_image(line.number, image_id, line.size, self._image_of_line, line, columns)

    def _image_of_line(self, line: Line, columns: tuple[str, ...]) -> SceneImage:
        if line.too_long:
            raise RegionError(f"the row is longer than {MAX_LINE_BYTES >> 20} MB")
        return self.image(TsvRow(columns, line.text, line.ended))


class LxmertTsv(RegionTsv):
    """Region files of the LXMERT release: 36 regions per image, with object and attribute labels.

    Ten columns; ids are int64, other arrays float32. (github.com/airsplay/lxmert, src/utils.py,
    `load_obj_tsv`)
    """

    name = "lxmert_tsv"
    columns = (
        "img_id",
        "img_h",
        "img_w",
        "objects_id",
        "objects_conf",
        "attrs_id",
        "attrs_conf",
        "num_boxes",
        "boxes",
        "features",
    )

    def image(self, row: TsvRow) -> SceneImage:
        """Build an image with labels."""
        count = row.region_count("num_boxes")
        return checked_image(
            row.text("img_id"),
            row.number("img_h"),
            row.number("img_w"),
            boxes_in_pixels=row.numbers("boxes", count, 4),
            features=row.features("features", count),
            object_ids=row.integers("objects_id", count),
            object_confidences=row.numbers("objects_conf", count),
            attribute_ids=row.integers("attrs_id", count),
            attribute_confidences=row.numbers("attrs_conf", count),
        )


class BottomUpTsv(RegionTsv):
    """Region files of bottom-up attention (Anderson et al. 2018): any number of regions, no labels.

    Six columns, with width before height; arrays are float32.
    (github.com/peteanderson80/bottom-up-attention, tools/generate_tsv.py)
    """

    name = "bottom_up_tsv"
    columns = ("image_id", "image_w", "image_h", "num_boxes", "boxes", "features")

    def image(self, row: TsvRow) -> SceneImage:
        """Build an image without labels."""
        count = row.region_count("num_boxes")
        return checked_image(
            row.text("image_id"),
            row.number("image_h"),
            row.number("image_w"),
            boxes_in_pixels=row.numbers("boxes", count, 4),
            features=row.features("features", count),
        )


def _is_narrower(item: ReadImage | ReadError, previous: ReadImage | ReadError | None) -> bool:
    """Return whether an image has fewer features per region than the previous one."""
    if not isinstance(item, ReadImage) or not isinstance(previous, ReadImage):
        return False
    return item.image.regions.features.shape[1] < previous.image.regions.features.shape[1]


def _first_cell(text: bytes) -> str:
    cell, tab, _ = text[:_MAX_ID_BYTES].partition(b"\t")
    return cell_text(memoryview(cell), errors="replace") if tab else ""


def header_of(file: InputFile) -> tuple[str, ...]:
    """Return the names of a file's columns; none if the first line is a row.

    Raises:
        READ_ERRORS: The file is damaged.
    """
    with open_input(file) as content:
        start = io.BytesIO(content.read(2 * _MAX_HEADER_BYTES))
    lines = split_lines(start, 0, 2 * _MAX_HEADER_BYTES)
    return next((_header(line.text) for line in lines if not is_blank(line)), ())


def check_line_breaks(file: InputFile, columns: int) -> None:
    """Raise an InputError if the first row of a file goes on in the lines that follow.

    Cells in quotes may do so in other TSV files, but a file whose rows are lines can be read from
    any place.

    Args:
        file: The file.
        columns: Number of columns of a row.

    Raises:
        READ_ERRORS: The file is damaged.
    """
    first = next(piece_rows(Piece(file), _is_header), None)
    if first is None or not first.ended or first.text.count(b"\t") + 1 >= columns:
        return
    if _OPEN_CELL.search(first.text):
        raise InputError(
            f"{file.name}: the rows have line breaks; write a row in one line, with arrays as of "
            "base64.b64encode (base64.encodebytes breaks them into lines)"
        )


def _is_header(first_line: bytes) -> bool:
    return bool(_header(first_line))


def _header(first_line: bytes) -> tuple[str, ...]:
    """Return the names of the columns; none if the line is a row, which has numbers."""
    if len(first_line) > _MAX_HEADER_BYTES:
        return ()
    cells = split_cells(first_line, first_line.count(b"\t") + 1)
    names = tuple(cell_text(cell, errors="replace") for cell in cells)
    is_header = len(names) >= _FEWEST_COLUMNS and all(map(_COLUMN_NAME.fullmatch, names))
    return names if is_header else ()


def _check_text(file: InputFile, format_name: str) -> None:
    """Raise an InputError if a file is empty, no text, or has no tab at its start."""
    seen = 0
    with open_input(file) as content:
        while seen < BLOCK_BYTES and (block := content.read1(BLOCK_BYTES)):
            if not seen and (problem := why_not_text(block)):
                raise InputError(f"{file.name}: {problem}")
            if b"\t" in block:
                return
            seen += len(block)
    if not seen:
        raise InputError(f"{file.name}: the file is empty")
    raise InputError(f"{file.name}: not text with columns separated by tabs ({format_name})")
