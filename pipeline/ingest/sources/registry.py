"""Data sets and file formats by name, as configs and commands name them."""

from typing import Any, TypeVar

from lxmert_tf.errors import InputError
from pipeline.ingest.files import InputFile
from pipeline.ingest.sources.bottom_up_tsv import BottomUpTsv
from pipeline.ingest.sources.coco_captions import CocoCaptions
from pipeline.ingest.sources.data_set import DataSet
from pipeline.ingest.sources.easy_vqa import EasyVqa
from pipeline.ingest.sources.gqa_hdf5 import GqaHdf5
from pipeline.ingest.sources.gqa_official import GqaOfficial
from pipeline.ingest.sources.gqa_release import GqaRelease
from pipeline.ingest.sources.json_lines import JsonLines, JsonLinesPairs
from pipeline.ingest.sources.lxmert_tsv import LxmertTsv
from pipeline.ingest.sources.mmf_lmdb import MmfLmdb
from pipeline.ingest.sources.nlvr2_official import Nlvr2Official
from pipeline.ingest.sources.nlvr2_release import Nlvr2Release
from pipeline.ingest.sources.numpy_files import NumpyFiles
from pipeline.ingest.sources.pictures import Pictures
from pipeline.ingest.sources.pretraining_json import PretrainingJson
from pipeline.ingest.sources.region_format import format_of
from pipeline.ingest.sources.source import RegionReader, SentenceReader
from pipeline.ingest.sources.vqa_official import VqaOfficial
from pipeline.ingest.sources.vqa_release import VqaRelease

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
