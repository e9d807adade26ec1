"""Where regions wait for their sentences: blobs in files, so that a shuffle moves only pointers.

Features are most of the data (36 x 2048 numbers per image). They are read once, written here by the
worker that read them, and read back by the worker that writes the record; what Beam groups by image
are the places, a few bytes each.
"""

import collections
import os
import pathlib
import uuid
from typing import BinaryIO, NamedTuple

from lxmert_tf.data.scene import Scene, SceneImage
from lxmert_tf.data.schema import encode_scene

# Files that are kept open for reading.
OPEN_FILES = 64


class Place(NamedTuple):
    """Where the regions of an image lie.

    Args:
        file, offset, length: the bytes.
        order: of two images with one id the one with the smaller order holds.
        source: the region file that it was read from.
        unit: the start of the unit there.
        feature_size: the width of its regions' features.
    """

    file: str
    offset: int
    length: int
    order: tuple[int, int]
    source: str
    unit: int
    feature_size: int


class RegionWriter:
    """Writes images into a file of its own in a folder that all workers see."""

    def __init__(self, folder: str):
        self._path = os.path.join(folder, f"{uuid.uuid4().hex}.regions")
        self._file = pathlib.Path(self._path).open("wb")  # noqa: SIM115 (closed by `close`)
        self._offset = 0

    def write(self, image: SceneImage, order: tuple[int, int], source: str, unit: int) -> Place:
        """Appends an image; arguments as of `Place`."""
        blob = encode_scene(Scene((image,), ()))
        self._file.write(blob)
        size = image.regions.features.shape[1]
        place = Place(self._path, self._offset, len(blob), order, source, unit, size)
        self._offset += len(blob)
        return place

    def close(self) -> None:
        """After it, the places can be read."""
        self._file.close()


class RegionFiles:
    """Reads images back, with the files that were used last kept open."""

    def __init__(self):
        self._open: collections.OrderedDict[str, BinaryIO] = collections.OrderedDict()

    def read(self, place: Place) -> bytes:
        """The image at a place: a serialized scene of it, without sentences."""
        file = self._file(place.file)
        file.seek(place.offset)
        return file.read(place.length)

    def close(self) -> None:
        """Closes what is open."""
        while self._open:
            self._open.popitem()[1].close()

    def _file(self, path: str) -> BinaryIO:
        if path not in self._open:
            if len(self._open) >= OPEN_FILES:
                self._open.popitem(last=False)[1].close()
            self._open[path] = pathlib.Path(path).open("rb")  # noqa: SIM115 (closed by `close`)
        self._open.move_to_end(path)
        return self._open[path]
