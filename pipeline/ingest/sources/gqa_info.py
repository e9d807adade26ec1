"""GQA's `gqa_objects_info.json`: which row of which file is which image.

{image id: {"width", "height", "objectsNum", "idx", "file"}} for all files `gqa_objects_N.h5`,
beside which it lies (https://cs.stanford.edu/people/dorarad/gqa).
"""

import functools
import json
import re
from typing import Any, NamedTuple

from apache_beam.io.filesystem import BeamIOError
from apache_beam.io.filesystems import FileSystems

from lxmert_tf.errors import InputError
from pipeline.ingest.files import READ_ERRORS, InputFile, open_input
from pipeline.ingest.sources.region_checks import RegionFault

_NUMBERED = re.compile(r"(.*)_([0-9]{1,6})\.(?:h5|hdf5)", re.DOTALL)


class GqaEntry(NamedTuple):
    """What the file says of one image, as it stands there."""

    image_id: str
    width: Any
    height: Any
    count: Any

    def sizes(self) -> tuple[int, int, int]:
        """Width, height in pixels and the number of regions; RegionFault if it has none."""
        sizes = (self.width, self.height, self.count)
        if any(type(size) is not int for size in sizes):
            raise RegionFault("the info file has no whole width, height or objectsNum for it")
        return sizes


def gqa_entries(file: InputFile) -> dict[int, list[GqaEntry]]:
    """The images of one file `NAME_N.h5` by their row, from `NAME_info.json` beside it.

    An entry without a whole `file` or `idx` is for no row; its row will have no entry.

    Raises:
        InputError: the file's name has no number, or the info file is missing or no such JSON.
    """
    match = _NUMBERED.fullmatch(file.path)
    if not match:
        raise InputError(f"{file.name}: the name must be as GQA's, gqa_objects_0.h5: it is counted")
    path = f"{match[1]}_info.json"
    return _read(path, _changed(path)).get(int(match[2]), {})


def _changed(path: str) -> float:
    try:
        return FileSystems.last_updated(path)
    except (OSError, BeamIOError):
        # Why it cannot be read is told when it is opened.
        return 0.0


@functools.lru_cache(maxsize=1)
def _read(path: str, changed: float) -> dict[int, dict[int, list[GqaEntry]]]:
    # 149,000 entries for a thousand units: parsed once per worker, and again when they changed.
    try:
        with open_input(InputFile(path, 0)) as content:
            info = json.load(content)
    except READ_ERRORS as error:
        raise InputError(f"{path}: damaged or cut short") from error
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path}: not JSON, or cut short") from error
    if not isinstance(info, dict):
        raise InputError(f"{path}: not a JSON object of image ids, as GQA's info file is")
    files: dict[int, dict[int, list[GqaEntry]]] = {}
    for image_id, entry in info.items():
        if not isinstance(entry, dict):
            continue
        number, row = entry.get("file"), entry.get("idx")
        if type(number) is int and type(row) is int:
            sizes = (entry.get("width"), entry.get("height"), entry.get("objectsNum"))
            files.setdefault(number, {}).setdefault(row, []).append(GqaEntry(image_id, *sizes))
    return files
