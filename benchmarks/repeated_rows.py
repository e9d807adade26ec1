"""A file system of TSV files that repeat a few rows under new ids, without taking disk space.

`rows:///PATH/10000` has 10,000 images: the rows of the file /PATH again and again. 100,000 images
of 36 regions would be a file of 40 GB.
"""

import functools
import io
import pathlib
from collections.abc import Iterator

from apache_beam.io.filesystem import BeamIOError, FileMetadata, FileSystem, MatchResult

SCHEME = "rows"


def image_id(number: int) -> str:
    """Return the id of an image; all have the same length."""
    return f"COCO_train2014_{number:012d}"


class RepeatedRows(io.RawIOBase):
    """The content of a file.

    Args:
        sample: A TSV file whose first column is the id.
        images: Number of rows.
    """

    def __init__(self, sample: str, images: int):
        super().__init__()
        self._rests = _rests(sample)
        self._sizes = [len(image_id(0)) + len(rest) for rest in self._rests]
        rounds, more = divmod(images, len(self._rests))
        self.size = rounds * sum(self._sizes) + sum(self._sizes[:more])
        self._at = 0

    def readable(self) -> bool:
        """Return True."""
        return True

    def seekable(self) -> bool:
        """Return True."""
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Move to a position."""
        self._at = offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self.size}[whence]
        return self._at

    def readinto(self, buffer) -> int:
        """Read the next bytes."""
        wanted = max(min(len(buffer), self.size - self._at), 0)
        done = 0
        for part in self._parts():
            if done == wanted:
                break
            taken = min(len(part), wanted - done)
            buffer[done : done + taken] = part[:taken]
            done += taken
        self._at += done
        return done

    def _parts(self) -> Iterator[memoryview]:
        """Yield the content from the position on."""
        rounds, left = divmod(self._at, sum(self._sizes))
        number = rounds * len(self._sizes)
        while left >= self._sizes[number % len(self._sizes)]:
            left -= self._sizes[number % len(self._sizes)]
            number += 1
        while True:
            for part in (image_id(number).encode(), self._rests[number % len(self._rests)]):
                if left < len(part):
                    yield memoryview(part)[left:]
                left = max(left - len(part), 0)
            number += 1


class RowsUrl(str):
    """A URL of the file system. A worker that unpickles one imports this module, which it needs."""


class RepeatedRowsFileSystem(FileSystem):
    """The file system, for reading only."""

    @classmethod
    def scheme(cls) -> str:
        """Return the scheme of its URLs."""
        return SCHEME

    def open(self, path, *_, **__):
        """Open a file."""
        return io.BufferedReader(_content(path), 1 << 20)

    def exists(self, path):
        """Return whether a URL names a file."""
        return pathlib.Path(_split(path)[0]).is_file()

    def size(self, path):
        """Return the number of bytes."""
        return _content(path).size

    def last_updated(self, path):
        """Return 0."""
        return 0.0

    def metadata(self, path):
        """Return path and size."""
        return FileMetadata(RowsUrl(path), self.size(path))

    def match(self, patterns, limits=None):
        """Return the file of each URL; there are no patterns."""
        return [MatchResult(pattern, [self.metadata(pattern)]) for pattern in patterns]

    def join(self, basepath, *paths):
        """Join paths."""
        return "/".join((basepath, *paths))

    def split(self, path):
        """Split off the last part of a path."""
        return tuple(path.rsplit("/", 1))

    def has_dirs(self):
        """Return False."""
        return False

    def _list(self, dir_or_prefix):
        raise BeamIOError(f"{dir_or_prefix}: cannot be listed")

    def _refuse(self, *_, **__):
        raise BeamIOError(f"{SCHEME}:// is for reading only")

    create = copy = rename = delete = mkdirs = checksum = _refuse


def _content(url: str) -> RepeatedRows:
    sample, images = _split(url)
    return RepeatedRows(sample, images)


def _split(url: str) -> tuple[str, int]:
    sample, _, images = url.removeprefix(f"{SCHEME}://").rpartition("/")
    return sample, int(images)


@functools.lru_cache(maxsize=1)
def _rests(sample: str) -> list[bytes]:
    """Return the rows of a sample from their first tab on."""
    lines = pathlib.Path(sample).read_bytes().splitlines(keepends=True)
    return [tab + rest for _, tab, rest in (line.partition(b"\t") for line in lines)]
