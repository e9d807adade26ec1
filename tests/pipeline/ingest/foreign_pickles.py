"""Pickles as other Pythons and other NumPys write them, and some that no one should load."""

import io
import os
import pickle
import struct


class _Python2Pickler(pickle._Pickler):
    """Protocol 2 with Python 2's strings, which are bytes."""

    dispatch = dict(pickle._Pickler.dispatch)

    def _string(self, value):
        data = value.encode("latin-1") if isinstance(value, str) else value
        if len(data) < 256:
            self.write(pickle.SHORT_BINSTRING + bytes([len(data)]) + data)
        else:
            self.write(pickle.BINSTRING + struct.pack("<i", len(data)) + data)
        self.memoize(value)

    dispatch[str] = dispatch[bytes] = _string


def by_python_2(value) -> bytes:
    stream = io.BytesIO()
    _Python2Pickler(stream, protocol=2).dump(value)
    return stream.getvalue()


def by_numpy_2(value) -> bytes:
    """NumPy 2's names; protocol 2 writes them without a length."""
    return pickle.dumps(value, protocol=2).replace(b"numpy.core.", b"numpy._core.")


class Command:
    """Makes a file when it is unpickled."""

    def __init__(self, path):
        self._path = str(path)

    def __reduce__(self):
        return os.mkdir, (self._path,)
