"""The lengths of the records in a TFRecord file, checked before TensorFlow reads it.

TensorFlow makes room for as many bytes as a length says. One of 2**36 with the right checksum,
which anyone can compute, ends the process.
"""

import os
import struct

from lxmert_tf.errors import InputError

# The length (uint64), its checksum, and the checksum of the bytes that follow.
_LENGTH = struct.Struct("<Q")
_BEFORE, _AFTER = 12, 4


def check_lengths(path) -> None:
    """Check that no record of a file is longer than the file.

    A record that only ends behind the end of the file passes, as does what cannot be opened:
    TensorFlow reports both.

    Args:
        path: A local file that is not compressed.

    Raises:
        InputError: A record is longer.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except OSError:
        return
    try:
        size, position = os.fstat(descriptor).st_size, 0
        while position + _BEFORE <= size:
            [length] = _LENGTH.unpack(os.pread(descriptor, _LENGTH.size, position))
            if length > size:
                raise InputError(
                    f"{path}: damaged or cut short: the record at byte {position} has "
                    f"{length} bytes, and the file {size}"
                )
            position += _BEFORE + length + _AFTER
    except (OSError, struct.error):
        # A folder, a lost disk, or a file that is written at the moment.
        return
    finally:
        os.close(descriptor)
