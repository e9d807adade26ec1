"""Safetensors files: number formats, identical bytes, and damaged files."""

import json
import struct

import hypothesis
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import strategies as st

from lxmert_tf.converters.formats import StoredTensor
from lxmert_tf.converters.formats.safetensors_file import read_safetensors, write_safetensors
from lxmert_tf.errors import InputError

VALUES = np.float64([[1, 2.5, -3], [0.125, 5, 6]])


def write_raw(path, dtype: str, data: bytes, shape=(2, 3), end: int | None = None):
    """Write a file as the format is specified, with one tensor `x`."""
    offsets = [0, len(data) if end is None else end]
    entry = {"dtype": dtype, "shape": shape, "data_offsets": offsets}
    header = json.dumps({"x": entry}).encode()
    path.write_bytes(struct.pack("<Q", len(header)) + header + data)
    return path


def refusal(path) -> str:
    with pytest.raises(InputError) as caught:
        for tensor in read_safetensors(path).values():
            tensor.read()
    message = str(caught.value)
    assert "\n" not in message and message.startswith(f"{path}: ")
    return message


@pytest.mark.parametrize(
    "name, dtype",
    [
        *(("F64", "<f8"), ("F32", "<f4"), ("F16", "<f2"), ("BF16", tf.bfloat16.as_numpy_dtype)),
        *(("I64", "<i8"), ("I16", "<i2")),
    ],
)
def test_numbers_of_any_width_are_read_as_float32(tmp_path, name, dtype):
    values = VALUES.astype(dtype)
    [tensor] = read_safetensors(write_raw(tmp_path / "x", name, values.tobytes())).values()
    assert tensor.shape == (2, 3)
    assert tensor.read().dtype == np.float32
    np.testing.assert_array_equal(tensor.read(), values.astype(np.float32))


def test_the_same_tensors_are_written_as_the_same_bytes(tmp_path):
    values = {"b": np.float32(VALUES).T, "a": np.float32([7]), "scalar": np.array(3, np.float32)}
    tensors = {
        name: StoredTensor(value.shape, lambda value=value: value) for name, value in values.items()
    }
    write_safetensors(tmp_path / "1", tensors)
    write_safetensors(tmp_path / "2", dict(reversed(tensors.items())))
    assert (tmp_path / "1").read_bytes() == (tmp_path / "2").read_bytes()
    (tmp_path / "plain").touch()
    assert (tmp_path / "1").stat().st_mode == (tmp_path / "plain").stat().st_mode
    back = read_safetensors(tmp_path / "1")
    assert back.keys() == values.keys()
    for name, value in values.items():
        assert back[name].shape == value.shape
        np.testing.assert_array_equal(back[name].read(), value)


def test_complex_numbers_and_unknown_types_are_refused(tmp_path):
    data = VALUES.astype(np.complex64).tobytes()
    assert "complex64" in refusal(write_raw(tmp_path / "x", "C64", data))
    assert "damaged" in refusal(write_raw(tmp_path / "x", "F33", data))


def test_data_that_does_not_fit_its_shape_is_refused(tmp_path):
    assert "damaged" in refusal(write_raw(tmp_path / "x", "F32", bytes(24), (1 << 40, 3)))
    assert "damaged" in refusal(write_raw(tmp_path / "x", "F32", bytes(20), end=24))


def test_files_that_are_not_safetensors_are_refused(tmp_path):
    path = tmp_path / "x"
    for content in (b"", b"hello", struct.pack("<Q", 1 << 62), struct.pack("<Q", 3) + b"{a}"):
        path.write_bytes(content)
        assert "damaged safetensors file" in refusal(path)
    assert "No such file" in refusal(tmp_path / "missing")
    assert "directory" in refusal(tmp_path)


def test_a_file_that_shrinks_after_it_was_opened_is_refused(tmp_path):
    path = write_raw(tmp_path / "x", "F32", bytes(24))
    [tensor] = read_safetensors(path).values()
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(InputError, match="damaged"):
        tensor.read()


@hypothesis.given(st.data())
@hypothesis.settings(max_examples=100, derandomize=True)
def test_changed_bytes_only_change_numbers_or_are_refused(tmp_path_factory, data):
    path = tmp_path_factory.getbasetemp() / "changed.safetensors"
    content = bytearray(write_raw(path, "F32", np.float32(VALUES).tobytes()).read_bytes())
    for position in data.draw(st.lists(st.integers(0, len(content) - 1), min_size=1, max_size=4)):
        content[position] = data.draw(st.integers(0, 255))
    path.write_bytes(content)
    try:
        for tensor in read_safetensors(path).values():
            assert tensor.read().shape == tensor.shape
    except InputError as error:
        assert "\n" not in str(error)
