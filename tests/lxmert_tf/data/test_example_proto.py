"""Our bytes of tf.Example are those of TensorFlow, and its bytes are read, or refused."""

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from lxmert_tf.data.example_proto import (
    Feature,
    decode_example,
    encode_example,
    replace_features,
)

# Values at which the number of bytes of a varint changes, too.
INTEGERS = st.integers(-(2**63), 2**63 - 1) | st.sampled_from([0, 127, 128, 4095, 4096, 2**35])
VALUES = {
    "bytes": st.binary(max_size=200),
    "float": st.floats(width=32, allow_nan=False),
    "int64": INTEGERS,
}
FEATURE = st.one_of(
    [st.builds(Feature, st.just(kind), st.lists(v, max_size=5)) for kind, v in VALUES.items()]
)
# Of one number of bytes, because protobuf's versions differ in whether a name comes before longer
# ones that begin with it.
NAMES = st.text(st.characters(max_codepoint=0x7F), min_size=3, max_size=3) | st.text(
    st.characters(min_codepoint=0x800, max_codepoint=0x2FFF), min_size=1, max_size=1
)
FEATURES = st.dictionaries(NAMES, FEATURE, min_size=1, max_size=4)


def theirs(features) -> tf.train.Example:
    example = tf.train.Example()
    for name, (kind, values) in features.items():
        getattr(example.features.feature[name], f"{kind}_list").value.extend(values)
    return example


@settings(max_examples=40, derandomize=True)
@given(FEATURES, FEATURES)
def test_bytes_are_those_of_tensorflow_and_come_back(features, others):
    ours = encode_example(features)
    assert ours == theirs(features).SerializeToString(deterministic=True)
    assert decode_example(ours) == features
    changed = {**features, **others}
    assert replace_features(ours, others) == encode_example(changed)


def test_arrays_are_written_as_lists():
    numbers, sizes = np.array([0.5, -1e-40, 3e38]), np.array([3, -1])
    as_arrays = {"a": Feature("float", numbers), "b": Feature("int64", sizes)}
    as_lists = {"a": Feature("float", numbers.tolist()), "b": Feature("int64", [3, -1])}
    assert encode_example(as_arrays) == encode_example(as_lists)


def test_what_other_writers_do_is_read():
    # Numbers that are not packed, a feature without a list, and a field that is not known.
    numbers = b"\x1a\x04\x08\x05\x08\x07"
    entry = b"\x0a\x01n\x12" + bytes([len(numbers)]) + numbers
    features = b"\x0a" + bytes([len(entry)]) + entry + b"\x0a\x03\x0a\x01e" + b"\x18\x01"
    serialized = b"\x0a" + bytes([len(features)]) + features
    feature = tf.train.Example.FromString(serialized).features.feature["n"]
    assert list(feature.int64_list.value) == [5, 7]
    assert decode_example(serialized) == {"n": Feature("int64", [5, 7])}


@pytest.mark.parametrize("serialized", [b"\x0a\x05abc", b"\xff", b"\x0b", b"\x0a\x02\x0a\x7f"])
def test_bytes_that_are_no_example_are_refused(serialized):
    with pytest.raises(ValueError, match=r"cut short|wire type"):
        decode_example(serialized)
