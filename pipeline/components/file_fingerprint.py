"""Names what files hold without reading them, so that results of older files are not reused."""

import hashlib
import json
import pathlib
from collections.abc import Iterable

from apache_beam.io.filesystems import FileSystems

from pipeline.ingest.config import IngestConfig
from pipeline.ingest.files import find_inputs
from pipeline.ingest.registry import make_data_set


def data_fingerprint(config: IngestConfig) -> str:
    """Changes when the data of an ingestion does: of files, a name, a size or a time.

    Raises:
        InputError: the source is not known, or a pattern names no file.
    """
    if config.source is not None:
        return make_data_set(config.source).fingerprint()
    wanted = {name for split in config.splits.values() for name in split.names}
    files = (
        files
        for name in sorted(wanted)
        for part in (config.parts[name],)
        for files in (*part.regions, *part.sentences)
    )
    # An archive once, not once a member.
    paths = sorted({file.path for one in files for file in find_inputs(one.files)})
    return _digest(_facts(path) for path in paths)


def folder_fingerprint(paths: Iterable[str | None]) -> str:
    """Changes when a file, or one in a folder, does; what is None or missing counts as nothing."""
    files = (
        file
        for path in paths
        if path is not None
        for file in sorted({pathlib.Path(path), *pathlib.Path(path).rglob("*")})
        if file.is_file()
    )
    return _digest(_facts(str(file)) for file in files)


def _facts(path: str) -> list:
    [match] = FileSystems.match([path])
    [metadata] = match.metadata_list
    return [path, metadata.size_in_bytes, metadata.last_updated_in_seconds]


def _digest(facts: Iterable[list]) -> str:
    return hashlib.sha256(json.dumps(list(facts)).encode()).hexdigest()[:16]
