"""PyTorch files: the three forms of LXMERT checkpoints, and malicious files."""

import os
import pickle
import struct
import zipfile

import hypothesis
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import strategies as st
from safetensors.numpy import load_file

from lxmert_tf.converters.formats import StoredTensor
from lxmert_tf.converters.formats.torch_reading import (
    LEGACY_MAGIC,
    LEGACY_VERSION,
    read_torch_file,
)
from lxmert_tf.converters.formats.torch_writing import write_torch_file
from lxmert_tf.errors import InputError
from tests import golden

FORMS = ("zip_LXRT.pth", "legacy_LXRT.pth", "multigpu_LXRT.pth")


def write_zip(path, data_pickle: bytes, **storages: bytes):
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", data_pickle)
        for key, data in storages.items():
            archive.writestr(f"archive/data/{key.removeprefix('k')}", data)
    return path


def stored(value):
    return StoredTensor(value.shape, lambda: value)


def refusal(path) -> str:
    with pytest.raises(InputError) as caught:
        for tensor in read_torch_file(path).values():
            tensor.read()
    message = str(caught.value)
    assert "\n" not in message
    assert str(path) in message
    return message


class RunsCommand:
    """Object whose pickle calls os.system."""

    def __init__(self, command):
        self.command = command

    def __reduce__(self):
        return os.system, (self.command,)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("size", ["small", "small_region_mask"])
def test_every_form_gives_the_reference_weights(form, size):
    directory = golden.golden_directory(size)
    tensors = read_torch_file(directory / form)
    expected = load_file(directory / "weights.safetensors")
    prefix = "module." if form.startswith("multigpu") else ""
    for name, value in expected.items():
        stored = tensors[prefix + name]
        assert stored.shape == value.shape
        np.testing.assert_array_equal(stored.read(), value)


@pytest.mark.parametrize("protocol", [0, 1, 2, 3, 4, 5])
@pytest.mark.parametrize("form", ["zip", "legacy"])
def test_a_pickle_that_would_run_a_command_is_refused_by_name(tmp_path, protocol, form):
    proof = tmp_path / "executed"
    attack = pickle.dumps({"x": RunsCommand(f"touch {proof}")}, protocol)
    path = tmp_path / "attack.pth"
    if form == "zip":
        write_zip(path, attack)
    else:
        path.write_bytes(attack)
    message = refusal(path)
    assert not proof.exists()
    # Protocols 0 and 1 first use an opcode that no state dict needs.
    assert "posix.system" in message or "refused" in message


def test_calling_a_method_of_a_rebuilt_object_is_refused(tmp_path):
    # GLOBAL collections.OrderedDict, then an attribute of it, called.
    attack = b"\x80\x04ccollections\nOrderedDict.fromkeys\n(X\x01\x00\x00\x00atR."
    assert "collections.OrderedDict.fromkeys" in refusal(write_zip(tmp_path / "a.pth", attack))


def test_only_functions_can_be_called(tmp_path):
    attack = b"\x80\x02ctorch\nFloatStorage\n)R."
    assert "refused" in refusal(write_zip(tmp_path / "a.pth", attack))


@pytest.fixture
def pickled(tmp_path):
    """The pickle of a state dict with one tensor of 2 x 3."""
    write_torch_file(tmp_path / "good.pth", {"w": stored(np.ones((2, 3), np.float32))})
    with zipfile.ZipFile(tmp_path / "good.pth") as archive:
        return archive.read("archive/data.pkl")


def test_a_tensor_that_is_larger_than_its_storage_is_refused(tmp_path, pickled):
    # The first row count of the shape: 2 becomes 9.
    grown = pickled.replace(b"(J\x02\x00\x00\x00J\x03", b"(J\x09\x00\x00\x00J\x03")
    assert grown != pickled
    bad = write_zip(tmp_path / "bad.pth", grown, k0=b"\0" * 24)
    assert "larger than its storage" in refusal(bad)


def test_a_tensor_that_ends_after_its_storage_is_refused(tmp_path, pickled):
    # The row stride: 3 becomes 9.
    spread = pickled.replace(b"(J\x03\x00\x00\x00J\x01", b"(J\x09\x00\x00\x00J\x01")
    assert spread != pickled
    bad = write_zip(tmp_path / "bad.pth", spread, k0=b"\0" * 24)
    assert "ends after its storage" in refusal(bad)


def test_a_view_that_would_fill_the_memory_is_refused(tmp_path, pickled):
    huge = pickled.replace(
        b"(J\x02\x00\x00\x00J\x03\x00\x00\x00t", b"(J\xff\xff\xff\x7fJ\xff\xff\xff\x7ft"
    )
    huge = huge.replace(b"(J\x03\x00\x00\x00J\x01\x00\x00\x00t", b"(J\0\0\0\0J\0\0\0\0t")
    assert huge != pickled
    bad = write_zip(tmp_path / "bad.pth", huge, k0=b"\0" * 24)
    assert "larger than its storage" in refusal(bad)


def test_two_pickles_in_an_archive_are_refused(tmp_path, pickled):
    path = write_zip(tmp_path / "two.pth", pickled, k0=b"\0" * 24)
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("other/data.pkl", pickled)
    assert "it has 2 data.pkl" in refusal(path)


@pytest.mark.parametrize("storage", ["HalfStorage", "BFloat16Storage", "DoubleStorage"])
def test_floating_point_of_any_width_is_read_as_float32(tmp_path, pickled, storage):
    dtypes = {"HalfStorage": "<f2", "BFloat16Storage": tf.bfloat16.as_numpy_dtype}
    values = np.float64([[1, 2.5, -3], [0.125, 5, 6]]).astype(dtypes.get(storage, "<f8"))
    data = pickled.replace(b"FloatStorage", storage.encode())
    path = write_zip(tmp_path / "x.pth", data, k0=values.tobytes())
    read = read_torch_file(path)["w"].read()
    assert read.dtype == np.float32
    np.testing.assert_array_equal(read, values.astype(np.float32))


@pytest.fixture(scope="module", params=["zip", "legacy"])
def small(request, tmp_path_factory):
    """The bytes of a small checkpoint, and a path at which tests write changed ones."""
    path = tmp_path_factory.mktemp("small") / "x.pth"
    arrays = [np.ones((2, 3), np.float32), np.ones(4, np.float32)]
    write_torch_file(path, {f"w{i}": stored(array) for i, array in enumerate(arrays)})
    if request.param == "zip":
        return path.read_bytes(), path
    with zipfile.ZipFile(path) as archive:
        state = archive.read("archive/data.pkl")
    before = [pickle.dumps(value, 2) for value in (LEGACY_MAGIC, LEGACY_VERSION, {})]
    storages = [struct.pack("<q", array.size) + array.tobytes() for array in arrays]
    return b"".join([*before, state, pickle.dumps(["0", "1"], 2), *storages]), path


def test_a_small_file_is_read(small):
    content, path = small
    path.write_bytes(content)
    tensors = read_torch_file(path)
    np.testing.assert_array_equal(tensors["w0"].read(), np.ones((2, 3)))
    np.testing.assert_array_equal(tensors["w1"].read(), np.ones(4))


def test_a_file_cut_anywhere_is_refused_with_one_line(small):
    content, path = small
    for length in [*range(0, len(content), 3), len(content) - 1]:
        path.write_bytes(content[:length])
        refusal(path)


@hypothesis.given(st.data())
@hypothesis.settings(max_examples=200, derandomize=True)
def test_changed_bytes_only_change_numbers_or_are_refused(small, data):
    content, path = bytearray(small[0]), small[1]
    for position in data.draw(st.lists(st.integers(0, len(content) - 1), min_size=1, max_size=4)):
        content[position] = data.draw(st.integers(0, 255))
    path.write_bytes(content)
    try:
        for tensor in read_torch_file(path).values():
            assert tensor.read().shape == tensor.shape
    except InputError as error:
        assert "\n" not in str(error)


def test_files_that_are_not_checkpoints_are_refused(tmp_path):
    path = tmp_path / "x.pth"
    for content in (b"", b"hello", b"\x80\x02K\x01.", b"PK\x03\x04", pickle.dumps([1, 2])):
        path.write_bytes(content)
        refusal(path)
    refusal(tmp_path / "missing.pth")
    refusal(tmp_path)


def test_the_same_weights_are_written_as_the_same_bytes(tmp_path):
    values = {"b": np.arange(6, dtype=np.float32).reshape(3, 2).T, "a": np.float32([7])}
    originals = {name: stored(value) for name, value in values.items()}
    write_torch_file(tmp_path / "1.pth", originals, {"copy": "b"})
    write_torch_file(tmp_path / "2.pth", dict(reversed(originals.items())), {"copy": "b"})
    assert (tmp_path / "1.pth").read_bytes() == (tmp_path / "2.pth").read_bytes()
    tensors = read_torch_file(tmp_path / "1.pth")
    assert set(tensors) == {"a", "b", "copy"}
    np.testing.assert_array_equal(tensors["copy"].read(), values["b"])
