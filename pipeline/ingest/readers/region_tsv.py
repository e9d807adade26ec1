"""Region files as tab-separated text: a row per image, without a header, arrays in base64.

Arrays are raw little-endian values, boxes in pixels. The formats differ in their columns: each is
a small file in this folder.

The region files of the LXMERT release: 36 regions per image, with object and attribute labels.

Format: airsplay/lxmert, src/utils.py (`load_obj_tsv`) and its README.

The region files of bottom-up attention (Anderson et al. 2018): no labels, any number of regions.

Format: peteanderson80/bottom-up-attention, tools/generate_tsv.py.
"""

import abc
from collections.abc import Iterator
from typing import ClassVar

from lxmert_tf.data.scene import SceneImage
from lxmert_tf.errors import InputError
from pipeline.ingest.checks.region_checks import RegionFault, checked_image
from pipeline.ingest.files import READ_ERRORS, InputFile, open_input
from pipeline.ingest.interfaces import ReadError, ReadImage, RegionReader, Shard
from pipeline.ingest.parsers.text_rows import (
    BLOCK_BYTES,
    MAX_LINE_BYTES,
    Line,
    shard_rows,
    text_shards,
)
from pipeline.ingest.parsers.tsv_row import CUT_SHORT, TsvRow

# More than any id has; what is no row at all may be long.
MAX_ID_BYTES = 1000


class RegionTsv(RegionReader):
    """The base of these formats. Rows are counted, not lines: a blank line is none.

    Attributes:
        columns: their names, in the order of the file.
    """

    columns: ClassVar[tuple[str, ...]]

    @abc.abstractmethod
    def image(self, row: TsvRow) -> SceneImage:
        """Makes an image of a row.

        Raises:
            RegionFault: something is wrong with it.
        """

    def shards(self, file: InputFile, rows: tuple[int, int | None] = (0, None)) -> list[Shard]:
        """Byte ranges of about 128 MB; of a compressed file all, counted in rows."""
        if not _may_have_columns(file):
            raise InputError(f"{file.name}: not text with columns separated by tabs ({self.name})")
        return text_shards(file, rows)

    def read(self, shard: Shard) -> Iterator[ReadImage | ReadError]:
        """The images of a shard, with the number of their row."""
        number, before = 0, None
        try:
            for number, line in enumerate(shard_rows(shard), start=1):
                item = self._read_row(number, line)
                if not line.ended and _is_narrower(item, before):
                    # Cut where the rest is base64 that can be shared out among the regions.
                    item = ReadError(number, item.image.id, CUT_SHORT, line.size)
                yield item
                before = item
        except READ_ERRORS:
            yield ReadError(number + 1, "", "the file is damaged or ends too early from here on")

    def _read_row(self, number: int, line: Line) -> ReadImage | ReadError:
        try:
            if line.too_long:
                raise RegionFault(f"the row is longer than {MAX_LINE_BYTES >> 20} MB")
            image = self.image(TsvRow(self.columns, line.text, line.ended))
        except RegionFault as fault:
            return fault.problem(number, _first_cell(line.text), line.size)
        return ReadImage(number, image, line.size)


def _is_narrower(item: ReadImage | ReadError, before: ReadImage | ReadError | None) -> bool:
    """Whether an image has fewer features per region than the one before."""
    if not isinstance(item, ReadImage) or not isinstance(before, ReadImage):
        return False
    return item.image.regions.features.shape[1] < before.image.regions.features.shape[1]


def _first_cell(text: bytes) -> str:
    cell, tab, _ = text[:MAX_ID_BYTES].partition(b"\t")
    return cell.decode(errors="replace") if tab else ""


def _may_have_columns(file: InputFile) -> bool:
    """Whether there is a tab near the file's beginning; True if that cannot be read."""
    seen = 0
    try:
        with open_input(file) as content:
            while seen < BLOCK_BYTES and (block := content.read1(BLOCK_BYTES)):
                if b"\t" in block:
                    return True
                seen += len(block)
    except READ_ERRORS:
        # Damaged: reading the rows will tell.
        return True
    return seen == 0


class LxmertTsv(RegionTsv):
    """Ten columns; ids int64, all else float32."""

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
        """Makes an image with labels."""
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
    """Six columns; width before height, arrays float32."""

    name = "bottom_up_tsv"
    columns = ("image_id", "image_w", "image_h", "num_boxes", "boxes", "features")

    def image(self, row: TsvRow) -> SceneImage:
        """Makes an image without labels."""
        count = row.region_count("num_boxes")
        return checked_image(
            row.text("image_id"),
            row.number("image_h"),
            row.number("image_w"),
            boxes_in_pixels=row.vectors("boxes", count, 4),
            features=row.vectors("features", count),
        )
