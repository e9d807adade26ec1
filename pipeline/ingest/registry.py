"""Data sets and file formats by name."""

import contextlib
import itertools
import re
from typing import Any, TypeVar

import h5py

from lxmert_tf.errors import InputError
from lxmert_tf.text_file import why_not_text
from pipeline.ingest.files import READ_ERRORS, InputFile, open_input
from pipeline.ingest.image_names import PICTURE_ENDINGS
from pipeline.ingest.interfaces import RegionReader, SentenceReader
from pipeline.ingest.parsers.hdf5 import open_hdf5
from pipeline.ingest.parsers.text_rows import COMPRESSED_BLOCK_BYTES, is_blank, split_lines
from pipeline.ingest.readers.bottom_up_hdf5 import BottomUpHdf5
from pipeline.ingest.readers.coco_captions import CocoCaptions
from pipeline.ingest.readers.data_set import DataSet
from pipeline.ingest.readers.easy_vqa import EasyVqa
from pipeline.ingest.readers.gqa import GqaOfficial, GqaRelease
from pipeline.ingest.readers.gqa_hdf5 import GqaHdf5
from pipeline.ingest.readers.grouped_hdf5 import GroupedHdf5
from pipeline.ingest.readers.json_lines import JsonLines, JsonLinesPairs
from pipeline.ingest.readers.mmf_lmdb import MmfLmdb
from pipeline.ingest.readers.nlvr import Nlvr
from pipeline.ingest.readers.nlvr2 import Nlvr2Official, Nlvr2Release
from pipeline.ingest.readers.numpy_files import NumpyFiles
from pipeline.ingest.readers.pictures import Pictures
from pipeline.ingest.readers.pretraining_json import PretrainingJson
from pipeline.ingest.readers.region_tsv import (
    BottomUpTsv,
    LxmertTsv,
    check_line_breaks,
    header_of,
)
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
        Nlvr,
        Nlvr2Release,
        Nlvr2Official,
        PretrainingJson,
        CocoCaptions,
        JsonLines,
        JsonLinesPairs,
    )
}

T = TypeVar("T")

_ENDINGS = {
    "numpy_files": (".npy", ".npz"),
    "mmf_lmdb": (".lmdb", ".mdb"),
    "pictures": PICTURE_ENDINGS,
}
_HDF5_ENDINGS = (".h5", ".hdf5")
_BINARY_ENDINGS = (*_HDF5_ENDINGS, *itertools.chain(*_ENDINGS.values()))
_TSV_ENDING = ".tsv"
# Of text and of other files too.
_TEXT_ENDINGS = (".txt", "")
_SENTENCE_ENDINGS = (".json", ".jsonl", ".ndjson", *_TEXT_ENDINGS)
_COLUMNS = {10: "lxmert_tsv", 6: "bottom_up_tsv"}
# Of the datasets of a file, in a message.
_SHOWN_NAMES = 5
# Of the datasets in coco_detections.hdf5 (github.com/aimagelab/meshed-memory-transformer), beside
# ID_boxes and ID_cls_prob.
_MESHED_MEMORY = re.compile(r"\d+_features")
# The first line alone may be invalid.
_LINES = 4
# So much of a file tells whether it is text.
_SAMPLE_BYTES = 1000


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


def make_region_reader(name: str, extractor: dict[str, Any]) -> RegionReader:
    """Return a reader of a format of region files.

    Args:
        name: Name of the format.
        extractor: Configuration of what makes regions from images.

    Raises:
        InputError: There is no such format.
    """
    reader = _look_up("regions format", name, REGION_READERS)
    return reader(extractor) if reader is Pictures else reader()


def detect_format(file: InputFile) -> str:
    """Return the name of a region file's format, by its ending or its number of columns.

    Raises:
        InputError: The format cannot be detected.
    """
    for name, endings in _ENDINGS.items():
        if file.ending in endings:
            return name
    if file.ending in _HDF5_ENDINGS:
        with open_hdf5(file, lambda opened, _: _hdf5_format(opened)) as name:
            return name
    if file.ending not in (_TSV_ENDING, *_TEXT_ENDINGS):
        raise InputError(
            f"{file.name}: unknown ending {file.ending!r} of a region file; it must be one "
            f"of {known_endings()}, or name the format with --regions-format"
        )
    columns = _column_counts(file)
    for count in columns:
        if count in _COLUMNS:
            return _COLUMNS[count]
    if columns == [0]:
        raise InputError(f"{file.name}: the file is empty")
    names = ""
    with contextlib.suppress(*READ_ERRORS):
        check_line_breaks(file, max(_COLUMNS))
        names = ", ".join(header_of(file))
    raise InputError(
        f"{file.name}: columns in the first line: {columns[0]}{names and f' ({names})'}; LXMERT's "
        f"TSV has 10 ({', '.join(LxmertTsv.columns)}), bottom-up's 6 "
        f"({', '.join(BottomUpTsv.columns)})"
    )


def known_endings() -> str:
    """Return the endings of region files, for messages."""
    return ", ".join((_TSV_ENDING, ".txt", *_BINARY_ENDINGS))


def is_region_file(name: str | None, file: InputFile) -> bool:
    """Return whether a file is an input: False for a file of another kind that a pattern found.

    Args:
        name: Name of the format; None to detect it.
        file: The file. One that cannot be read is of another kind, unless its ending tells more.
    """
    if file.named or file.ending == _TSV_ENDING:
        return True
    if name == "pictures":
        return file.ending in ("", *PICTURE_ENDINGS)
    if name in _ENDINGS:
        return file.ending in _ENDINGS[name]
    if name is not None and name.endswith("_hdf5"):
        return file.ending in _HDF5_ENDINGS
    if name is not None:
        return any(count > 1 for count in _found_column_counts(file))
    if file.ending in _TEXT_ENDINGS:
        return any(count in _COLUMNS for count in _found_column_counts(file))
    return file.ending in _BINARY_ENDINGS


def is_sentence_file(file: InputFile) -> bool:
    """Return whether a file is an input: False for a file of another kind that a pattern found."""
    return file.named or file.ending in _SENTENCE_ENDINGS


def _column_counts(file: InputFile) -> list[int]:
    """Return the numbers of columns of the first lines that are not blank; [0] if there are none.

    Raises:
        InputError: The file cannot be opened, is no text, or is damaged in its first line.
    """
    counts: list[int] = []
    try:
        with open_input(file) as content:
            if problem := why_not_text(content.read1(_SAMPLE_BYTES)):
                raise InputError(f"{file.name}: {problem}")
        with open_input(file) as content:
            lines = split_lines(content, 0, COMPRESSED_BLOCK_BYTES)
            filled = (line for line in lines if not is_blank(line))
            for line in itertools.islice(filled, _LINES):
                counts.append(line.text.count(b"\t") + 1)
    except READ_ERRORS as error:
        # The rows before the damage can be read.
        if not counts:
            raise InputError(f"{file.name}: cannot be read: {error}") from error
    return counts or [0]


def _found_column_counts(file: InputFile) -> list[int]:
    """Return `_column_counts` of a file that a pattern found; [] if it cannot be read."""
    try:
        return _column_counts(file)
    except InputError:
        # A link to nothing or an encrypted member beside the region files must not end the job.
        return []


def _hdf5_format(opened: h5py.File) -> str:
    if "features" in opened and "bboxes" in opened:
        return "gqa_hdf5"
    if "image_features" in opened and "image_bb" in opened:
        return "bottom_up_hdf5"
    first = next(iter(opened), "")
    # h5py would open the other file of an external link.
    link = opened.get(first, getlink=True) if first else None
    if isinstance(link, h5py.HardLink) and isinstance(opened[first], h5py.Group):
        return "grouped_hdf5"
    if any(map(_MESHED_MEMORY.fullmatch, itertools.islice(opened, _SHOWN_NAMES))):
        raise InputError(
            "HDF5 with ID_features, as of Meshed-Memory Transformer; it lacks the images' sizes, "
            "without which boxes in pixels cannot be used"
        )
    names = ", ".join(itertools.islice(opened, _SHOWN_NAMES)) or "nothing"
    raise InputError(
        f"HDF5 of an unknown format, with {names}; those known have features and bboxes (GQA), "
        "image_features and image_bb (bottom-up attention), or a group per image (VL-T5)"
    )


def _look_up(kind: str, name: str, table: dict[str, T]) -> T:
    if name not in table:
        raise InputError(f"unknown {kind} {name!r}; it must be one of {', '.join(table)}")
    return table[name]
