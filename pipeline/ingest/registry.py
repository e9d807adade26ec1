"""Data sets and file formats by name."""

import itertools
import pathlib
from typing import Any, TypeVar

import h5py

from lxmert_tf.errors import InputError
from pipeline.ingest.files import READ_ERRORS, InputFile, open_input
from pipeline.ingest.interfaces import RegionReader, SentenceReader
from pipeline.ingest.parsers.hdf5 import open_hdf5
from pipeline.ingest.parsers.text_rows import COMPRESSED_BLOCK_BYTES, split_lines
from pipeline.ingest.readers.bottom_up_hdf5 import BottomUpHdf5
from pipeline.ingest.readers.coco_captions import CocoCaptions
from pipeline.ingest.readers.data_set import DataSet
from pipeline.ingest.readers.easy_vqa import EasyVqa
from pipeline.ingest.readers.gqa import GqaOfficial, GqaRelease
from pipeline.ingest.readers.gqa_hdf5 import GqaHdf5
from pipeline.ingest.readers.grouped_hdf5 import GroupedHdf5
from pipeline.ingest.readers.json_lines import JsonLines, JsonLinesPairs
from pipeline.ingest.readers.mmf_lmdb import MmfLmdb
from pipeline.ingest.readers.nlvr2 import Nlvr2Official, Nlvr2Release
from pipeline.ingest.readers.numpy_files import NumpyFiles
from pipeline.ingest.readers.pictures import Pictures
from pipeline.ingest.readers.pretraining_json import PretrainingJson
from pipeline.ingest.readers.region_tsv import BottomUpTsv, LxmertTsv
from pipeline.ingest.readers.vizwiz import VizWiz
from pipeline.ingest.readers.vqa import VqaOfficial, VqaRelease

# A new reader needs an entry here and a test in tests/pipeline/ingest.
DATA_SETS: dict[str, type[DataSet]] = {EasyVqa.name: EasyVqa}
REGION_READERS: dict[str, type[RegionReader]] = {
    reader.name: reader
    for reader in (
        LxmertTsv,
        BottomUpTsv,
        GqaHdf5,
        BottomUpHdf5,
        GroupedHdf5,
        NumpyFiles,
        MmfLmdb,
        Pictures,
    )
}
SENTENCE_READERS: dict[str, type[SentenceReader]] = {
    reader.name: reader
    for reader in (
        VqaRelease,
        VqaOfficial,
        VizWiz,
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

_SUFFIXES = {
    "numpy_files": (".npy", ".npz"),
    "mmf_lmdb": (".lmdb", ".mdb"),
    "pictures": (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".tif", ".tiff", ".webp"),
}
_HDF5_SUFFIXES = (".h5", ".hdf5")
_TEXT_SUFFIXES = (".tsv", ".txt", "")
_COLUMNS = {10: "lxmert_tsv", 6: "bottom_up_tsv"}
# Of the datasets of a file, in a message.
_SHOWN_NAMES = 5
# The first line alone may be invalid.
_LINES = 4


def make_data_set(name: str) -> DataSet:
    """Return the data set with a name.

    Raises:
        InputError: There is none.
    """
    return _look_up("source", name, DATA_SETS)()


def make_sentence_reader(name: str) -> SentenceReader:
    """Return a reader of an annotation format.

    Raises:
        InputError: There is none with that name.
    """
    return _look_up("sentences format", name, SENTENCE_READERS)()


def make_region_reader(
    name: str | None, file: InputFile, extractor: dict[str, Any]
) -> RegionReader:
    """Return a reader of a region file.

    Args:
        name: Name of the format; None to detect it from the file.
        file: The file.
        extractor: Configuration of what makes regions from images.

    Raises:
        InputError: The format is unknown or cannot be detected.
    """
    reader = _look_up("regions format", name or detect_format(file), REGION_READERS)
    return reader(extractor) if reader is Pictures else reader()


def detect_format(file: InputFile) -> str:
    """Return the name of a region file's format, by its suffix or its number of columns.

    Raises:
        InputError: The format cannot be detected.
    """
    suffix = pathlib.PurePath(file.content_name).suffix.lower()
    for name, suffixes in _SUFFIXES.items():
        if suffix in suffixes:
            return name
    if suffix in _HDF5_SUFFIXES:
        with open_hdf5(file, lambda opened, _: _hdf5_format(opened)) as name:
            return name
    if suffix not in _TEXT_SUFFIXES:
        raise InputError(f"{file.name}: unknown format of region files {suffix!r}")
    try:
        with open_input(file) as content:
            lines = itertools.islice(split_lines(content, 0, COMPRESSED_BLOCK_BYTES), _LINES)
            columns = [line.text.count(b"\t") + 1 for line in lines]
    except READ_ERRORS as error:
        raise InputError(f"{file.name}: cannot be read: {error}") from error
    for count in columns:
        if count in _COLUMNS:
            return _COLUMNS[count]
    raise InputError(
        f"{file.name}: the first line has {columns[0]} columns; LXMERT's TSV has 10, bottom-up's 6"
    )


def _hdf5_format(opened: h5py.File) -> str:
    if "features" in opened and "bboxes" in opened:
        return "gqa_hdf5"
    if "image_features" in opened and "image_bb" in opened:
        return "bottom_up_hdf5"
    first = next(iter(opened), "")
    if first and isinstance(opened[first], h5py.Group):
        return "grouped_hdf5"
    names = ", ".join(itertools.islice(opened, _SHOWN_NAMES)) or "nothing"
    raise InputError(
        f"HDF5 of an unknown format, with {names}; those known have features and bboxes (GQA), "
        "image_features and image_bb (bottom-up attention), or a group per image (VL-T5)"
    )


def _look_up(kind: str, name: str, table: dict[str, T]) -> T:
    if name not in table:
        raise InputError(f"unknown {kind} {name!r}; it must be one of {', '.join(table)}")
    return table[name]
