"""Parts of an extraction: pictures whose regions are stored together.

Finished parts survive an interruption.

A finished part is two files in the folder of parts, named by a hash of everything that its regions
depend on. `KEY.regions` holds the images, one after another, and `KEY.json`, which is written last,
their lengths and the rejects.
"""

import dataclasses
import functools
import hashlib
import json
import pathlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from lxmert_tf import __version__
from lxmert_tf.atomic_write import PARTIAL, atomic_file
from lxmert_tf.data.scene import Scene, SceneImage
from lxmert_tf.data.schema import decode_scene, encode_scene
from lxmert_tf.hub import local_directory
from lxmert_tf.regions.extractor import RegionExtractor
from pipeline.beam.progress import WorkerProgress
from pipeline.ingest.files import find_inputs, last_updated
from pipeline.ingest.image_names import PICTURE_ENDINGS, ids_of_files
from pipeline.ingest.interfaces import ReadError, ReadImage
from pipeline.ingest.readers.pictures import Picture, read_pictures

# About this many are recomputed after a kill.
PICTURES_PER_PART = 16
# Ending of the file of rejects beside an output.
REJECTS = "-rejects.jsonl"
# Arguments of extractors that are words, although a file may have such a name.
_WORDS = ("name", "flavor", "backbone", "feature_map")
# Folders within a SavedModel.
_FOLDERS = ("variables", "assets")
_REGIONS, _RESULT = ".regions", ".json"


class Part(NamedTuple):
    """Pictures that one worker reads in batches.

    Args:
        key: Name of its files.
        pictures: The pictures, in the order of the output.
    """

    key: str
    pictures: tuple[Picture, ...]

    @property
    def size(self) -> int:
        """Bytes of the pictures' files."""
        return sum(picture.file.size for picture in self.pictures)


@dataclasses.dataclass(frozen=True)
class PartResult:
    """What a finished part holds.

    Args:
        lengths: Bytes of each image in the file of regions.
        rejects: The pictures that were rejected: id, file and reason.
        most_regions: The largest number of regions of an image; 0 without images.
        feature_size: Width of the features; 0 without images.
    """

    lengths: list[int]
    rejects: list[tuple[str, str, str]]
    most_regions: int
    feature_size: int


def find_pictures(patterns: Iterable[str]) -> tuple[list[Picture], list[str]]:
    """Find picture files.

    Args:
        patterns: Paths, patterns, archives, and folders, as for `find_inputs`.

    Returns:
        The pictures, each with another id, and the names of files of other kinds that were found.

    Raises:
        InputError: No files match a pattern, an archive is damaged, or a folder has no pictures.
    """
    found = find_inputs(patterns)
    chosen = [file for file in found if file.named or file.ending in ("", *PICTURE_ENDINGS)]
    ids = ids_of_files(file.name for file in chosen)
    pictures = [Picture(file, ids[file.name]) for file in chosen]
    return pictures, sorted({file.name for file in found} - {file.name for file in chosen})


def split_into_parts(
    pictures: Sequence[Picture], extractor: Mapping[str, Any], batch_size: int
) -> list[Part]:
    """Split pictures into parts.

    The names of the pictures tell where a part ends, so that the parts after a picture that is
    added or removed are the same as before.

    Args:
        pictures: The pictures.
        extractor: Configuration of the extractor.
        batch_size: Pictures that the extractor gets at once.
    """
    # Parts have this many on average, and the last batch of each is smaller.
    count = max(PICTURES_PER_PART, 4 * batch_size)
    settings = [__version__, extractor, _stamps_of_files_in(extractor), batch_size]
    updated = functools.cache(last_updated)
    parts = []
    for some in _groups(pictures, count):
        contents = [(p.file.name, p.id, p.file.size, updated(p.file.path)) for p in some]
        text = json.dumps([settings, contents], sort_keys=True)
        parts.append(Part(hashlib.sha256(text.encode()).hexdigest()[:32], some))
    return parts


def compute_part(
    part: Part,
    folder: pathlib.Path,
    extractor: RegionExtractor,
    batch_size: int,
    progress: WorkerProgress,
) -> None:
    """Compute the regions of a part and store them.

    Args:
        part: The part.
        folder: The folder of parts.
        extractor: Computes the regions.
        batch_size: Pictures that it gets at once.
        progress: Counts the pictures.
    """
    result = PartResult([], [], 0, 0)
    with atomic_file(folder / f"{part.key}{_REGIONS}") as path, path.open("wb") as file:
        for start in range(0, len(part.pictures), batch_size):
            batch = part.pictures[start : start + batch_size]
            for picture, item in zip(batch, read_pictures(batch, extractor)):
                if isinstance(item, ReadError):
                    result.rejects.append((item.id, picture.file.name, item.reason))
                    progress.add(item.size, rejected=1)
                    continue
                blob = encode_scene(Scene((_as_float32(item),), ()))
                file.write(blob)
                result = _with_image(result, item, len(blob))
                progress.add(item.size, images=1)
    text = json.dumps(dataclasses.asdict(result))
    with atomic_file(folder / f"{part.key}{_RESULT}") as path:
        path.write_text(text, encoding="utf-8")


def read_result(part: Part, folder: pathlib.Path) -> PartResult | None:
    """Return what a part holds; None if it is not finished."""
    path, regions = (folder / f"{part.key}{ending}" for ending in (_RESULT, _REGIONS))
    if not path.is_file() or not regions.is_file():
        return None
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        values["rejects"] = [(id_, file, reason) for id_, file, reason in values["rejects"]]
        result = PartResult(**values)
        is_whole = regions.stat().st_size == sum(result.lengths)
    except (ValueError, KeyError, TypeError):
        # A crash of the machine may damage a file.
        return None
    return result if is_whole else None


def read_images(part: Part, result: PartResult, folder: pathlib.Path) -> Iterator[SceneImage]:
    """Yield the images of a finished part."""
    with (folder / f"{part.key}{_REGIONS}").open("rb") as file:
        for length in result.lengths:
            [image] = decode_scene(file.read(length)).images
            yield image


def _groups(pictures: Sequence[Picture], count: int) -> Iterator[tuple[Picture, ...]]:
    """Yield groups of pictures in order, `count` each on average and four times as many at most."""
    group: list[Picture] = []
    for picture in pictures:
        group.append(picture)
        digest = hashlib.sha256(picture.file.name.encode(errors="surrogatepass")).digest()
        if int.from_bytes(digest[:8], "big") % count == 0 or len(group) == 4 * count:
            yield tuple(group)
            group = []
    if group:
        yield tuple(group)


def _with_image(result: PartResult, item: ReadImage, length: int) -> PartResult:
    regions = item.image.regions
    result.lengths.append(length)
    return dataclasses.replace(
        result,
        most_regions=max(result.most_regions, len(regions)),
        feature_size=regions.features.shape[1],
    )


def _as_float32(item: ReadImage) -> SceneImage:
    regions = item.image.regions
    features = regions.features.astype(np.float32, copy=False)
    return dataclasses.replace(item.image, regions=dataclasses.replace(regions, features=features))


def _stamps_of_files_in(extractor: Mapping[str, Any]) -> list[tuple[str, int, int]]:
    """Return size and time of each file of the model that a configuration names."""
    paths = [
        local_directory(value, model_type=None)
        for key, value in extractor.items()
        if isinstance(value, str) and key not in _WORDS
    ]
    stats = {str(file): file.stat() for path in paths for file in _model_files(path)}
    return [(name, stat.st_size, stat.st_mtime_ns) for name, stat in sorted(stats.items())]


def _model_files(path: pathlib.Path) -> Iterator[pathlib.Path]:
    """Yield the files of a model, not those of an extraction whose output is in its folder."""
    for found in path.iterdir() if path.is_dir() else [path]:
        if found.name in _FOLDERS:
            yield from filter(pathlib.Path.is_file, found.rglob("*"))
        elif found.is_file() and not found.name.endswith((REJECTS, PARTIAL)):
            yield found
