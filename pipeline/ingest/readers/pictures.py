"""Pictures, whose regions an extractor makes while they are read."""

import functools
import io
import json
from collections.abc import Iterator
from typing import Any

from lxmert_tf.data.scene import SceneImage
from lxmert_tf.errors import InputError
from lxmert_tf.regions.extractor import RegionExtractor
from lxmert_tf.regions.image import read_image
from lxmert_tf.regions.registry import make_extractor
from pipeline.ingest.checks.region_checks import RegionFault, check_id
from pipeline.ingest.files import READ_ERRORS, InputFile, open_input
from pipeline.ingest.interfaces import ReadError, ReadImage, RegionReader, Shard
from pipeline.ingest.readers.numpy_files import image_id_of

# More than the largest picture that is decoded takes, uncompressed.
_LARGEST = 512 << 20


class Pictures(RegionReader):
    """Reads a picture per file, in any format that Pillow reads; its id is the file's name.

    Args:
        extractor: the config of what makes the regions.

    Raises:
        InputError: the config describes no extractor.
    """

    name = "pictures"

    def __init__(self, extractor: dict[str, Any]):
        make_extractor(extractor)
        self._extractor = json.dumps(extractor)

    def shards(self, file: InputFile, rows: tuple[int, int | None] = (0, None)) -> list[Shard]:
        """The file."""
        return [] if rows[0] > 0 or rows[1] == 0 else [Shard(file, 0, 1, file.size)]

    def read(self, shard: Shard) -> Iterator[ReadImage | ReadError]:
        """Its image."""
        image_id, size = image_id_of(shard.file), shard.size
        try:
            check_id(image_id)
            pixels = _pixels(shard.file)
        except RegionFault as fault:
            yield fault.problem(1, image_id, size)
            return
        regions = _made(self._extractor).extract(pixels)
        height, width, _ = pixels.shape
        yield ReadImage(1, SceneImage(image_id, height, width, regions), size)


@functools.lru_cache(maxsize=1)
def _made(config: str) -> RegionExtractor:
    # Once per worker, not per picture: it may load a network.
    return make_extractor(json.loads(config))


def _pixels(file: InputFile):
    try:
        with open_input(file) as content:
            data = io.BytesIO(content.read(_LARGEST))
    except InputError as error:
        raise RegionFault("the file cannot be opened") from error
    except READ_ERRORS as error:
        raise RegionFault("the file is damaged or cut short") from error
    try:
        return read_image(data)
    except InputError as error:
        # The reason alone: neither which file it is nor the decoder's numbers.
        raise RegionFault(str(error).removeprefix(f"{data}: ").partition(" (")[0]) from error
