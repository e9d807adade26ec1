"""Formats of region files that extractions write. `lxmert ingest` reads them all.

Boxes are in pixels, numbers are float32 and ids int64. An extractor without objects or attributes
gives none of them to formats that can leave them out; others get the id -1 with confidence 0.
"""

import dataclasses
import json
import os
import pathlib
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, NamedTuple

import h5py
import numpy as np
import pybase64

from lxmert_tf.data.scene import SceneImage
from lxmert_tf.errors import InputError
from lxmert_tf.regions.extractor import Regions
from pipeline.ingest.readers.gqa_hdf5 import info_file_of

NOT_IN_TEXT = "its name has a tab or a line break, which a TSV file cannot hold"
NOT_A_FILE = "its name cannot be that of a file"
# A row of text ends at these characters, a cell at a tab.
_ENDS_CELL = re.compile(r"[\t\r\n]")


class Totals(NamedTuple):
    """What is known of all images before the first is written.

    Args:
        images: Number of images.
        most_regions: The largest number of regions of an image.
        feature_size: Width of the features.
    """

    images: int
    most_regions: int
    feature_size: int


class Format(NamedTuple):
    """A format of region files.

    Args:
        write: Called with the path of a new file or folder, the images, and their `Totals`.
        endings: Endings of the file's name; none for a folder with a file per image.
        refusal: Returns why the format cannot hold an id; None if it can.
    """

    write: Callable[[pathlib.Path, Iterable[SceneImage], Totals], None]
    endings: tuple[str, ...] = ()
    refusal: Callable[[str], str | None] = lambda image_id: None


def boxes_in_pixels(image: SceneImage) -> np.ndarray:
    """Return the boxes of an image in pixels.

    Dividing the result by the image's size restores the boxes exactly if they came from pixels.

    Args:
        image: The image, with boxes in 0..1.

    Returns:
        float32 [R, 4], x1 y1 x2 y2.
    """
    size = np.array([image.width, image.height, image.width, image.height], np.float32)
    return image.regions.boxes * size


# Tab-separated text.


def _write_lxmert_tsv(path: pathlib.Path, images: Iterable[SceneImage], _: Totals) -> None:
    """The release's rows (github.com/airsplay/lxmert, src/utils.py, `load_obj_tsv`)."""
    _write_rows(path, map(_lxmert_cells, images))


def _lxmert_cells(image: SceneImage) -> Iterator[bytes]:
    yield from (_quoted(image.id), b"%d" % image.height, b"%d" % image.width)
    for kind in ("object", "attribute"):
        ids, confidences = _labels(image.regions, kind)
        yield from (_base64(ids, np.int64), _base64(confidences, np.float32))
    yield from _last_cells(image)


def _write_bottom_up_tsv(path: pathlib.Path, images: Iterable[SceneImage], _: Totals) -> None:
    """Rows of bottom-up attention (peteanderson80/bottom-up-attention, tools/generate_tsv.py)."""
    _write_rows(path, map(_bottom_up_cells, images))


def _bottom_up_cells(image: SceneImage) -> Iterator[bytes]:
    yield from (_quoted(image.id), b"%d" % image.width, b"%d" % image.height)
    yield from _last_cells(image)


def _last_cells(image: SceneImage) -> Iterator[bytes]:
    yield b"%d" % len(image.regions)
    yield _base64(boxes_in_pixels(image), np.float32)
    yield _base64(image.regions.features, np.float32)


def _write_rows(path: pathlib.Path, rows: Iterable[Iterable[bytes]]) -> None:
    with path.open("wb") as file:
        for cells in rows:
            file.write(b"\t".join(cells) + b"\n")


def _quoted(image_id: str) -> bytes:
    # As csv.writer does, because csv.reader takes the quotes off.
    if '"' in image_id:
        image_id = '"{}"'.format(image_id.replace('"', '""'))
    return image_id.encode()


def _base64(values: np.ndarray, dtype) -> bytes:
    little_endian = np.dtype(dtype).newbyteorder("<")
    return pybase64.b64encode(values.astype(little_endian).tobytes())


def _labels(regions: Regions, kind: str) -> tuple[np.ndarray, np.ndarray]:
    ids, confidences = getattr(regions, f"{kind}_ids"), getattr(regions, f"{kind}_confidences")
    if ids is None:
        return np.full(len(regions), -1), np.zeros(len(regions))
    return ids, confidences


# GQA's HDF5.


def _write_gqa_hdf5(path: pathlib.Path, images: Iterable[SceneImage], totals: Totals) -> None:
    """The file and the info file beside it (cs.stanford.edu/people/dorarad/gqa)."""
    info_file, number = info_file_of(str(path))
    shape = totals.images, totals.most_regions
    info: dict[str, dict[str, int]] = {}
    with h5py.File(path, "w") as file:
        features = file.create_dataset("features", (*shape, totals.feature_size), np.float32)
        boxes = file.create_dataset("bboxes", (*shape, 4), np.float32)
        for row, image in enumerate(images):
            count = len(image.regions)
            features[row, :count], boxes[row, :count] = (
                image.regions.features,
                boxes_in_pixels(image),
            )
            info[image.id] = {
                "width": image.width,
                "height": image.height,
                "objectsNum": count,
                "idx": row,
                "file": number,
            }
    pathlib.Path(info_file).write_text(json.dumps(info), encoding="utf-8")


# NumPy files, one per image.


def _write_bottom_up_npz(path: pathlib.Path, images: Iterable[SceneImage], _: Totals) -> None:
    """The PyTorch port of bottom-up attention (MILVLG, utils/extract_utils.py)."""
    for image in images:
        np.savez(_new_file(path, image.id, ".npz"), **_bottom_up_arrays(image))


def _write_openvqa_npz(path: pathlib.Path, images: Iterable[SceneImage], _: Totals) -> None:
    """The same arrays for OpenVQA and MCAN, which transpose `x` when they load it."""
    for image in images:
        arrays = _bottom_up_arrays(image)
        np.savez(_new_file(path, image.id, ".npz"), **{**arrays, "x": arrays["x"].T})


def _bottom_up_arrays(image: SceneImage) -> dict[str, Any]:
    return {
        "x": image.regions.features,
        "bbox": boxes_in_pixels(image),
        "num_bbox": len(image.regions),
        "image_h": image.height,
        "image_w": image.width,
        "info": _label_arrays(image),
    }


def _write_uniter_npz(path: pathlib.Path, images: Iterable[SceneImage], _: Totals) -> None:
    """The input of UNITER's scripts/convert_imgdir.py, which takes arrays of one or two axes."""
    for image in images:
        image = _most_confident_first(image)
        regions = image.regions
        corners = regions.boxes
        confidences = regions.object_confidences
        arrays: dict[str, Any] = {
            "features": regions.features,
            # With width and height; UNITER's loader adds the area.
            "norm_bb": np.concatenate([corners, corners[:, 2:] - corners[:, :2]], axis=1),
            # UNITER counts those above a threshold, and keeps that many of the first regions.
            "conf": np.ones(len(regions), np.float32) if confidences is None else confidences,
            "bbox": boxes_in_pixels(image),
            "image_h": np.array([image.height]),
            "image_w": np.array([image.width]),
            **_label_arrays(image),
        }
        np.savez(_new_file(path, image.id, ".npz"), **arrays)


def _most_confident_first(image: SceneImage) -> SceneImage:
    regions = image.regions
    if regions.object_confidences is None:
        return image
    order = np.argsort(-regions.object_confidences, kind="stable")
    values: dict[str, Any] = {
        field.name: None if (value := getattr(regions, field.name)) is None else value[order]
        for field in dataclasses.fields(regions)
    }
    return dataclasses.replace(image, regions=Regions(**values))


def _write_vilbert_npy(path: pathlib.Path, images: Iterable[SceneImage], _: Totals) -> None:
    """The input of ViLBERT's script/convert_to_lmdb.py: a pickled dict."""
    for image in images:
        values = {
            "image_id": image.id,
            "image_height": image.height,
            "image_width": image.width,
            "num_boxes": len(image.regions),
            "bbox": boxes_in_pixels(image),
            "features": image.regions.features,
            **_label_arrays(image),
        }
        np.save(_new_file(path, image.id, ".npy"), values)  # type: ignore[arg-type]


def _label_arrays(image: SceneImage) -> dict[str, np.ndarray]:
    regions = image.regions
    arrays = {
        "objects_id": regions.object_ids,
        "objects_conf": regions.object_confidences,
        "attrs_id": regions.attribute_ids,
        "attrs_conf": regions.attribute_confidences,
    }
    return {name: values for name, values in arrays.items() if values is not None}


def check_files(form: Format, pictures: Mapping[str, str]) -> None:
    """Check that a format with a file per image has another file for each picture.

    Args:
        form: The format.
        pictures: Name of the picture by id; the format can hold the ids.

    Raises:
        InputError: Two pictures would be written to one file.
    """
    if form.endings:
        return
    taken: dict[tuple[str, ...], str] = {}
    for image_id, picture in pictures.items():
        path = tuple(_path_parts(image_id))
        if path in taken:
            raise InputError(
                f"{picture} and {taken[path]} would be written to one file, {'/'.join(path)}; "
                "name one of them"
            )
        taken[path] = picture


def _path_parts(image_id: str) -> list[str]:
    # An id may have the folders that distinguish it from others, or be a whole path.
    return [part for part in image_id.split("/") if part not in ("", os.curdir, os.pardir)]


def _new_file(folder: pathlib.Path, image_id: str, ending: str) -> pathlib.Path:
    parts = _path_parts(image_id)
    path = folder.joinpath(*parts[:-1], f"{parts[-1]}{ending}")
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


def _refusal_of_text(image_id: str) -> str | None:
    return NOT_IN_TEXT if _ENDS_CELL.search(image_id) else None


def _refusal_of_files(image_id: str) -> str | None:
    no_name = ("", os.curdir, os.pardir)
    return NOT_A_FILE if image_id.rpartition("/")[2] in no_name else None


FORMATS: dict[str, Format] = {
    "lxmert_tsv": Format(_write_lxmert_tsv, (".tsv",), _refusal_of_text),
    "bottom_up_tsv": Format(_write_bottom_up_tsv, (".tsv",), _refusal_of_text),
    "gqa_hdf5": Format(_write_gqa_hdf5, (".h5", ".hdf5")),
    "bottom_up_npz": Format(_write_bottom_up_npz, refusal=_refusal_of_files),
    "openvqa_npz": Format(_write_openvqa_npz, refusal=_refusal_of_files),
    "uniter_npz": Format(_write_uniter_npz, refusal=_refusal_of_files),
    "vilbert_npy": Format(_write_vilbert_npy, refusal=_refusal_of_files),
}
