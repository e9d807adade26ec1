"""Safe reading of pickled NumPy arrays in plain containers.

Region files and detectron2's checkpoints hold dicts of arrays and numbers, in pickle protocol 2 or
later, written by Python 2 or 3 and NumPy 1 or 2. Such a pickle calls only what NumPy's `__reduce__`
of arrays, scalars and dtypes names.
"""

import math
import re
from collections.abc import Callable
from typing import IO, Any

import numpy as np

from lxmert_tf.converters.formats.safe_unpickler import SafeUnpickler, ordered_dict
from lxmert_tf.errors import InputError

# Numbers, booleans, strings, and objects. A dict is saved in an array of one object.
_DTYPE_NAME = re.compile(r"[<>|=]?([fiu][1248]|b1|O8?|[SU][1-9][0-9]{0,5})")
# More than any array of ours, and fewer than NumPy's own limits.
_MOST_AXES, _MOST_ITEMS = 32, 1 << 48


def read_numpy_pickle(file: IO[bytes], size: int) -> Any:
    """Read a pickle of numbers, text, arrays, dicts, lists and tuples.

    Args:
        file: File that is positioned at the start of the pickle.
        size: Length of the file in bytes.

    Raises:
        DamagedPickle: The pickle is damaged or cut short.
        InputError: It asks for anything else, which the message names.
    """
    return _unpickler().load(file, size)


class _Dtype:
    """A dtype whose byte order follows later, as a state."""

    def __init__(self, name: Any, *_: Any):
        if not isinstance(name, str) or not _DTYPE_NAME.fullmatch(name):
            raise InputError("refused: a dtype of neither numbers nor text")
        self.dtype = np.dtype(name)

    def build(self, state: Any) -> None:
        _, order, subarray, names, fields = state[:5]
        if any(part is not None for part in (subarray, names, fields)):
            raise InputError("refused: a dtype with fields")
        if order in ("<", ">"):
            self.dtype = self.dtype.newbyteorder(order)


def _unpickler() -> SafeUnpickler:
    # Protocol 2 writes bytes as a call of encode, and empty bytes as a call of bytes.
    callables: dict[str, Callable[..., Any]] = {
        "_codecs encode": _encode,
        "__builtin__ bytes": lambda: b"",
        "collections OrderedDict": ordered_dict,
    }
    callables["numpy dtype"] = _Dtype
    # NumPy 2 renamed numpy.core.
    for core in ("numpy.core", "numpy._core"):
        callables[f"{core}.multiarray _reconstruct"] = _empty_array
        callables[f"{core}.multiarray scalar"] = _scalar
        callables[f"{core}.numeric _frombuffer"] = _from_buffer
    return SafeUnpickler(callables, {"numpy ndarray": np.ndarray}, build=_build)


def _build(target: Any, state: Any) -> None:
    if isinstance(target, _Dtype):
        target.build(state)
    elif isinstance(target, np.ndarray):
        _, shape, dtype, is_fortran, data = state
        dtype = _plain(dtype)
        # `_content` has checked the state.
        content: Any = (1, shape, dtype, bool(is_fortran), _content(shape, dtype, data))
        target.__setstate__(content)
    else:
        raise InputError(f"refused: a state for {type(target).__name__}, which has none")


def _empty_array(kind: Any, *_: Any) -> np.ndarray:
    if kind is not np.ndarray:
        raise InputError("refused: an array of a kind of its own")
    return np.ndarray((0,), np.int8)


def _from_buffer(data: Any, dtype: Any, shape: Any, order: Any) -> np.ndarray:
    dtype = _plain(dtype)
    content = _content(shape, dtype, data)
    return np.frombuffer(content, dtype).reshape(shape, order="F" if order == "F" else "C")


def _scalar(dtype: Any, data: Any) -> Any:
    dtype = _plain(dtype)
    return np.frombuffer(_content((), dtype, data), dtype)[0]


def _plain(dtype: Any) -> np.dtype:
    if not isinstance(dtype, _Dtype):
        raise TypeError("a dtype is expected")
    return dtype.dtype


def _content(shape: Any, dtype: np.dtype, data: Any) -> Any:
    """Return the values of an array after a check of their number."""
    if not isinstance(shape, tuple) or not all(type(n) is int and n >= 0 for n in shape):
        raise TypeError("a shape is expected")
    # NumPy reads past its own buffer for more axes, and lets empty arrays have sides of any length.
    if len(shape) > _MOST_AXES or math.prod(max(n, 1) for n in shape) > _MOST_ITEMS:
        raise ValueError("an array has too many axes or items")
    if isinstance(data, str):
        # The disassembler reads Python 2's strings as Latin-1.
        data = data.encode("latin-1")
    kind = list if dtype.hasobject else (bytes, bytearray)
    length = math.prod(shape) * (1 if dtype.hasobject else dtype.itemsize)
    if not isinstance(data, kind) or len(data) != length:
        raise ValueError("an array's values do not fit its shape")
    return data if dtype.hasobject else bytes(data)


def _encode(text: Any, encoding: Any) -> bytes:
    if not isinstance(text, str) or encoding not in ("latin1", "latin-1"):
        raise InputError("refused: an encoding other than Latin-1")
    return text.encode("latin-1")
