import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from pipeline.ingest.checks.region_checks import RegionError
from pipeline.ingest.parsers.numpy_pickle import load_numpy_pickle
from tests.pipeline.ingest.foreign_pickles import Command, by_numpy_2, by_python_2

VALUE = {
    "features": np.arange(12, dtype=np.float32).reshape(3, 4),
    "fortran": np.asfortranarray(np.arange(6, dtype=np.int64).reshape(2, 3)),
    "big endian": np.arange(3, dtype=">f4"),
    "half": np.arange(300, dtype=np.float16),
    "scalar": np.float32(0.5),
    "whole": np.int64(7),
    "text": np.array(["a", "bc"]),
    "empty": np.zeros([0, 4], np.float32),
    "plain": [1, -(2**40), 0.25, True, None, (1, 2)],
}


def same(found, expected):
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        if isinstance(value, np.ndarray | np.generic):
            np.testing.assert_array_equal(found[name], value)
            assert found[name].dtype.newbyteorder("=") == value.dtype.newbyteorder("=")
        else:
            assert found[name] == value


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_reads_every_protocol(protocol):
    same(load_numpy_pickle(pickle.dumps(VALUE, protocol)), VALUE)


def test_reads_what_numpy_2_wrote():
    data = by_numpy_2(VALUE)
    assert b"numpy._core" in data and b"numpy.core" not in data
    same(load_numpy_pickle(data), VALUE)


def test_reads_what_python_2_wrote():
    value = {name: part for name, part in VALUE.items() if name != "text"}
    data = by_python_2({**value, "feature_path": "COCO_1", "name": b"caf\xe9"})
    same(load_numpy_pickle(data), {**value, "feature_path": "COCO_1", "name": "caf\xe9"})


def test_reads_a_saved_dict_in_an_array():
    saved = load_numpy_pickle(pickle.dumps(np.array(VALUE, dtype=object), 3))
    same(saved.item(), VALUE)


@pytest.mark.parametrize("protocol", [2, 4])
def test_executes_nothing(tmp_path, protocol):
    data = pickle.dumps({"features": Command(tmp_path / "made")}, protocol)
    with pytest.raises(RegionError, match=r"refused: the file asks for posix\.mkdir"):
        load_numpy_pickle(data)
    assert not (tmp_path / "made").exists()


class _Other:
    pass


class _Kind(np.ndarray):
    pass


@pytest.mark.parametrize(
    "value",
    [
        _Other(),
        np.zeros(2, [("a", "f4")]),
        np.datetime64("2020-01-01"),
        np.zeros(3).view(_Kind),
        slice(1),
        {1, 2},
    ],
)
def test_calls_other_than_numpys_are_refused_by_name(value):
    with pytest.raises(RegionError, match="refused: "):
        load_numpy_pickle(pickle.dumps(value, 4))


def test_a_refused_name_stays_one_short_line():
    hostile = b"\x80\x04\x8c\x05a\nb\rc" + b"\x8d" + (5000).to_bytes(8, "little") + b"x" * 5000
    with pytest.raises(RegionError) as caught:
        load_numpy_pickle(hostile + b"\x93.")
    assert len(str(caught.value)) <= 200 and len(str(caught.value).splitlines()) == 1


def test_values_that_do_not_fit_their_shape_are_damage():
    data = pickle.dumps(np.arange(4, dtype=np.float32), 2)
    for shape in (b"K\x05", b"K\x03", b"J\xfc\xff\xff\xff"):
        with pytest.raises(RegionError, match="damaged"):
            load_numpy_pickle(data.replace(b"K\x04", shape))


@given(st.data())
def test_damage_is_a_fault(data):
    whole = pickle.dumps(VALUE, data.draw(st.sampled_from([2, 4, 5])))
    place = data.draw(st.integers(0, len(whole) - 1))
    if data.draw(st.booleans()):
        broken = whole[:place]
    else:
        broken = whole[:place] + data.draw(st.binary(min_size=1, max_size=4)) + whole[place + 1 :]
    try:
        load_numpy_pickle(broken)
    except RegionError as error:
        assert len(str(error).splitlines()) == 1


@given(
    npst.arrays(
        npst.floating_dtypes(sizes=(16, 32, 64)) | npst.integer_dtypes(),
        npst.array_shapes(min_dims=0, min_side=0, max_side=4),
    ),
    st.integers(2, 5),
)
def test_any_array_of_numbers_comes_back(array, protocol):
    found = load_numpy_pickle(pickle.dumps(array, protocol))
    # NumPy swaps bytes while it reads some protocols.
    assert found.dtype.newbyteorder("=") == array.dtype.newbyteorder("=")
    assert found.shape == array.shape
    np.testing.assert_array_equal(found, array)
