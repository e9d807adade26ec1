"""Writing of TFRecord files without TensorFlow.

A record is its length (uint64), a checksum of the length, the bytes, and a checksum of the bytes,
all numbers little-endian (tensorflow/core/lib/io/record_writer.h).
"""

import struct
from typing import BinaryIO

import google_crc32c

# A checksum of data that holds checksums would be weak, so they are rotated and shifted.
_MASK = 0xA282EAD8


def write_record(file: BinaryIO, record: bytes) -> None:
    """Append a record.

    Args:
        file: A file that is open for writing bytes.
        record: The bytes of the record.
    """
    length = struct.pack("<Q", len(record))
    file.write(length + _masked_checksum(length))
    file.write(record)
    file.write(_masked_checksum(record))


def _masked_checksum(data: bytes) -> bytes:
    checksum = google_crc32c.value(data)
    rotated = checksum >> 15 | checksum << 17
    return struct.pack("<I", (rotated + _MASK) & 0xFFFFFFFF)
