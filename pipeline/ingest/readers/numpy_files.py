"""NumPy files with one image each: `NAME.npz`, `NAME.npy`, or `NAME.npy` with `NAME_info.npy`.

`NAME.npz` is written by MILVLG's PyTorch port of bottom-up attention (utils/extract_utils.py), with
the arrays `x`, `bbox`, `num_bbox`, `image_h`, `image_w`, and in `info` `objects_id`,
`objects_conf`, `attrs_id`, `attrs_conf`; and by OpenVQA, where `x` is [F, R].

`NAME.npy` is written by MMF (tools/scripts/features/extract_features_vmb.py). It holds the
features; `NAME_info.npy` holds a pickled dict of `bbox`, `num_boxes`, `objects`, `cls_prob`,
`image_height` and `image_width`.

`NAME.npy` of ViLBERT (vilbert-multi-task, script/extract_features.py) holds the same dict pickled,
with the features under `features`.
"""

import contextlib
import dataclasses
import io
import posixpath
import struct
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from lxmert_tf.data.scene import SceneImage
from lxmert_tf.errors import InputError
from pipeline.ingest.checks.region_checks import RegionError, checked_image, read_image
from pipeline.ingest.files import COMPRESSIONS, READ_ERRORS, InputFile, open_input
from pipeline.ingest.image_names import name_of_file, parse_name
from pipeline.ingest.interfaces import ALL_ROWS, Piece, ReadError, ReadImage, RegionReader
from pipeline.ingest.parsers.npy_stream import LARGEST, read_npy


def image_id_of(file: InputFile) -> str:
    """Return the name of a file without suffixes: `COCO_1` for `train2014/COCO_1.jpg.npz`."""
    return parse_name(name_of_file(file.name)).stem


_FEATURES = ("features", "x")
_BOXES = ("bbox", "boxes", "bboxes")
_COUNT = ("num_boxes", "num_bbox")
_HEIGHT = ("image_height", "image_h")
_WIDTH = ("image_width", "image_w")
_OBJECT_IDS = ("objects_id", "objects")
_LABELS = ("objects_conf", "attrs_id", "attrs_conf")
_PROBABILITIES = ("cls_prob",)
NAMES = (*_FEATURES, *_BOXES, *_COUNT, *_HEIGHT, *_WIDTH, *_OBJECT_IDS, *_LABELS, *_PROBABILITIES)


def image_of_arrays(image_id: str, arrays: Mapping[str, Any]) -> SceneImage:
    """Build an image from named arrays.

    Regions after the first `num_boxes` are left out, because they are padding or duplicates. The
    confidence of an object is `objects_conf` or the largest value of `cls_prob`. Ids without
    confidences are left out.

    Args:
        image_id: Id, unique in the data set.
        arrays: The arrays by the names above, with boxes in pixels; None is a missing array.

    Raises:
        RegionError: An array is missing or invalid.
    """
    features, boxes = _array(arrays, _FEATURES), _array(arrays, _BOXES)
    if features is None or boxes is None:
        raise RegionError(f"the image has no {'features' if features is None else 'boxes'}")
    height, width = _whole(arrays, _HEIGHT), _whole(arrays, _WIDTH)
    if height is None or width is None:
        raise RegionError("the image has no height or width")
    if features.ndim == 2 and boxes.ndim == 2 and len(features) != len(boxes):
        # OpenVQA stores [F, R]. If that does not fit either, `checked_image` raises the error.
        features = np.ascontiguousarray(features.T)
    labels: dict[str, Any] = {
        "object_ids": _array(arrays, _OBJECT_IDS),
        "object_confidences": _object_confidences(arrays),
        "attribute_ids": _array(arrays, ("attrs_id",)),
        "attribute_confidences": _array(arrays, ("attrs_conf",)),
    }
    for kind in ("object", "attribute"):
        if labels[f"{kind}_confidences"] is None or labels[f"{kind}_ids"] is None:
            labels[f"{kind}_confidences"] = labels[f"{kind}_ids"] = None
    parts: dict[str, Any] = {"boxes_in_pixels": boxes, "features": features, **labels}
    count = _whole(arrays, _COUNT)
    if count is not None:
        parts = {name: _first(count, values) for name, values in parts.items()}
    return checked_image(image_id, height, width, **parts)


def _find(arrays: Mapping[str, Any], names: tuple[str, ...]) -> Any:
    return next((arrays[name] for name in names if arrays.get(name) is not None), None)


def _array(arrays: Mapping[str, Any], names: tuple[str, ...]) -> np.ndarray | None:
    value = _find(arrays, names)
    if value is not None and not isinstance(value, np.ndarray):
        # Converting nested lists could fill the memory.
        raise RegionError(f"{names[0]} is not an array")
    return value


def _whole(arrays: Mapping[str, Any], names: tuple[str, ...]) -> int | None:
    value = _find(arrays, names)
    if isinstance(value, np.ndarray | np.generic) and value.size == 1:
        value = value.item()
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if value is not None and type(value) is not int:
        raise RegionError(f"{names[0]} is not a whole number")
    return value


def _object_confidences(arrays: Mapping[str, Any]) -> np.ndarray | None:
    confidences = _array(arrays, ("objects_conf",))
    if confidences is not None:
        return confidences
    probabilities = _array(arrays, _PROBABILITIES)
    if probabilities is None or probabilities.ndim != 2 or not probabilities.size:
        return probabilities
    if probabilities.dtype.kind != "f":
        raise RegionError("confidences are not numbers")
    return probabilities.max(axis=1)


def _first(count: int, values: np.ndarray | None) -> np.ndarray | None:
    if values is None or not values.ndim:
        return values
    if not 0 <= count <= len(values):
        raise RegionError("the lengths of features, boxes, ids or confidences do not fit")
    return values[:count]


_INFO = "_info.npy"
# Errors of zipfile on damaged, encrypted or unusually compressed archives.
_ZIP_ERRORS = (
    *(zipfile.BadZipFile, zlib.error, EOFError, OSError, ValueError, KeyError),
    *(NotImplementedError, RuntimeError, OverflowError, MemoryError, struct.error),
)


class NumpyFiles(RegionReader):
    """Reader of files with one image each, whose id is the name of the file."""

    name = "numpy_files"
    named_by_file = True

    def pieces(self, file: InputFile, rows: tuple[int, int | None] = ALL_ROWS) -> list[Piece]:
        """Return the file, or nothing for `NAME_info.npy`, which is read with `NAME.npy`."""
        if not file.content_name.endswith((".npy", ".npz")):
            raise InputError(f"{file.name}: neither .npy nor .npz")
        if file.content_name.endswith(_INFO) or rows[0] > 0 or rows[1] == 0:
            return []
        return [Piece(file, 0, 1, file.size)]

    def read(self, piece: Piece) -> Iterator[ReadImage | ReadError]:
        """Yield the image."""
        image_id = image_id_of(piece.file)
        yield read_image(1, image_id, piece.size, _image, image_id, piece.file)


def _image(image_id: str, file: InputFile) -> SceneImage:
    return image_of_arrays(image_id, _arrays(file))


def _arrays(file: InputFile) -> dict[str, Any]:
    try:
        if file.content_name.endswith(".npz"):
            with open_input(file) as content:
                return _read_npz(content.read(LARGEST + 1))
        with open_input(file) as content:
            features = read_npy(content)
        if isinstance(features, dict):
            return features
        with _open_info(file) as content:
            info = read_npy(content)
    except InputError as error:
        raise RegionError("the file cannot be opened") from error
    except READ_ERRORS as error:
        raise RegionError("the file is damaged or cut short") from error
    if not isinstance(info, dict):
        raise RegionError("its _info.npy holds no dict")
    return {**info, "features": features}


@contextlib.contextmanager
def _open_info(file: InputFile) -> Iterator[Any]:
    name = file.member or file.path
    base, dot, ending = name.rpartition(".npy")
    info_name = f"{base}{_INFO}{ending}" if dot else name
    beside = "member" if file.member else "path"
    with contextlib.ExitStack() as stack:
        try:
            names: dict[str, Any] = {beside: info_name}
            info = dataclasses.replace(file, **names)
            content = stack.enter_context(open_input(info))
        except (InputError, KeyError) as error:
            raise RegionError("there is no _info.npy beside it, which has its boxes") from error
        yield content


def _read_npz(data: bytes) -> dict[str, Any]:
    if len(data) > LARGEST:
        raise RegionError("the file is larger than 256 MB")
    if not data:
        raise RegionError("the file is empty")
    if not data.startswith(b"PK"):
        raise RegionError("not in NumPy's format .npz, which is a zip archive")
    arrays: dict[str, Any] = {}
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            for name, member in _wanted(archive):
                with archive.open(member) as content:
                    arrays[name] = read_npy(content)  # type: ignore[arg-type]
    except _ZIP_ERRORS as error:
        raise RegionError("the file is damaged or cut short") from error
    info = arrays.pop("info", None)
    # What is in both is equal.
    return {**info, **arrays} if isinstance(info, dict) else arrays


def _wanted(archive: zipfile.ZipFile) -> list[tuple[str, zipfile.ZipInfo]]:
    """Return the arrays in an archive that are read, by name, after a check of their sizes."""
    found = []
    for member in archive.infolist():
        name, ending = posixpath.splitext(member.filename)
        if ending == ".npy" and name in (*NAMES, "info"):
            found.append((name, member))
    if any(member.compress_type not in COMPRESSIONS for _, member in found):
        raise RegionError("the arrays are compressed in another way than NumPy compresses them")
    if sum(member.file_size for _, member in found) > LARGEST:
        raise RegionError("the arrays are larger than 256 MB")
    return found
