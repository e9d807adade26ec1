"""Input files by path or pattern: plain, gzipped, or members of zip archives.

Files may be local or on any filesystem that Apache Beam knows (gs://, s3://, hdfs://). A member of
an archive is named ARCHIVE.zip!MEMBER.
"""

import contextlib
import dataclasses
import gzip
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from io import BufferedIOBase
from typing import Any

from apache_beam.io.filesystem import BeamIOError, CompressionTypes
from apache_beam.io.filesystems import FileSystems

from lxmert_tf.errors import InputError

MEMBER = "!"
# Errors on reading a compressed file that is damaged.
READ_ERRORS = (OSError, EOFError, zipfile.BadZipFile, zlib.error)


@dataclasses.dataclass(frozen=True)
class InputFile:
    """A file, or a member of a zip archive.

    Args:
        path: The file, or the archive.
        size: Bytes on disk (the compressed size of a member).
        member: Name of the member; None for a file.
    """

    path: str
    size: int
    member: str | None = None

    @property
    def name(self) -> str:
        """The name in messages and rejects."""
        return self.path if self.member is None else f"{self.path}{MEMBER}{self.member}"

    @property
    def content_name(self) -> str:
        """The name without the suffix `.gz`, so that its suffix is that of the content."""
        return (self.member or self.path).removesuffix(".gz")

    @property
    def seekable(self) -> bool:
        """True if reading can start anywhere: unless the file is compressed."""
        return self.member is None and not self.path.endswith(".gz")


def find_inputs(patterns: Iterable[str]) -> list[InputFile]:
    """Return the files that match patterns, each once, ordered by pattern and then by name.

    Args:
        patterns: Paths or patterns. An archive stands for all files in it.

    Raises:
        InputError: No files match a pattern, or an archive is damaged.
    """
    found: dict[str, InputFile] = {}
    for pattern in patterns:
        for file in _matches(str(pattern)):
            found.setdefault(file.name, file)
    return list(found.values())


@contextlib.contextmanager
def open_input(file: InputFile, start: int = 0) -> Iterator[BufferedIOBase]:
    """Open a file for reading its uncompressed content.

    Args:
        file: The file.
        start: First byte to read; only for a seekable file.

    Raises:
        InputError: The file cannot be opened. If its content is damaged, reading raises one of
            `READ_ERRORS`.
    """
    try:
        raw = FileSystems.open(file.path, compression_type=CompressionTypes.UNCOMPRESSED)
    except (OSError, BeamIOError) as error:
        raise InputError(f"{file.path}: {_reason(error)}") from error
    with raw:
        if start:
            raw.seek(start)
        if file.member is not None:
            with _open_archive(file.path, raw) as archive, _open_member(archive, file) as content:
                yield content
        elif file.path.endswith(".gz"):
            with gzip.open(raw) as content:
                yield content
        else:
            yield raw


def last_updated(path: str) -> float:
    """Return the time of a file's last change; 0 if it cannot be told."""
    try:
        return FileSystems.last_updated(path)
    except (OSError, BeamIOError):
        # Opening the file will raise the error.
        return 0.0


def _matches(pattern: str) -> list[InputFile]:
    path, _, member = pattern.partition(f".zip{MEMBER}")
    if member:
        chosen = [file for file in _members(f"{path}.zip") if file.member == member]
        if not chosen:
            raise InputError(f"{pattern}: the archive has no such member")
        return chosen
    try:
        [match] = FileSystems.match([pattern])
    except (OSError, BeamIOError) as error:
        raise InputError(f"{pattern}: {_reason(error)}") from error
    files = sorted(match.metadata_list, key=lambda metadata: metadata.path)
    if not files:
        raise InputError(f"no files match {pattern}")
    result = []
    for metadata in files:
        if metadata.path.endswith(".zip"):
            result += _members(metadata.path)
        else:
            result.append(InputFile(metadata.path, metadata.size_in_bytes))
    return result


def _members(path: str) -> list[InputFile]:
    with open_input(InputFile(path, 0)) as raw, _open_archive(path, raw) as archive:
        return [
            InputFile(path, member.compress_size, member.filename)
            for member in sorted(archive.infolist(), key=lambda member: member.filename)
            # macOS adds files of its own to archives.
            if not member.is_dir() and not member.filename.startswith("__MACOSX/")
        ]


def _open_archive(path: str, raw: BufferedIOBase) -> zipfile.ZipFile:
    try:
        return zipfile.ZipFile(raw)
    except zipfile.BadZipFile as error:
        raise InputError(f"{path}: not a zip archive, or cut short") from error


def _open_member(archive: zipfile.ZipFile, file: InputFile) -> Any:
    try:
        return archive.open(file.member or "")
    except (RuntimeError, NotImplementedError, KeyError, zipfile.BadZipFile) as error:
        # Encrypted, compressed in a way that Python does not know, or damaged.
        raise InputError(f"{file.name}: cannot be read: {error}") from error


def _reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error)
