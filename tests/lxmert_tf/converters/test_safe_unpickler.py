"""Pickles that ask for more time, memory or stack than a file of their size may."""

import io
import pickle
import struct

import numpy as np
import pytest

from lxmert_tf.converters.formats import safe_unpickler
from lxmert_tf.converters.formats.numpy_pickle import read_numpy_pickle
from lxmert_tf.converters.formats.torch_reading import (
    LEGACY_MAGIC,
    LEGACY_VERSION,
    read_torch_file,
)
from lxmert_tf.errors import InputError
from tests.lxmert_tf.samples import one_line


def load(data: bytes):
    return read_numpy_pickle(io.BytesIO(data), len(data))


def refusal(data: bytes) -> str:
    with pytest.raises(InputError) as caught:
        load(data)
    return one_line(caught)


# An empty tuple in a tuple, and so on. At 500,000 its hash overflows the stack, which ends the
# process.
DEEP = b")" + b"\x85" * 1000


@pytest.mark.parametrize(
    "data",
    [
        b"\x80\x02}" + DEEP + b"Ns.",
        b"\x80\x02}(" + DEEP + b"Nu.",
        b"\x80\x02(" + DEEP + b"Nd.",
        b"\x80\x02ccollections\nOrderedDict\n]]" + DEEP + b"aNaa\x85R.",
    ],
    ids=["SETITEM", "SETITEMS", "DICT", "OrderedDict"],
)
def test_a_key_that_nests_deeply_is_refused(data):
    assert "a tuple as key of a dict" in refusal(data)


def test_a_name_that_nests_deeply_is_damage():
    assert "expected a str, found a tuple" in refusal(b"\x80\x04" + DEEP + DEEP + b"\x93.")


def test_keys_of_storages_are_texts(tmp_path):
    parts = [pickle.dumps(part, 2) for part in (LEGACY_MAGIC, LEGACY_VERSION, {}, {})]
    path = tmp_path / "a.pth"
    path.write_bytes(b"".join(parts) + b"\x80\x02]" + DEEP + b"a." + bytes(8))
    with pytest.raises(InputError, match="the key of a storage is not a string"):
        read_torch_file(path)


def test_a_version_that_is_a_tree_is_shown_in_short(tmp_path):
    # Each list holds the one before twice, so that the text of the last has 2**40 parts.
    tree = b"\x80\x02]q\x00" + b"".join(
        b"](h%ch%ceq%c" % (level, level, level + 1) for level in range(40)
    )
    path = tmp_path / "a.pth"
    path.write_bytes(pickle.dumps(LEGACY_MAGIC, 2) + tree + b".")
    with pytest.raises(InputError) as caught:
        read_torch_file(path)
    assert "unknown PyTorch format [" in one_line(caught) and len(str(caught.value)) < 3000


def test_integers_whose_hashes_are_equal_are_no_keys():
    prime = (1 << 61) - 1
    keys = [struct.pack("<BBq", 0x8A, 8, prime * n) + b"N" for n in range(1, 4)]
    assert list(load(b"\x80\x02}(" + b"".join(keys) + b"u.")) == [prime, 2 * prime, 3 * prime]
    long = pickle.dumps(prime * 1000, 2)[2:-1]
    assert "a int as key" in refusal(b"\x80\x02}(" + long + b"Nu.")
    assert "damaged" in refusal(b"N" + b"p%d\n." % (prime * 1000))


def test_a_pickle_of_very_many_objects_is_refused(monkeypatch):
    monkeypatch.setattr(safe_unpickler, "_MOST_OPCODES", 1000)
    assert load(b"\x80\x02](" + b"}" * 900 + b"e.") == [{}] * 900
    assert "more than 1,000 opcodes" in refusal(b"\x80\x02](" + b"}" * 1100 + b"e.")


def test_a_name_cannot_write_to_the_terminal():
    message = refusal(b"\x80\x04" + b"\x8c\x06a\x1b[2J\n" + b"\x8c\x01b" + b"\x93.")
    assert message.isprintable()


class Reduced:
    """Something that pickles as a call, and perhaps a state."""

    def __init__(self, *reduced):
        self._reduced = reduced

    def __reduce__(self):
        return self._reduced


@pytest.mark.parametrize("shape", [(0, 1 << 70), (0, 1 << 62, 1 << 62), (0,) * 100])
@pytest.mark.parametrize("protocol", [2, 5])
def test_an_empty_array_of_any_other_sides_is_damage(shape, protocol):
    function, arguments, *state = np.zeros([2, 3], np.float32).__reduce_ex__(protocol)
    if state:
        reduced = Reduced(function, arguments, (1, shape, np.dtype("<f4"), False, b""))
    else:
        reduced = Reduced(function, (b"", np.dtype("<f4"), shape, "C"))
    assert "damaged" in refusal(pickle.dumps(reduced, protocol))
