"""Region files of tab-separated text: a row per image, arrays in base64.

Arrays are raw little-endian values, with boxes in pixels. The formats differ in their columns. A
header with the names of the columns, in any order, may be the first line.
"""

import abc
import io
from collections.abc import Iterator
from typing import ClassVar

from lxmert_tf.data.scene import SceneImage
from lxmert_tf.errors import InputError
from pipeline.ingest.checks.region_checks import RegionError, checked_image
from pipeline.ingest.files import READ_ERRORS, InputFile, open_input
from pipeline.ingest.interfaces import ALL_ROWS, Piece, ReadError, ReadImage, RegionReader
from pipeline.ingest.parsers.text_rows import (
    BLOCK_BYTES,
    MAX_LINE_BYTES,
    Line,
    piece_rows,
    split_lines,
    text_pieces,
)
from pipeline.ingest.parsers.tsv_row import CUT_SHORT, TsvRow, cell_text, split_cells

# Larger than any id. A line that is not a row may be long.
_MAX_ID_BYTES = 1000
_MAX_HEADER_BYTES = 1000


class RegionTsv(RegionReader):
    """Base class of the formats. Line numbers count rows, so blank lines are not counted.

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
        if not _may_have_columns(file):
            raise InputError(f"{file.name}: not text with columns separated by tabs ({self.name})")
        return text_pieces(file, rows, self._is_header)

    def read(self, piece: Piece) -> Iterator[ReadImage | ReadError]:
        """Yield the image of each row."""
        number, previous = 0, None
        try:
            columns = self._columns_of(piece.file)
            for number, line in enumerate(piece_rows(piece, self._is_header), start=1):
                item = self._read_row(number, line, columns)
                if isinstance(item, ReadImage) and not line.ended and _is_narrower(item, previous):
                    # The file is cut where what is left divides evenly among the regions.
                    item = ReadError(number, item.image.id, CUT_SHORT, line.size)
                yield item
                previous = item
        except READ_ERRORS:
            yield ReadError(number + 1, "", "the file is damaged or ends too early from here on")

    def _columns_of(self, file: InputFile) -> tuple[str, ...]:
        """Return the columns in the order of a file."""
        with open_input(file) as content:
            start = io.BytesIO(content.read(2 * _MAX_HEADER_BYTES))
        for line in split_lines(start, 0, 2 * _MAX_HEADER_BYTES):
            return self._header(line.text) or self.columns
        return self.columns

    def _is_header(self, first_line: bytes) -> bool:
        return bool(self._header(first_line))

    def _header(self, first_line: bytes) -> tuple[str, ...]:
        """Return the names of the columns; none if the line is not a header."""
        if len(first_line) > _MAX_HEADER_BYTES:
            return ()
        cells = split_cells(first_line, len(self.columns))
        names = tuple(cell_text(cell, errors="replace") for cell in cells)
        return names if sorted(names) == sorted(self.columns) else ()

    def _read_row(self, number: int, line: Line, columns: tuple[str, ...]) -> ReadImage | ReadError:
        try:
            if line.too_long:
                raise RegionError(f"the row is longer than {MAX_LINE_BYTES >> 20} MB")
            image = self.image(TsvRow(columns, line.text, line.ended))
        except RegionError as error:
            return error.read_error(number, _first_cell(line.text), line.size)
        return ReadImage(number, image, line.size)


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
            boxes_in_pixels=row.vectors("boxes", count, 4),
            features=row.vectors("features", count),
            object_ids=row.integers("objects_id", count),
            object_confidences=row.floats("objects_conf", count),
            attribute_ids=row.integers("attrs_id", count),
            attribute_confidences=row.floats("attrs_conf", count),
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
            boxes_in_pixels=row.vectors("boxes", count, 4),
            features=row.vectors("features", count),
        )


def _is_narrower(item: ReadImage | ReadError, previous: ReadImage | ReadError | None) -> bool:
    """Return whether an image has fewer features per region than the previous one."""
    if not isinstance(item, ReadImage) or not isinstance(previous, ReadImage):
        return False
    return item.image.regions.features.shape[1] < previous.image.regions.features.shape[1]


def _first_cell(text: bytes) -> str:
    cell, tab, _ = text[:_MAX_ID_BYTES].partition(b"\t")
    return cell_text(memoryview(cell), errors="replace") if tab else ""


def _may_have_columns(file: InputFile) -> bool:
    """Return whether there is a tab near the start of a file; True if it cannot be read."""
    seen = 0
    try:
        with open_input(file) as content:
            while seen < BLOCK_BYTES and (block := content.read1(BLOCK_BYTES)):
                if b"\t" in block:
                    return True
                seen += len(block)
    except READ_ERRORS:
        # `read` reports the damage.
        return True
    return seen == 0
