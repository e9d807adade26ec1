"""Image files, from which an extractor computes regions."""

import functools
import io
import json
from collections.abc import Iterator
from typing import Any

from lxmert_tf.data.scene import SceneImage
from lxmert_tf.errors import InputError
from lxmert_tf.regions.extractor import RegionExtractor
from lxmert_tf.regions.image import decode_image
from lxmert_tf.regions.registry import make_extractor
from pipeline.ingest.checks.region_checks import RegionError, check_id
from pipeline.ingest.files import READ_ERRORS, InputFile, open_input
from pipeline.ingest.interfaces import ALL_ROWS, Piece, ReadError, ReadImage, RegionReader
from pipeline.ingest.readers.numpy_files import image_id_of

# More than the largest decodable picture, uncompressed.
_LARGEST = 512 << 20


class Pictures(RegionReader):
    """Reader of pictures in any format that Pillow reads; the id is the name of the file.

    Args:
        extractor: Configuration of the extractor.

    Raises:
        InputError: The configuration is invalid.
    """

    name = "pictures"
    named_by_file = True

    def __init__(self, extractor: dict[str, Any]):
        make_extractor(extractor)
        self._config = json.dumps(extractor)

    def pieces(self, file: InputFile, rows: tuple[int, int | None] = ALL_ROWS) -> list[Piece]:
        """Return the whole file."""
        return [] if rows[0] > 0 or rows[1] == 0 else [Piece(file, 0, 1, file.size)]

    def read(self, piece: Piece) -> Iterator[ReadImage | ReadError]:
        """Yield the image."""
        image_id, size = image_id_of(piece.file), piece.size
        try:
            check_id(image_id)
            pixels = _pixels(piece.file)
        except RegionError as error:
            yield error.read_error(1, image_id, size)
            return
        regions = _extractor(self._config).extract(pixels)
        height, width, _ = pixels.shape
        yield ReadImage(1, SceneImage(image_id, height, width, regions), size)


@functools.lru_cache(maxsize=1)
def _extractor(config: str) -> RegionExtractor:
    # Cached per worker, because an extractor may load a network.
    return make_extractor(json.loads(config))


def _pixels(file: InputFile):
    try:
        with open_input(file) as content:
            data = io.BytesIO(content.read(_LARGEST))
    except InputError as error:
        raise RegionError("the file cannot be opened") from error
    except READ_ERRORS as error:
        raise RegionError("the file is damaged or cut short") from error
    try:
        return decode_image(data)
    except InputError as error:
        # Without the details, so that rejects are counted by reason.
        raise RegionError(str(error).partition(" (")[0]) from error
