"""LMDB files of features as MMF publishes them (tools/scripts/features/lmdb_conversion.py).

Keys are image ids, in the order of the file. Values are pickled dicts with `features`, `bbox`,
`image_height`, `image_width`, `num_boxes`, `objects` and `cls_prob`. The key `keys` holds a list of
the others and is not used.
"""

import contextlib
import itertools
import os
from collections.abc import Iterator

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
from pipeline.ingest.parsers.lmdb_pages import Entry, LmdbError, LmdbFile
from pipeline.ingest.parsers.npy_stream import LARGEST
from pipeline.ingest.parsers.numpy_pickle import load_numpy_pickle
from pipeline.ingest.readers.numpy_files import image_of_arrays

_LIST_OF_KEYS = b"keys"


class MmfLmdb(RegionReader):
    """Reader of `NAME.lmdb/data.mdb`, or of the folder `NAME.lmdb`."""

    name = "mmf_lmdb"

    def pieces(self, file: InputFile, rows: tuple[int, int | None] = ALL_ROWS) -> list[Piece]:
        """Return ranges of rows of about 128 MB."""
        count = 0
        with _open(file) as database:
            try:
                for _ in _images(database):
                    count += 1
            except LmdbError:
                # The row with which the damage begins, so that `read` reports it.
                count += 1
        if not count:
            raise InputError(f"{file.name}: the LMDB file holds no images")
        return row_pieces(file, rows, count, os.path.getsize(_data_path(file)) // count)

    def read(self, piece: Piece) -> Iterator[ReadImage | ReadError]:
        """Yield the images of a piece, in the order of their keys."""
        line = 0
        with _open(piece.file) as database:
            try:
                chosen = itertools.islice(_images(database), piece.start, piece.stop)
                for line, entry in enumerate(chosen, start=1):
                    shown = entry.key.decode(errors="replace")
                    yield read_image(line, shown, entry.size, _image, database, entry)
            except LmdbError:
                yield ReadError(line + 1, "", "the file is damaged or ends too early from here on")


def _images(database: LmdbFile) -> Iterator[Entry]:
    return (entry for entry in database.entries() if entry.key != _LIST_OF_KEYS)


def _image(database: LmdbFile, entry: Entry) -> SceneImage:
    image_id = entry.key.decode(errors="surrogateescape")
    check_id(image_id)
    if entry.size > LARGEST:
        raise RegionError("the value is larger than 256 MB")
    try:
        value = database.value(entry)
    except LmdbError as error:
        raise RegionError("the value is damaged") from error
    arrays = load_numpy_pickle(value)
    if not isinstance(arrays, dict):
        raise RegionError("the value is not a dict")
    return image_of_arrays(image_id, arrays)


def _data_path(file: InputFile) -> str:
    if "://" in file.path or not file.seekable:
        raise InputError(f"{file.name}: an LMDB file must be local and unpacked")
    folder_data = os.path.join(file.path, "data.mdb")
    return folder_data if os.path.isdir(file.path) else file.path


@contextlib.contextmanager
def _open(file: InputFile) -> Iterator[LmdbFile]:
    path = _data_path(file)
    with contextlib.ExitStack() as stack:
        try:
            opened = stack.enter_context(open(path, "rb"))
            database = LmdbFile(opened, os.fstat(opened.fileno()).st_size)
        except OSError as error:
            raise InputError(f"{path}: {error.strerror or error}") from error
        except LmdbError as error:
            raise InputError(f"{file.name}: not an LMDB file, or damaged: {error}") from error
        yield database
