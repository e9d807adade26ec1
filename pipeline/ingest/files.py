"""Input files by path or pattern: plain, gzipped, or members of zip archives.

Files may be local or on any filesystem that Apache Beam knows (gs://, s3://, hdfs://). A member of
an archive is named ARCHIVE.zip!MEMBER. A local folder stands for all pictures below it.
"""

import contextlib
import dataclasses
import functools
import gzip
import io
import math
import os
import re
import struct
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from io import BufferedIOBase
from typing import Any

from apache_beam.io.filesystem import BeamIOError, CompressionTypes
from apache_beam.io.filesystems import FileSystems

import pipeline.beam.s3_client  # noqa: F401
from lxmert_tf.errors import InputError
from lxmert_tf.local_files import match_local
from pipeline.ingest.image_names import MEMBER_MARK, PICTURE_ENDINGS

MEMBER = "!"
GZIP = ".gz"
_ZIP = ".zip"
# Errors on reading a compressed file that is damaged.
READ_ERRORS = (OSError, EOFError, zipfile.BadZipFile, zlib.error)
# What else `zipfile` raises on a damaged archive, an encrypted member, or an unknown compression.
_ZIP_ERRORS = (*READ_ERRORS, RuntimeError, LookupError, ValueError, OverflowError, struct.error)
# Of members. LZMA would let a file of a few bytes ask for 4 GB.
COMPRESSIONS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2)
# What a compressed file expands to may have so many bytes, or so many times its size. JSON has 20
# times, TSV twice.
_SMALL_BYTES, _LARGEST_EXPANSION = 256 << 20, 100
_BLOCK_BYTES = 1 << 20
# Files and folders that systems and people put beside data.
_NO_DATA = re.compile(
    r"\.(?!\.?$)|(__macosx|thumbs\.db|desktop\.ini|icon\r)\Z"
    r"|(readme|licen[cs]e|copying|changelog)(\.(md|txt|rst|html))?$",
    re.IGNORECASE,
)


@dataclasses.dataclass(frozen=True)
class InputFile:
    """A file, or a member of a zip archive.

    Args:
        path: The file, or the archive.
        size: Bytes on disk (the compressed size of a member).
        member: Name of the member; None for a file.
        named: Whether the user named it, rather than a pattern or an archive that it is in.
        label: Name of an annotation file without folders and ending, for ids of sentences; with
            folders if several files have the same name.
    """

    path: str
    size: int
    member: str | None = None
    named: bool = dataclasses.field(default=True, compare=False)
    label: str = dataclasses.field(default="", compare=False)

    @property
    def name(self) -> str:
        """The name in messages and rejects."""
        return self.path if self.member is None else f"{self.path}{MEMBER}{self.member}"

    @property
    def content_name(self) -> str:
        """The name without the suffix `.gz`, so that its suffix is that of the content."""
        name = self.member or self.path
        return name[: -len(GZIP)] if _has_ending(name, GZIP) else name

    @property
    def ending(self) -> str:
        """The suffix of the content in lower case, without a number after it (`.tsv.0`)."""
        name = self.content_name.replace("\\", "/").rpartition("/")[2].lower()
        name = re.sub(r"(?<=.\.tsv)\.\d+$", "", name)
        # The ending of `.jpg`, which has no other name, is `.jpg`.
        return os.path.splitext(f"_{name}")[1]

    @property
    def seekable(self) -> bool:
        """True if reading can start anywhere: unless the file is compressed."""
        return self.member is None and not _has_ending(self.path, GZIP)


def find_inputs(patterns: Iterable[str]) -> list[InputFile]:
    """Return the files that match patterns, each once, ordered by pattern and then by name.

    Args:
        patterns: Paths or patterns. An archive stands for all files in it, and a folder for all
            pictures below it.

    Raises:
        InputError: No files match a pattern, an archive is damaged, or a folder has no pictures.
    """
    found: dict[str, InputFile] = {}
    for pattern in patterns:
        for file in _matches(str(pattern)):
            found.setdefault(_one_name(file), file)
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
    if file.member is not None:
        archive = _kept_archive(file.path, last_updated(file.path), os.getpid())
        with _open_member(archive, file) as content:
            yield content
        return
    with _open_raw(file.path) as raw:
        if start:
            raw.seek(start)
        if _has_ending(file.path, GZIP):
            with gzip.open(raw) as content:
                yield _Expanding(content, raw, file.name)
        else:
            yield raw


@contextlib.contextmanager
def closing_archives() -> Iterator[None]:
    """Close the archives that this process opened for a job when the block ends."""
    try:
        yield
    finally:
        _kept_archive.cache_clear()


def last_updated(path: str) -> float:
    """Return the time of a file's last change; 0 if it cannot be told."""
    try:
        return FileSystems.last_updated(path)
    except (OSError, BeamIOError):
        # Opening the file will raise the error.
        return 0.0


def _matches(pattern: str) -> list[InputFile]:
    archive, *rest = MEMBER_MARK.split(pattern, maxsplit=1)
    if member := "".join(rest):
        chosen = [file for file in _members(archive) if file.member == member]
        if not chosen:
            raise InputError(
                f"{pattern}: the archive has no such member; name one, not a pattern, or the "
                "archive for all"
            )
        return [dataclasses.replace(file, named=True) for file in chosen]
    result: list[InputFile] = []
    archives: list[str] = []
    for file in _remote_matches(pattern) if "://" in pattern else _local_matches(pattern):
        if _has_ending(file.path, _ZIP):
            archives.append(file.path)
            result += filter(_member_may_be_data, _members(file.path))
        else:
            result.append(file)
    if archives and not result:
        raise InputError(f"{archives[0]}: the archive has no files to read")
    if not result:
        raise InputError(f"no files match {pattern}")
    return result


def _has_ending(name: str, ending: str) -> bool:
    return name.lower().endswith(ending)


def _one_name(file: InputFile) -> str:
    """Return a name that is the same for `a.json` and `./a.json`, so that none is read twice."""
    if "://" in file.path:
        return file.name
    return dataclasses.replace(file, path=os.path.abspath(file.path)).name


def _local_matches(pattern: str) -> list[InputFile]:
    paths = match_local(pattern)
    if paths == [pattern]:
        if os.path.isdir(pattern) and not _is_lmdb(pattern):
            if pictures := _pictures_below(pattern):
                return [InputFile(path, _size(path), named=False) for path in pictures]
            inside = os.path.join(pattern, "*")
            raise InputError(
                f"{pattern}: is a folder without pictures; name the files in it, such as '{inside}'"
            )
        return [InputFile(pattern, _size(pattern))]
    files = [path for path in paths if not os.path.isdir(path) or _is_lmdb(path)]
    return [
        InputFile(path, _size(path), named=False)
        for path in files
        if _may_be_data(os.path.basename(path))
    ]


def _pictures_below(folder: str) -> list[str]:
    found = []
    for parent, folders, names in os.walk(folder):
        folders[:] = filter(_may_be_data, folders)
        found += [
            os.path.join(parent, name)
            for name in names
            if name.lower().endswith(PICTURE_ENDINGS) and _may_be_data(name)
        ]
    return sorted(found)


def _remote_matches(pattern: str) -> list[InputFile]:
    try:
        [match] = FileSystems.match([pattern])
    except (OSError, BeamIOError) as error:
        raise InputError(f"{pattern}: {_reason(error)}") from error
    files = sorted(match.metadata_list, key=lambda metadata: metadata.path)
    return [
        InputFile(file.path, file.size_in_bytes, named=file.path == pattern)
        for file in files
        if file.path == pattern or _may_be_data(file.path.rpartition("/")[2])
    ]


def _may_be_data(name: str) -> bool:
    """Return whether a file that was found, not named, may be an input."""
    return not _NO_DATA.match(name)


def _member_may_be_data(file: InputFile) -> bool:
    """Return whether a member of an archive may be an input.

    Raises:
        InputError: It may, but its name cannot be shown in messages.
    """
    name = str(file.member)
    if not all(map(_may_be_data, name.split("/"))):
        return False
    if not name.isprintable():
        raise InputError(f"{file.path}: refused: a member is named {name!r:.200}")
    return True


def _is_lmdb(path: str) -> bool:
    return os.path.exists(os.path.join(path, "data.mdb"))


def _size(path: str) -> int:
    try:
        return os.path.getsize(path)
    except OSError:
        # Such as a link to a file that is gone. Opening it will raise the error.
        return 0


def _members(path: str) -> list[InputFile]:
    with _open_raw(path) as raw, _open_archive(path, raw) as archive:
        return [
            InputFile(path, member.compress_size, member.filename, named=False)
            for member in sorted(archive.infolist(), key=lambda member: member.filename)
            if not member.is_dir()
        ]


def _open_raw(path: str) -> Any:
    try:
        return FileSystems.open(path, compression_type=CompressionTypes.UNCOMPRESSED)
    except (OSError, BeamIOError) as error:
        raise InputError(f"{path}: {_reason(error)}") from error


# Reading the directory of an archive with 74,000 pictures takes 0.7 s.
@functools.lru_cache(maxsize=16)
def _kept_archive(path: str, updated: float, process: int) -> zipfile.ZipFile:
    """Return an archive that stays open.

    Args:
        path: The archive.
        updated: Time of its last change. One that was replaced is opened again.
        process: The process, because a file's position would be shared with one that is forked.
    """
    raw = _open_raw(path)
    try:
        return _open_archive(path, raw)
    except InputError:
        raw.close()
        raise


def _open_archive(path: str, raw: BufferedIOBase) -> zipfile.ZipFile:
    try:
        archive = zipfile.ZipFile(raw)
    except _ZIP_ERRORS as error:
        raise InputError(f"{path}: not a zip archive, or cut short") from error
    # Members that share their bytes let a small archive hold any amount.
    size = raw.seek(0, os.SEEK_END)
    members = archive.infolist()
    if not all(member.filename for member in members):
        raise InputError(f"{path}: damaged: a member has no name")
    if sum(member.compress_size for member in members) > size:
        raise InputError(f"{path}: refused: its members overlap, or it is cut short")
    return archive


def _open_member(archive: zipfile.ZipFile, file: InputFile) -> Any:
    try:
        member = archive.getinfo(file.member or "")
        if member.compress_type not in COMPRESSIONS:
            raise NotImplementedError("That compression method is not supported")
        # `zipfile` reads no more than this size.
        _check_expansion(file.name, member.file_size, member.compress_size)
        return archive.open(member)
    except InputError:
        raise
    except _ZIP_ERRORS as error:
        # Encrypted, compressed in a way that is not read, or damaged.
        reason = " ".join(str(error).split())
        raise InputError(f"{file.name}: cannot be read: {reason}") from error


def _check_expansion(name: str, expanded: int, compressed: int) -> None:
    if expanded > max(_SMALL_BYTES, _LARGEST_EXPANSION * compressed):
        raise InputError(
            f"{name}: refused: {compressed:,} bytes expand to {expanded:,} or more; decompress the "
            "file if it is no bomb"
        )


class _Expanding(io.BufferedIOBase):
    """The content of a compressed file, which ends in an InputError if it expands too much.

    Args:
        content: The content.
        raw: The compressed file, whose position tells what was read of it.
        name: Its name, for messages.
    """

    def __init__(self, content: BufferedIOBase, raw: Any, name: str):
        self._content, self._raw, self._name = content, raw, name
        self._count = 0

    def readable(self) -> bool:
        """Return True."""
        return True

    def read(self, size: int | None = -1) -> bytes:
        """Return so many bytes, fewer at the end; all if the size is negative."""
        wanted = math.inf if size is None or size < 0 else size
        parts: list[bytes] = []
        while wanted > 0 and (part := self.read1(int(min(wanted, _BLOCK_BYTES)))):
            parts.append(part)
            wanted -= len(part)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def read1(self, size: int = -1) -> bytes:
        """Return at most so many bytes, none at the end."""
        part = self._content.read1(_BLOCK_BYTES if size < 0 else size)
        self._count += len(part)
        if self._count > _SMALL_BYTES:
            _check_expansion(self._name, self._count, self._raw.tell())
        return part


def _reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error)
