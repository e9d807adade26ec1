"""Which format a region file has, told from its name, and of TSVs from the first line."""

import pathlib

from lxmert_tf.errors import InputError
from pipeline.ingest.files import READ_ERRORS, InputFile, open_input

_ENDINGS = {
    "gqa_hdf5": (".h5", ".hdf5"),
    "numpy_files": (".npy", ".npz"),
    "mmf_lmdb": (".lmdb", ".mdb"),
    "pictures": (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".tif", ".tiff", ".webp"),
}
_COLUMNS = {10: "lxmert_tsv", 6: "bottom_up_tsv"}
# A line has a few hundred kilobytes; this is for one that never ends.
_LONGEST_LINE = 1 << 26


def format_of(file: InputFile) -> str:
    """The name of a file's format.

    Raises:
        InputError: neither its ending nor its first line tells.
    """
    ending = pathlib.PurePath(file.content_name).suffix.lower()
    for name, endings in _ENDINGS.items():
        if ending in endings:
            return name
    if ending not in (".tsv", ".txt", ""):
        raise InputError(f"{file.name}: a file of regions ending in {ending!r} is not known")
    try:
        with open_input(file) as content:
            line = content.readline(_LONGEST_LINE)
    except READ_ERRORS as error:
        raise InputError(f"{file.name}: cannot be read: {error}") from error
    columns = line.count(b"\t") + 1
    if columns not in _COLUMNS:
        raise InputError(
            f"{file.name} line 1: has {columns} columns; LXMERT's TSV has 10, bottom-up's 6"
        )
    return _COLUMNS[columns]
