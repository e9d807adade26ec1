"""Whether all was read that ingestion wrote: its summary lies beside the records."""

import json
import pathlib
from collections.abc import Sequence
from typing import Any

from lxmert_tf.config_file import read_mapping
from lxmert_tf.errors import InputError
from lxmert_tf.json_file import read_json

FILE_NAME = "ingest-summary.json"


def check_sentences(files: Sequence[str], sentences: int) -> None:
    """Compares how many sentences were read with how many the summaries say were written.

    A record file that was cut between two records ends like a whole one, and one that was deleted
    leaves no trace at all. Folders of which only some files are read, or that have no summary, say
    nothing of the sum, so then nothing is compared.

    Args:
        files: all record files that were read.
        sentences: how many they held.

    Raises:
        InputError: naming the folders, if the numbers differ, or a summary is not one.
    """
    read = {pathlib.Path(name).resolve() for name in files}
    folders = sorted({path.parent for path in read})
    written = 0
    for folder in folders:
        if not (folder / FILE_NAME).exists() or not read.issuperset(folder.glob("*tfrecord*")):
            return
        written += _written(folder / FILE_NAME)
    if written != sentences:
        names = ", ".join(str(folder) for folder in folders)
        raise InputError(
            f"{names}: {sentences:,} sentences were read, but {FILE_NAME} says that {written:,} "
            "were written; a record file is cut short or missing: ingest again"
        )


def _written(path: pathlib.Path) -> int:
    try:
        written = read_json(path)["sentences"]["written"]
    except (KeyError, TypeError) as error:
        raise InputError(f"{path}: says no number of sentences written") from error
    if type(written) is not int:
        raise InputError(f"{path}: sentences written is {written!r}; it must be a number")
    return written


EXTRACTOR = "extractor.json"


def write_extractor(folder, extractor: dict[str, Any]) -> None:
    """Writes the config of a region extractor into a folder."""
    text = json.dumps(extractor, indent=1) + "\n"
    (pathlib.Path(folder) / EXTRACTOR).write_text(text, encoding="utf-8")


def read_extractor(files: Sequence[str]) -> dict[str, Any] | None:
    """The config that lies beside the first of some files, or None if there is none."""
    path = pathlib.Path(files[0]).parent / EXTRACTOR
    return read_mapping(path) if path.exists() else None
