"""The pictures of records, found by the ids of their images: a record holds no pixels."""

import functools
import importlib.util
import io
import lzma
import os
import pathlib
import struct
import zipfile
import zlib
from typing import NamedTuple

import numpy as np

from lxmert_tf.errors import InputError
from lxmert_tf.regions.image import decode_image

SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".gif", ".bmp")
# A larger member of an archive is no picture that anyone wants to see.
LARGEST_BYTES = 100_000_000
EASY_VQA = "easy_vqa"
# Of pictures and archives that are damaged, encrypted, or compressed in an unknown way.
_ERRORS = (
    *(InputError, OSError, EOFError, zipfile.BadZipFile, zlib.error, lzma.LZMAError),
    *(RuntimeError, LookupError, ValueError, OverflowError, struct.error),
)


class PictureFinder:
    """Finds pictures in a folder or an archive, and those of easy-VQA if it is installed.

    A picture is that of an image if its name without the ending is the image's id. Of several such
    pictures, it is the one in the folders that the id names, as `train/1` does.

    Args:
        place: A folder, which is searched with all below it, or a zip archive; None finds only
            pictures of easy-VQA.

    Raises:
        InputError: The place is missing, or is neither.
    """

    def __init__(self, place=None):
        self._place = None if place is None else pathlib.Path(place)
        if self._place is None or self._place.is_dir():
            return
        if not self._place.exists():
            raise InputError(f"pictures not found: {place}")
        if not zipfile.is_zipfile(self._place):
            raise InputError(f"{place}: must be a folder of pictures or a zip archive")

    def find(self, image_id: str, source: str = "") -> np.ndarray | None:
        """Return the pixels of an image.

        Args:
            image_id: Its id in the records.
            source: The data set of the sentences about it.

        Returns:
            uint8 [height, width, 3], or None if there is no such picture or it cannot be read.
        """
        try:
            content = self._read(image_id, source)
            return None if content is None else decode_image(io.BytesIO(content))
        except _ERRORS:
            # A damaged or encrypted picture is one that cannot be shown.
            return None

    def _read(self, image_id: str, source: str) -> bytes | None:
        name = _matching(self._names, image_id)
        if name is None:
            path = _easy_vqa_path(image_id) if source == EASY_VQA else None
            return None if path is None else pathlib.Path(path).read_bytes()
        assert self._place is not None
        if self._place.is_dir():
            return (self._place / name).read_bytes()
        with zipfile.ZipFile(self._place) as archive:
            member = archive.getinfo(name)
            # LZMA would let a file of a few bytes ask for 4 GB.
            if member.file_size > LARGEST_BYTES or member.compress_type == zipfile.ZIP_LZMA:
                return None
            return archive.read(name)

    @functools.cached_property
    def _names(self) -> dict[str, list[str]]:
        """The names of all pictures by what precedes their endings, without folders."""
        names: dict[str, list[str]] = {}
        for name in _listed(self._place):
            stem, suffix = os.path.splitext(name.rsplit("/", 1)[-1])
            if suffix.lower() in SUFFIXES:
                names.setdefault(stem, []).append(name)
        return names


class _Parts(NamedTuple):
    folders: list[str]
    stem: str


def _listed(place: pathlib.Path | None) -> list[str]:
    if place is None:
        return []
    if not place.is_dir():
        with zipfile.ZipFile(place) as archive:
            return archive.namelist()
    return [
        pathlib.Path(folder, name).relative_to(place).as_posix()
        for folder, _, names in os.walk(place)
        for name in names
    ]


def _matching(names: dict[str, list[str]], image_id: str) -> str | None:
    wanted = _parts(image_id)
    found = names.get(wanted.stem, [])
    if wanted.folders:
        count = len(wanted.folders)
        found = [name for name in found if _parts(name).folders[-count:] == wanted.folders]
    return found[0] if len(found) == 1 else None


def _parts(name: str) -> _Parts:
    *folders, last = name.split("/")
    stem, suffix = os.path.splitext(last)
    return _Parts(folders, stem if suffix.lower() in SUFFIXES else last)


def _easy_vqa_path(image_id: str) -> str | None:
    split, _, number = image_id.rpartition("-")
    if split not in ("train", "test") or not number.isdecimal():
        return None
    if importlib.util.find_spec(EASY_VQA) is None:
        return None
    import easy_vqa

    return getattr(easy_vqa, f"get_{split}_image_paths")().get(int(number))
