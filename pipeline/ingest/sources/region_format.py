"""Which format a region file has, told from its name, and of TSVs from the first lines."""

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
