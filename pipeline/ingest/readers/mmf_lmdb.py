"""LMDB files of features as MMF publishes them (tools/scripts/features/lmdb_conversion.py).

Keys are image ids, in the order of the file. Values are pickled dicts with `features`, `bbox`,
`image_height`, `image_width`, `num_boxes`, `objects` and `cls_prob`. The key `keys` holds a list of
the others and is not used.

LMDB maps the file into memory, so it must be local. It has no checksums. A file that is too short
is refused, but wrong lengths within its pages may crash the process.
"""

import itertools
import os
import threading
import weakref
from collections.abc import Iterator

import lmdb

from lxmert_tf.data.scene import SceneImage
from lxmert_tf.errors import InputError
from pipeline.ingest.checks.region_checks import RegionError, check_id, read_image
from pipeline.ingest.files import InputFile
from pipeline.ingest.interfaces import (
    ALL_ROWS,
    Piece,
    ReadError,
    ReadImage,
    RegionReader,
    row_pieces,
)
from pipeline.ingest.parsers.numpy_pickle import load_numpy_pickle
from pipeline.ingest.readers.numpy_files import image_of_arrays

_LIST_OF_KEYS = b"keys"

# A process must not open an LMDB file twice, and may read several pieces at once.
_OPENED: weakref.WeakValueDictionary[str, lmdb.Environment] = weakref.WeakValueDictionary()
_OPENING = threading.Lock()


class MmfLmdb(RegionReader):
    """Reader of `NAME.lmdb/data.mdb`, or of the folder `NAME.lmdb`."""

    name = "mmf_lmdb"

    def pieces(self, file: InputFile, rows: tuple[int, int | None] = ALL_ROWS) -> list[Piece]:
        """Return ranges of rows of about 128 MB."""
        environment, path = _environment(file), _data_path(file)
        with environment.begin() as transaction:
            try:
                has_list = transaction.get(_LIST_OF_KEYS) is not None
            except lmdb.Error as error:
                raise InputError(f"{file.name}: damaged LMDB file ({error})") from error
        count = environment.stat()["entries"] - has_list
        if count < 1:
            raise InputError(f"{file.name}: the LMDB file holds no images")
        return row_pieces(file, rows, count, os.path.getsize(path) // count)

    def read(self, piece: Piece) -> Iterator[ReadImage | ReadError]:
        """Yield the images of a piece, in the order of their keys."""
        line = 0
        try:
            with _environment(piece.file).begin() as transaction:
                keys = transaction.cursor().iternext(values=False)
                images = (key for key in keys if key != _LIST_OF_KEYS)
                chosen = itertools.islice(images, piece.start, piece.stop)
                for line, key in enumerate(chosen, start=1):
                    # A damaged page may list a key that `get` does not find.
                    value = transaction.get(key) or b""
                    shown = key.decode(errors="replace")
                    yield read_image(line, shown, len(value), _image, key, value)
        except lmdb.Error:
            yield ReadError(line + 1, "", "the file is damaged or ends too early from here on")


def _image(key: bytes, value: bytes) -> SceneImage:
    image_id = key.decode(errors="surrogateescape")
    check_id(image_id)
    arrays = load_numpy_pickle(value)
    if not isinstance(arrays, dict):
        raise RegionError("the value is not a dict")
    return image_of_arrays(image_id, arrays)


def _data_path(file: InputFile) -> str:
    if "://" in file.path or not file.seekable:
        raise InputError(f"{file.name}: an LMDB file must be local and unpacked")
    folder_data = os.path.join(file.path, "data.mdb")
    return folder_data if os.path.isdir(file.path) else file.path


def _environment(file: InputFile) -> lmdb.Environment:
    path = os.path.realpath(_data_path(file))
    with _OPENING:
        environment = _OPENED.get(path)
        if environment is None:
            environment = _OPENED[path] = _open(file, path)
    return environment


def _open(file: InputFile, path: str) -> lmdb.Environment:
    try:
        # The errors of Python are clearer than those of LMDB.
        with open(path, "rb") as raw:
            size = raw.seek(0, os.SEEK_END)
        environment = lmdb.open(path, subdir=False, readonly=True, lock=False, readahead=False)
    except OSError as error:
        raise InputError(f"{path}: {error.strerror or error}") from error
    except lmdb.Error as error:
        raise InputError(f"{file.name}: not an LMDB file ({error})") from error
    needed = (environment.info()["last_pgno"] + 1) * environment.stat()["psize"]
    if size < needed:
        # Reading past the end of a mapped file would kill the process.
        environment.close()
        raise InputError(f"{file.name}: cut short; it has {size} bytes of {needed}")
    return environment
