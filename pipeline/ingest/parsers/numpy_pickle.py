"""Pickled NumPy arrays in region files."""

import io
from typing import Any

from lxmert_tf.converters.formats.numpy_pickle import read_numpy_pickle
from lxmert_tf.converters.formats.safe_unpickler import DamagedPickle
from lxmert_tf.errors import InputError
from pipeline.ingest.checks.region_checks import RegionError


def load_numpy_pickle(data: bytes) -> Any:
    """Read a pickle of numbers, text, arrays, dicts, lists and tuples.

    Raises:
        RegionError: The pickle is damaged or asks for anything else, which the message names.
    """
    try:
        return read_numpy_pickle(io.BytesIO(data), len(data))
    except DamagedPickle as error:
        raise RegionError("the pickle is damaged or cut short") from error
    except InputError as error:
        # Names come from the file and may be long.
        raise RegionError(" ".join(str(error).split())[:200]) from error
