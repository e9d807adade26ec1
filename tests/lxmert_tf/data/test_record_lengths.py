"""A record that is longer than its file is refused before TensorFlow makes room for it."""

import struct
import subprocess
import sys

import pytest

from lxmert_tf.data.batches import naming_damaged_files, read_records
from lxmert_tf.data.record_lengths import check_lengths
from lxmert_tf.errors import InputError
from pipeline.ingest import tfrecord
from tests.lxmert_tf.samples import one_line

# With the room that this asks for TensorFlow ends the process.
HUGE = 1 << 36


def write(path, records, last_length: int | None = None) -> str:
    with open(path, "wb") as file:
        for record in records:
            tfrecord.write_record(file, record)
        if last_length is not None:
            length = struct.pack("<Q", last_length)
            file.write(length + tfrecord._masked_checksum(length) + b"x" * 100)
    return str(path)


def read(*files: str) -> list[bytes]:
    with naming_damaged_files(files):
        return list(read_records(files).as_numpy_iterator())


def test_valid_files_are_read_in_their_order(tmp_path):
    first = write(tmp_path / "a.tfrecord", [b"", b"a" * 5000, b"b"])
    second = write(tmp_path / "b.tfrecord", [b"c"])
    check_lengths(write(tmp_path / "empty.tfrecord", []))
    assert read(second, first) == [b"c", b"", b"a" * 5000, b"b"]


@pytest.mark.parametrize("length", [1000, HUGE, (1 << 64) - 1])
def test_a_record_that_is_longer_than_its_file_is_named(tmp_path, length):
    good = write(tmp_path / "good.tfrecord", [b"a"])
    bad = write(tmp_path / "bad.tfrecord", [b"b", b"c"], length)
    with pytest.raises(InputError) as raised:
        read(good, bad)
    assert f"{bad}: damaged or cut short: the record at byte 34 has {length} bytes" in one_line(
        raised
    )


def test_a_record_that_is_cut_short_is_left_to_tensorflow(tmp_path):
    path = write(tmp_path / "a.tfrecord", [b"b" * 1000], 110)
    check_lengths(path)
    with pytest.raises(InputError, match="truncated record"):
        read(path)
    check_lengths(tmp_path / "missing")
    check_lengths(tmp_path)


@pytest.mark.slow
def test_tensorflow_still_needs_the_check(tmp_path):
    path = write(tmp_path / "a.tfrecord", [], HUGE)
    code = f"import tensorflow as tf; list(tf.data.TFRecordDataset({path!r}))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True)
    # Once it raises an error of its own here, `check_lengths` can go.
    assert done.returncode < 0
