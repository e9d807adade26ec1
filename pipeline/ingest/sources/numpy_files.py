"""A file of NumPy arrays per image: `NAME.npz`, or `NAME.npy` with `NAME_info.npy` beside it.

The first is what MILVLG's port of bottom-up attention and OpenVQA have, the second what MMF's
extractor writes: features alone, and a pickled dict of the rest. `named_arrays` knows the names.
"""

import contextlib
import dataclasses
import io
import posixpath
import zipfile
import zlib
from collections.abc import Iterator
from typing import Any

from lxmert_tf.errors import InputError
from pipeline.ingest.files import READ_ERRORS, InputFile, open_input
from pipeline.ingest.sources.file_stem import image_id_of
from pipeline.ingest.sources.named_arrays import NAMES, image_of_arrays
from pipeline.ingest.sources.npy_stream import LARGEST, read_npy
from pipeline.ingest.sources.region_checks import RegionFault
from pipeline.ingest.sources.source import Problem, ReadImage, RegionReader, Unit

_INFO = "_info.npy"
# What Python's zipfile raises on damaged, encrypted or oddly compressed archives.
_ZIP_ERRORS = (
    *(zipfile.BadZipFile, zlib.error, EOFError, OSError, ValueError, KeyError),
    *(NotImplementedError, RuntimeError, OverflowError, MemoryError),
)


class NumpyFiles(RegionReader):
    """Reads one image of one file; its id is the file's name without the endings."""

    name = "numpy_files"

    def units(self, file: InputFile, rows: tuple[int, int | None] = (0, None)) -> list[Unit]:
        """The file; nothing for a `NAME_info.npy`, which belongs to `NAME.npy`."""
        if not file.content_name.endswith((".npy", ".npz")):
            raise InputError(f"{file.name}: neither .npy nor .npz")
        if file.content_name.endswith(_INFO) or rows[0] > 0 or rows[1] == 0:
            return []
        return [Unit(file, 0, 1, file.size)]

    def read(self, unit: Unit) -> Iterator[ReadImage | Problem]:
        """Its image."""
        image_id, size = image_id_of(unit.file), unit.size
        try:
            image = image_of_arrays(image_id, _arrays(unit.file))
        except RegionFault as fault:
            yield fault.problem(1, image_id, size)
        else:
            yield ReadImage(1, image, size)


def _arrays(file: InputFile) -> dict[str, Any]:
    try:
        if file.content_name.endswith(".npz"):
            with open_input(file) as content:
                return _read_npz(content.read(LARGEST + 1))
        with open_input(file) as content:
            features = read_npy(content)
        with _open_info(file) as content:
            info = read_npy(content)
    except InputError as error:
        raise RegionFault("the file cannot be opened") from error
    except READ_ERRORS as error:
        raise RegionFault("the file is damaged or cut short") from error
    if not isinstance(info, dict):
        raise RegionFault("its _info.npy holds no dict")
    return {**info, "features": features}


@contextlib.contextmanager
def _open_info(file: InputFile) -> Iterator[Any]:
    name = file.member or file.path
    base, dot, ending = name.rpartition(".npy")
    info_name = f"{base}{_INFO}{ending}" if dot else name
    beside = "member" if file.member else "path"
    with contextlib.ExitStack() as stack:
        try:
            info = dataclasses.replace(file, **{beside: info_name})
            content = stack.enter_context(open_input(info))
        except (InputError, KeyError) as error:
            raise RegionFault("there is no _info.npy beside it, which has its boxes") from error
        yield content


def _read_npz(data: bytes) -> dict[str, Any]:
    if len(data) > LARGEST:
        raise RegionFault("the file is larger than 256 MB")
    arrays: dict[str, Any] = {}
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            for member in archive.infolist():
                name, ending = posixpath.splitext(member.filename)
                if ending == ".npy" and name in (*NAMES, "info"):
                    with archive.open(member) as content:
                        arrays[name] = read_npy(content)
    except _ZIP_ERRORS as error:
        raise RegionFault("the file is damaged or cut short") from error
    info = arrays.pop("info", None)
    # What stands in both is the same.
    return {**info, **arrays} if isinstance(info, dict) else arrays
