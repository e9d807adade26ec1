"""PyTorch files: the three forms that LXMERT comes in, and files that mean harm."""

import os
import pickle
import zipfile

import numpy as np
import pytest

from lxmert_tf.converters.formats.torch_reading import read_torch_file
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


def refusal(path) -> str:
    with pytest.raises(InputError) as caught:
        for tensor in read_torch_file(path).values():
            tensor.read()
    message = str(caught.value)
    assert "\n" not in message
    assert str(path) in message
    return message


class RunsCommand:
    """Pickles as a call of os.system."""

    def __init__(self, command):
        self.command = command

    def __reduce__(self):
        return os.system, (self.command,)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("size", ["small", "small_region_mask"])
def test_every_form_gives_the_reference_weights(form, size):
    from safetensors.numpy import load_file

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
    # Protocols 0 and 1 need an operation that no state dict has, before the call.
    assert "posix.system" in message or "refused" in message


def test_calling_a_method_of_what_was_rebuilt_is_refused(tmp_path):
    # GLOBAL collections.OrderedDict, then an attribute of it, called.
    attack = b"\x80\x04ccollections\nOrderedDict.fromkeys\n(X\x01\x00\x00\x00atR."
    assert "collections.OrderedDict.fromkeys" in refusal(write_zip(tmp_path / "a.pth", attack))


def test_a_name_that_is_no_function_cannot_be_called(tmp_path):
    attack = b"\x80\x02ctorch\nFloatStorage\n)R."
    assert "refused" in refusal(write_zip(tmp_path / "a.pth", attack))


def test_a_tensor_that_reaches_behind_its_storage_is_refused(tmp_path):
    good = tmp_path / "good.pth"
    write_torch_file(good, {"w": (2, 3)}, lambda name: np.ones((2, 3), np.float32), {})
    with zipfile.ZipFile(good) as archive:
        data = archive.read("archive/data.pkl")
    # The first row count of the shape: 2 becomes 9.
    grown = data.replace(b"(J\x02\x00\x00\x00J\x03", b"(J\x09\x00\x00\x00J\x03")
    assert grown != data
    assert "larger than its storage" in refusal(
        write_zip(tmp_path / "bad.pth", grown, k0=b"\0" * 24)
    )


def test_a_view_that_would_blow_up_memory_is_refused(tmp_path):
    good = tmp_path / "good.pth"
    write_torch_file(good, {"w": (2, 3)}, lambda name: np.ones((2, 3), np.float32), {})
    with zipfile.ZipFile(good) as archive:
        data = archive.read("archive/data.pkl")
    huge = data.replace(
        b"(J\x02\x00\x00\x00J\x03\x00\x00\x00t", b"(J\xff\xff\xff\x7fJ\xff\xff\xff\x7ft"
    )
    huge = huge.replace(b"(J\x03\x00\x00\x00J\x01\x00\x00\x00t", b"(J\0\0\0\0J\0\0\0\0t")
    assert huge != data
    assert "larger than its storage" in refusal(
        write_zip(tmp_path / "bad.pth", huge, k0=b"\0" * 24)
    )


@pytest.mark.parametrize("form", FORMS)
def test_a_file_cut_anywhere_is_refused_with_one_line(tmp_path, form):
    whole = (golden.golden_directory("small_region_mask") / form).read_bytes()
    path = tmp_path / "cut.pth"
    # Every length near the start, where the pickles of the legacy form lie, then samples.
    for length in [*range(0, 400, 7), *range(400, len(whole) - 1, 9973), len(whole) - 1]:
        path.write_bytes(whole[:length])
        refusal(path)


@pytest.mark.parametrize("form", FORMS[:2])
def test_flipped_bytes_never_do_more_than_change_numbers_or_be_refused(tmp_path, form):
    whole = (golden.golden_directory("small_region_mask") / form).read_bytes()
    path = tmp_path / "flipped.pth"
    random = np.random.default_rng(0)
    for position in random.integers(0, 20_000, 150):
        flipped = bytearray(whole)
        flipped[position] ^= 1 << int(random.integers(8))
        path.write_bytes(flipped)
        try:
            for tensor in read_torch_file(path).values():
                tensor.read()
        except InputError as error:
            assert "\n" not in str(error)


def test_files_that_are_no_checkpoints_are_refused(tmp_path):
    path = tmp_path / "x.pth"
    for content in (b"", b"hello", b"\x80\x02K\x01.", b"PK\x03\x04", pickle.dumps([1, 2])):
        path.write_bytes(content)
        refusal(path)
    refusal(tmp_path / "missing.pth")
    refusal(tmp_path)


def test_the_same_weights_are_written_as_the_same_bytes(tmp_path):
    values = {"b": np.arange(6, dtype=np.float32).reshape(2, 3), "a": np.float32([7])}
    shapes = {name: value.shape for name, value in values.items()}
    write_torch_file(tmp_path / "1.pth", shapes, values.__getitem__, {"copy": "b"})
    write_torch_file(
        tmp_path / "2.pth", dict(reversed(shapes.items())), values.__getitem__, {"copy": "b"}
    )
    assert (tmp_path / "1.pth").read_bytes() == (tmp_path / "2.pth").read_bytes()
    tensors = read_torch_file(tmp_path / "1.pth")
    assert set(tensors) == {"a", "b", "copy"}
    np.testing.assert_array_equal(tensors["copy"].read(), values["b"])
