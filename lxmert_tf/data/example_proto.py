"""The bytes of tf.Example, written and read without TensorFlow.

Importing TensorFlow takes seconds and hundreds of megabytes in each worker of an ingestion, which
needs nothing else of it. The format is that of protobuf (tensorflow/core/example/example.proto and
feature.proto): a field is a varint with its number and wire type, and then its content, which for
most fields is bytes after their length.
"""

import struct
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np

Values = Sequence | np.ndarray
Part = bytes | memoryview

# The wire type of fields with a length. The only others in the format are numbers that some writers
# do not pack: varints, and floats of 32 bits.
_VARINT, _BYTES, _FLOAT = 0, 2, 5
# Tags of fields 1 and 2 with a length. Field 1 is `Example.features`, `Features.feature`, the key
# of an entry, and `value` of the lists; field 2 is the value of an entry.
_FIELD_1, _FIELD_2 = 1 << 3 | _BYTES, 2 << 3 | _BYTES
_TAG_1, _TAG_2 = bytes([_FIELD_1]), bytes([_FIELD_2])
# Field numbers of the lists in a `Feature`.
_LISTS = {"bytes": 1, "float": 2, "int64": 3}
_LIST_TAGS = {kind: bytes([number << 3 | _BYTES]) for kind, number in _LISTS.items()}


class Feature(NamedTuple):
    """The values of a feature.

    Args:
        kind: "bytes", "float", or "int64".
        values: Bytes, floats (written as float32), or integers.
    """

    kind: str
    values: Values


def encode_example(features: Mapping[str, Feature]) -> bytes:
    """Serialize an Example; gives the bytes of `SerializeToString(deterministic=True)`.

    Args:
        features: The features by name.
    """
    return _joined(_entry(name, feature) for name, feature in sorted(features.items()))


def replace_features(serialized: bytes, features: Mapping[str, Feature]) -> bytes:
    """Replace or add features of a serialized Example without decoding the others.

    Args:
        serialized: From `encode_example`.
        features: The new features by name.

    Raises:
        ValueError: The bytes are no Example.
    """
    entries: dict[str, list[Part]] = {}
    for entry in _entries(memoryview(serialized)):
        entries[_name(entry)] = [_TAG_1, _varint(len(entry)), entry]
    for name, feature in features.items():
        entries[name] = _entry(name, feature)
    return _joined(entries[name] for name in sorted(entries))


def decode_example(serialized: bytes) -> dict[str, Feature]:
    """Parse a serialized Example.

    Args:
        serialized: The bytes; of any writer.

    Returns:
        The features by name, with lists of values. A feature without a list is left out.

    Raises:
        ValueError: The bytes are no Example.
    """
    features = {}
    for entry in _entries(memoryview(serialized)):
        name, value = _name_and_value(entry)
        feature = _decode_feature(value)
        if feature is not None:
            features[name] = feature
    return features


def _joined(entries: Iterable[list[Part]]) -> bytes:
    parts = [part for entry in entries for part in entry]
    size = sum(map(len, parts))
    return b"".join([_TAG_1, _varint(size), *parts])


def _entry(name: str, feature: Feature) -> list[Part]:
    """Return the parts of an entry of the map, with its tag."""
    values = _encode_values(feature)
    # From the innermost message outwards, because each gives the length of what it holds.
    size = sum(map(len, values))
    before = _LIST_TAGS[feature.kind] + _varint(size)
    key = name.encode()
    before = _TAG_1 + _varint(len(key)) + key + _TAG_2 + _varint(len(before) + size) + before
    return [_TAG_1 + _varint(len(before) + size) + before, *values]


def _encode_values(feature: Feature) -> list[Part]:
    if feature.kind == "bytes":
        return [part for value in feature.values for part in (_TAG_1 + _varint(len(value)), value)]
    if not len(feature.values):
        return []
    if feature.kind == "float":
        packed = np.asarray(feature.values, "<f4").tobytes()
    else:
        values = feature.values
        values = values.tolist() if isinstance(values, np.ndarray) else values
        packed = b"".join(map(_varint, values))
    return [_TAG_1 + _varint(len(packed)), packed]


def _long_varint(value: int) -> bytes:
    # Negative numbers are those of 64 bits.
    value = int(value) & (1 << 64) - 1
    digits = bytearray()
    while value > 0x7F:
        digits.append(value & 0x7F | 0x80)
        value >>= 7
    digits.append(value)
    return bytes(digits)


_SHORT_VARINTS = [_long_varint(value) for value in range(1 << 12)]


def _varint(value: int) -> bytes:
    return _SHORT_VARINTS[value] if 0 <= value < len(_SHORT_VARINTS) else _long_varint(value)


def _entries(data: memoryview) -> Iterator[memoryview]:
    for _, features in _fields(data, {_FIELD_1}):
        for _, entry in _fields(features, {_FIELD_1}):
            yield entry


def _name(entry: memoryview) -> str:
    # The first field; what follows need not be looked at.
    return next((str(name, "utf-8") for _, name in _fields(entry, {_FIELD_1})), "")


def _name_and_value(entry: memoryview) -> tuple[str, memoryview]:
    parts = dict(_fields(entry, {_FIELD_1, _FIELD_2}))
    return str(parts.get(_FIELD_1, b""), "utf-8"), parts.get(_FIELD_2, memoryview(b""))


def _decode_feature(value: memoryview) -> Feature | None:
    feature = None
    kinds = {number << 3 | _BYTES: kind for kind, number in _LISTS.items()}
    for tag, content in _fields(value, kinds):
        feature = Feature(kinds[tag], _DECODERS[kinds[tag]](content))
    return feature


def _decode_bytes(content: memoryview) -> list[bytes]:
    return [bytes(value) for _, value in _fields(content, {_FIELD_1})]


def _decode_floats(content: memoryview) -> list[float]:
    values: list[float] = []
    for _, data in _fields(content, {_FIELD_1, 1 << 3 | _FLOAT}):
        values += np.frombuffer(data, "<f4").tolist()
    return values


def _decode_integers(content: memoryview) -> list[int]:
    values: list[int] = []
    for _, data in _fields(content, {_FIELD_1, 1 << 3 | _VARINT}):
        position = 0
        while position < len(data):
            value, position = _read_varint(data, position)
            values.append(value - (1 << 64) if value >> 63 else value)
    return values


_DECODERS: dict[str, Callable[[memoryview], list]] = {
    "bytes": _decode_bytes,
    "float": _decode_floats,
    "int64": _decode_integers,
}


def _fields(data: memoryview, known: Iterable[int]) -> Iterator[tuple[int, memoryview]]:
    """Yield (tag, content) of the known fields of a message.

    Raises:
        ValueError: The bytes are no message.
    """
    position = 0
    while position < len(data):
        tag, position = _read_varint(data, position)
        start, stop = _content(data, position, tag & 7)
        if stop > len(data):
            raise ValueError("the bytes are cut short")
        if tag in known:
            yield tag, data[start:stop]
        position = stop


def _content(data: memoryview, position: int, wire_type: int) -> tuple[int, int]:
    """Return the start and the end of a field's content."""
    if wire_type == _BYTES:
        length, position = _read_varint(data, position)
        return position, position + length
    if wire_type == _VARINT:
        return position, _read_varint(data, position)[1]
    if wire_type == _FLOAT:
        return position, position + struct.calcsize("<f")
    raise ValueError(f"unknown wire type {wire_type}")


def _read_varint(data: memoryview, position: int) -> tuple[int, int]:
    """Return a varint and the position after it."""
    if position < len(data) and data[position] < 0x80:
        return data[position], position + 1
    value = shift = 0
    while position < len(data) and shift < 70:
        byte = data[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value & (1 << 64) - 1, position
        shift += 7
    raise ValueError("the bytes are cut short")
