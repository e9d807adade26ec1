"""Temporary storage for regions while Beam joins images with their sentences.

Features are most of the data (36 x 2048 numbers per image). The worker that reads them stores them
in a file, and the worker that writes the record reads them back. Beam shuffles only a `RegionRef`
per image.
"""

import collections
from typing import Any, NamedTuple

from lxmert_tf.data.scene import SceneImage
from lxmert_tf.data.schema import encode_images
from pipeline.beam.shared_files import explaining, new_path, open_file, open_new

# Files kept open by a reader.
MAX_OPEN_FILES = 64


class RegionRef(NamedTuple):
    """A reference to the stored regions of an image.

    Args:
        image_id: Id of the image.
        path: The store's file.
        offset: First byte in it.
        length: Number of bytes.
        feature_size: Width of the features.
        file: The region file that the image was read from.
        piece: Start of its piece in that file.
        line: Row of the image, counted from the start of the piece, from 1.
        task: Number of the task that read it. Of two images with one id, the one with the smaller
            `order` is kept.
        name: Name of the image with all that is known, such as the path of a picture.
    """

    image_id: str
    path: str
    offset: int
    length: int
    feature_size: int
    file: str
    piece: int
    line: int
    task: int
    name: str

    @property
    def order(self) -> tuple[int, int]:
        """Position among all images of the job."""
        return self.task, self.line


class RegionStoreWriter:
    """Writer of images into a new file; none if there are no images.

    Args:
        folder: A folder that all workers can read, as a path or URL.
    """

    def __init__(self, folder: str):
        self._path = new_path(folder, ".regions")
        self._file: Any = None
        self._offset = 0

    def write(
        self, image: SceneImage, file: str, piece: int, line: int, task: int, name: str
    ) -> RegionRef:
        """Append an image.

        Args:
            image: The image.
            file, piece, line, task, name: As in `RegionRef`.

        Returns:
            A reference, which is valid after `close`.
        """
        blob = encode_images((image,))
        with explaining(self._path):
            # Beam cannot write an empty file to S3.
            self._file = self._file or open_new(self._path)
            self._file.write(blob)
        offset, self._offset = self._offset, self._offset + len(blob)
        size = image.regions.features.shape[1]
        return RegionRef(
            image.id, self._path, offset, len(blob), size, file, piece, line, task, name
        )

    def close(self) -> None:
        """Flush and close the file."""
        if self._file is not None:
            with explaining(self._path):
                self._file.close()


class RegionStoreReader:
    """Reader of stored images, which keeps the last used files open."""

    def __init__(self):
        self._files: collections.OrderedDict[str, Any] = collections.OrderedDict()

    def read(self, ref: RegionRef) -> bytes:
        """Return an image as `encode_images` serialized it.

        Raises:
            InputError: The file at a URL cannot be read.
            OSError: The file ends before.
        """
        with explaining(ref.path):
            file = self._open(ref.path)
            # Images come in another order, and the buffers of files at URLs hold many of them.
            file = getattr(file, "raw", file)
            file.seek(ref.offset)
            return _read_exactly(file, ref)

    def close(self) -> None:
        """Close all files."""
        while self._files:
            self._files.popitem()[1].close()

    def _open(self, path: str) -> Any:
        if path not in self._files:
            if len(self._files) >= MAX_OPEN_FILES:
                self._files.popitem(last=False)[1].close()
            self._files[path] = open_file(path)
        self._files.move_to_end(path)
        return self._files[path]


def _read_exactly(file: Any, ref: RegionRef) -> bytes:
    data = b""
    while len(data) < ref.length:
        part = file.read(ref.length - len(data))
        if not part:
            raise OSError(None, "ends before an image that was stored", ref.path)
        data = data + part if data else part
    return data
