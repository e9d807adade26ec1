"""Image files, from which an extractor computes regions."""

import contextlib
import functools
import io
import json
import threading
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import numpy as np

from lxmert_tf.data.scene import SceneImage
from lxmert_tf.errors import InputError
from lxmert_tf.regions.extractor import RegionExtractor, Regions
from lxmert_tf.regions.image import decode_image
from lxmert_tf.regions.registry import make_extractor
from pipeline.ingest.checks.region_checks import RegionError, check_id
from pipeline.ingest.files import READ_ERRORS, InputFile, open_input
from pipeline.ingest.interfaces import ALL_ROWS, Piece, ReadError, ReadImage, RegionReader
from pipeline.ingest.readers.numpy_files import image_id_of

NO_REGIONS = "the image has no regions"
# More than the largest decodable picture, uncompressed.
_LARGEST = 512 << 20
_MAKING = threading.Lock()


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
        extractor = cached_extractor(self._config)
        yield from read_pictures([Picture(piece.file, image_id_of(piece.file))], extractor)


class Picture(NamedTuple):
    """A picture to read.

    Args:
        file: Its file.
        id: Id of the image.
    """

    file: InputFile
    id: str


def read_pictures(
    pictures: Iterable[Picture], extractor: RegionExtractor
) -> list[ReadImage | ReadError]:
    """Compute the regions of pictures, all at once.

    Args:
        pictures: The pictures. Those that cannot be decoded do not affect the others.
        extractor: Computes the regions.

    Returns:
        An image or an error for each, in their order.

    Raises:
        InputError: The extractor cannot compute the regions, or the memory is full.
        RuntimeError: The extractor failed otherwise. The messages name the pictures.
    """
    pictures = list(pictures)
    decoded = [_decode(picture) for picture in pictures]
    images = [pixels for pixels in decoded if isinstance(pixels, np.ndarray)]
    found = iter(_extract(extractor, images, pictures) if images else ())
    return [
        _read_image(picture, pixels, next(found))
        if isinstance(pixels, np.ndarray)
        else pixels.read_error(1, picture.id, picture.file.size)
        for picture, pixels in zip(pictures, decoded)
    ]


def _extract(
    extractor: RegionExtractor, images: list[np.ndarray], pictures: list[Picture]
) -> list[Regions]:
    try:
        return extractor.extract_batch(images)
    except Exception as error:
        more = f" and {len(pictures) - 3:,} more" if len(pictures) > 3 else ""
        names = f"{', '.join(picture.file.name for picture in pictures[:3])}{more}"
        # TensorFlow's; a client of a server does without it.
        if isinstance(error, MemoryError) or type(error).__name__ == "ResourceExhaustedError":
            smaller = "a smaller --batch-size" if len(images) > 1 else "a smaller picture"
            raise InputError(f"{names}: out of memory; choose {smaller}") from error
        if isinstance(error, InputError):
            raise InputError(f"{names}: {error}") from error
        raise RuntimeError(f"{names}: {type(error).__name__}: {error}") from error


def _decode(picture: Picture) -> np.ndarray | RegionError:
    try:
        check_id(picture.id)
        return _pixels(picture.file)
    except RegionError as error:
        return error


def _read_image(picture: Picture, pixels: np.ndarray, regions: Regions) -> ReadImage | ReadError:
    size = picture.file.size
    if not len(regions):
        return RegionError(NO_REGIONS).read_error(1, picture.id, size)
    height, width, _ = pixels.shape
    return ReadImage(1, SceneImage(picture.id, height, width, regions), size)


def cached_extractor(config: str) -> RegionExtractor:
    """Return the extractor of a configuration in JSON.

    There is one per worker, for all its threads, because an extractor may load a network.
    """
    with _MAKING:
        return _kept_extractor(config)


@functools.lru_cache(maxsize=1)
def _kept_extractor(config: str) -> RegionExtractor:
    return make_extractor(json.loads(config))


@contextlib.contextmanager
def fresh_extractors() -> Iterator[None]:
    """Keep extractors of this process for one job only, because their files may change."""
    _kept_extractor.cache_clear()
    try:
        yield
    finally:
        _kept_extractor.cache_clear()


def _pixels(file: InputFile) -> np.ndarray:
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
