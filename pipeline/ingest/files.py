"""Input files by name or pattern: plain, gzipped, or members of zip archives, on any filesystem.

Local files and whatever Apache Beam knows (gs://, s3://, hdfs://). A member of an archive is named
ARCHIVE.zip!MEMBER.
"""

import contextlib
import dataclasses
import gzip
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from typing import BinaryIO

from apache_beam.io.filesystem import BeamIOError, CompressionTypes
from apache_beam.io.filesystems import FileSystems

from lxmert_tf.errors import InputError

MEMBER = "!"


@dataclasses.dataclass(frozen=True)
class InputFile:
    """A file, or a member of a zip archive.

    Args:
        path: the file, or the archive.
        size: in bytes, as it lies there (a member's compressed size).
        member: of the archive, or None.
    """

    path: str
    size: int
    member: str | None = None

    @property
    def name(self) -> str:
        """How it is told of in messages and rejects."""
        return self.path if self.member is None else f"{self.path}{MEMBER}{self.member}"

    @property
    def content_name(self) -> str:
        """The name without what compresses it, whose ending tells the format."""
        return (self.member or self.path).removesuffix(".gz")

    @property
    def seekable(self) -> bool:
        """Whether reading may start anywhere: not in what is compressed."""
        return self.member is None and not self.path.endswith(".gz")


def find_inputs(patterns: Iterable[str]) -> list[InputFile]:
    """The files that patterns name, each once, in the order of the patterns and then by name.

    An archive stands for all files in it.

    Raises:
        InputError: a pattern names no file, or an archive is damaged.
    """
    found: dict[str, InputFile] = {}
    for pattern in patterns:
        for file in _matches(str(pattern)):
            found.setdefault(file.name, file)
    return list(found.values())


@contextlib.contextmanager
def open_input(file: InputFile, start: int = 0) -> Iterator[BinaryIO]:
    """Opens a file for reading what it holds, uncompressed.

    Args:
        file: the file.
        start: the byte to start at; only for a seekable file.

    Raises:
        InputError: it cannot be opened. What is damaged inside raises as `READ_ERRORS` on reading.
    """
    try:
        raw = FileSystems.open(file.path, compression_type=CompressionTypes.UNCOMPRESSED)
    except (OSError, BeamIOError) as error:
        raise InputError(f"{file.path}: {_reason(error)}") from error
    with raw:
        if start:
            raw.seek(start)
        if file.member is not None:
            with _archive(file.path, raw) as archive, _member(archive, file) as content:
                yield content
        elif file.path.endswith(".gz"):
            with gzip.open(raw) as content:
                yield content
        else:
            yield raw


# What reading a compressed file that is damaged raises.
READ_ERRORS = (OSError, EOFError, zipfile.BadZipFile, zlib.error)


def _matches(pattern: str) -> list[InputFile]:
    path, _, member = pattern.partition(f".zip{MEMBER}")
    if member:
        path = f"{path}.zip"
        chosen = [file for file in _members(path) if file.member == member]
        if not chosen:
            raise InputError(f"{pattern}: the archive has no such member")
        return chosen
    try:
        [match] = FileSystems.match([pattern])
    except (OSError, BeamIOError) as error:
        raise InputError(f"{pattern}: {_reason(error)}") from error
    files = sorted(match.metadata_list, key=lambda metadata: metadata.path)
    if not files:
        raise InputError(f"{pattern}: no file is named so")
    result = []
    for metadata in files:
        if metadata.path.endswith(".zip"):
            result += _members(metadata.path)
        else:
            result.append(InputFile(metadata.path, metadata.size_in_bytes))
    return result


def _members(path: str) -> list[InputFile]:
    with open_input(InputFile(path, 0)) as raw, _archive(path, raw) as archive:
        return [
            InputFile(path, member.compress_size, member.filename)
            for member in sorted(archive.infolist(), key=lambda member: member.filename)
            # What macOS adds to archives.
            if not member.is_dir() and not member.filename.startswith("__MACOSX/")
        ]


def _archive(path: str, raw: BinaryIO) -> zipfile.ZipFile:
    try:
        return zipfile.ZipFile(raw)
    except zipfile.BadZipFile as error:
        raise InputError(f"{path}: not a zip archive, or cut short") from error


def _member(archive: zipfile.ZipFile, file: InputFile) -> BinaryIO:
    try:
        return archive.open(file.member)
    except (RuntimeError, NotImplementedError, KeyError, zipfile.BadZipFile) as error:
        # Encrypted, compressed in a way that Python does not know, or damaged.
        raise InputError(f"{file.name}: cannot be read: {error}") from error


def _reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error)
