"""Data sets and file formats by name, as configs and commands name them."""

import pathlib
from typing import Any, TypeVar

from lxmert_tf.errors import InputError
from pipeline.ingest.files import READ_ERRORS, InputFile, open_input
from pipeline.ingest.readers.coco_captions import CocoCaptions
from pipeline.ingest.readers.data_set import DataSet
from pipeline.ingest.readers.easy_vqa import EasyVqa
from pipeline.ingest.readers.gqa import GqaOfficial, GqaRelease
from pipeline.ingest.readers.gqa_hdf5 import GqaHdf5
from pipeline.ingest.readers.json_lines import JsonLines, JsonLinesPairs
from pipeline.ingest.readers.mmf_lmdb import MmfLmdb
from pipeline.ingest.readers.nlvr2 import Nlvr2Official, Nlvr2Release
from pipeline.ingest.readers.numpy_files import NumpyFiles
from pipeline.ingest.readers.pictures import Pictures
from pipeline.ingest.readers.pretraining_json import PretrainingJson
from pipeline.ingest.readers.region_tsv import BottomUpTsv, LxmertTsv
from pipeline.ingest.readers.vqa import VqaOfficial, VqaRelease
from pipeline.ingest.source import RegionReader, SentenceReader

DATA_SETS: dict[str, type[DataSet]] = {EasyVqa.name: EasyVqa}
REGION_READERS: dict[str, type[RegionReader]] = {
    reader.name: reader
    for reader in (LxmertTsv, BottomUpTsv, GqaHdf5, NumpyFiles, MmfLmdb, Pictures)
}
SENTENCE_READERS: dict[str, type[SentenceReader]] = {
    reader.name: reader
    for reader in (
        VqaRelease,
        VqaOfficial,
        GqaRelease,
        GqaOfficial,
        Nlvr2Release,
        Nlvr2Official,
        PretrainingJson,
        CocoCaptions,
        JsonLines,
        JsonLinesPairs,
    )
}

T = TypeVar("T")


def make_data_set(name: str) -> DataSet:
    """Makes the data set of that name; InputError if there is none."""
    return _look_up("source", name, DATA_SETS)()


def make_sentence_reader(name: str) -> SentenceReader:
    """Makes the reader of an annotation format; InputError if there is none."""
    return _look_up("sentences format", name, SENTENCE_READERS)()


def make_region_reader(
    name: str | None, file: InputFile, extractor: dict[str, Any]
) -> RegionReader:
    """Makes the reader of a region file.

    Args:
        name: of the format; told from the file if None.
        file: what it is to read.
        extractor: the config of what makes regions of pictures.

    Raises:
        InputError: there is no such format, or it cannot be told.
    """
    reader = _look_up("regions format", name or format_of(file), REGION_READERS)
    return reader(extractor) if reader is Pictures else reader()


def _look_up(kind: str, name: str, table: dict[str, T]) -> T:
    if name not in table:
        raise InputError(f"{kind} {name!r} is not known; there are {', '.join(table)}")
    return table[name]


_ENDINGS = {
    "gqa_hdf5": (".h5", ".hdf5"),
    "numpy_files": (".npy", ".npz"),
    "mmf_lmdb": (".lmdb", ".mdb"),
    "pictures": (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".tif", ".tiff", ".webp"),
}
_COLUMNS = {10: "lxmert_tsv", 6: "bottom_up_tsv"}
# Lines that are looked at.
_LINES = 4
# A line has a few hundred kilobytes; this is for one that never ends.
_LONGEST_LINE = 1 << 26


def format_of(file: InputFile) -> str:
    """The name of a file's format.

    Raises:
        InputError: neither its ending nor its first lines tell.
    """
    ending = pathlib.PurePath(file.content_name).suffix.lower()
    for name, endings in _ENDINGS.items():
        if ending in endings:
            return name
    if ending not in (".tsv", ".txt", ""):
        raise InputError(f"{file.name}: a file of regions ending in {ending!r} is not known")
    try:
        with open_input(file) as content:
            # Not by the first line alone: it may be the broken one.
            columns = [content.readline(_LONGEST_LINE).count(b"\t") + 1 for _ in range(_LINES)]
    except READ_ERRORS as error:
        raise InputError(f"{file.name}: cannot be read: {error}") from error
    known = [_COLUMNS[count] for count in columns if count in _COLUMNS]
    if not known:
        raise InputError(
            f"{file.name}: its first line has {columns[0]} columns; LXMERT's TSV has 10, "
            "bottom-up's 6"
        )
    return known[0]
