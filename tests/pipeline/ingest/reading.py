"""Reads a whole file with a region reader, as the job does."""

import pathlib

from pipeline.ingest.files import InputFile
from pipeline.ingest.interfaces import ReadError, RegionReader


def input_file(path) -> InputFile:
    return InputFile(str(path), pathlib.Path(path).stat().st_size)


def read_all(reader: RegionReader, path, rows=(0, None)) -> list:
    """Images by what was read, problems as they are."""
    items = [item for piece in reader.pieces(input_file(path), rows) for item in reader.read(piece)]
    return [item if isinstance(item, ReadError) else item.image for item in items]


def reasons(items) -> list[str]:
    return [item.reason for item in items if isinstance(item, ReadError)]
