"""Files beside the records of an ingestion: its summary, and the extractor of its regions."""

import json
import os
import pathlib
from collections.abc import Sequence
from typing import Any

from lxmert_tf import storage
from lxmert_tf.config_file import read_mapping
from lxmert_tf.errors import InputError
from lxmert_tf.json_file import read_json

# {"images": {"read", "written", "rejected"}, "sentences": {the same}, "reasons": {reason: count}}.
INGEST_SUMMARY = "ingest-summary.json"
# The `get_config()` of a region extractor.
EXTRACTOR = "extractor.json"


def count_ingested_sentences(files: Sequence[str]) -> int | None:
    """Return how many sentences the records hold, according to the summaries of their ingestions.

    Args:
        files: Record files.

    Returns:
        The number of sentences; None if a directory has no summary, or only some of its record
        files are given.

    Raises:
        InputError: A summary does not give the number.
    """
    given = {_resolved(name) for name in files}
    written = 0
    for directory in {storage.parent(name) for name in given}:
        summary = storage.join(directory, INGEST_SUMMARY)
        records = (name for name in storage.list_directory(directory) if "tfrecord" in name)
        if not given.issuperset(storage.join(directory, name) for name in records):
            return None
        if not storage.exists(summary):
            return None
        written += _sentences_written(summary)
    return written


def check_sentence_count(files: Sequence[str], sentences: int) -> None:
    """Check that as many sentences were read as the ingestion wrote.

    A record file that is cut between two records reads like a complete one, and a deleted file
    leaves no trace. Where `count_ingested_sentences` returns None, nothing is checked.

    Args:
        files: All record files that were read.
        sentences: The number of sentences in them.

    Raises:
        InputError: The numbers differ, or a summary does not give the number.
    """
    written = count_ingested_sentences(files)
    if written is not None and written != sentences:
        directories = sorted({storage.parent(_resolved(name)) for name in files})
        raise InputError(
            f"{', '.join(directories)}: sentences read: {sentences:,}, written according to "
            f"{INGEST_SUMMARY}: {written:,}; a record file is cut short or missing"
        )


def write_extractor(directory, extractor: dict[str, Any]) -> None:
    """Write the config of a region extractor into a directory."""
    text = json.dumps(extractor, indent=1) + "\n"
    (pathlib.Path(directory) / EXTRACTOR).write_text(text, encoding="utf-8")


def read_extractor(files: Sequence[str]) -> dict[str, Any] | None:
    """Read the config of the region extractor beside the first of some files.

    Returns:
        The config, or None if there is none.

    Raises:
        InputError: The file is damaged.
    """
    path = storage.join(storage.parent(files[0]), EXTRACTOR)
    return read_mapping(path) if storage.exists(path) else None


def _resolved(name) -> str:
    return str(name) if storage.is_url(name) else os.path.realpath(name)


def _sentences_written(path: str) -> int:
    try:
        written = read_json(path)["sentences"]["written"]
    except (KeyError, TypeError) as error:
        raise InputError(f"{path}: the number of sentences written is missing") from error
    if type(written) is not int:
        raise InputError(f"{path}: sentences.written is {written!r}; it must be an integer")
    return written
