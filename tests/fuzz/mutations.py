"""Damage to a file, as a bad disk or an attacker does it."""

import random
import re
import struct
from collections.abc import Callable

_BYTES = (0x00, 0x01, 0x7F, 0x80, 0xFE, 0xFF)
_NUMBERS = (0, 1, 0x7F, 0xFF, 0x7FFF, 0xFFFF, 1 << 20, 0x7FFFFFFF, 0xFFFFFFFF, 1 << 40, 2**63 - 1)
_DIGITS = re.compile(rb"[0-9]+")
# Texts that mean something to one format or another.
_TEXTS = (
    *(b"\0", b"\n", b"\r", b"\t", b'"', b"'", b"\\", b"/", b"../", b"[", b"{", b"}", b"]", b"<"),
    *(b"null", b"NaN", b"1e999", b"-1", b"&a", b"*a", b"<<: *a", b"!!binary", b"\\ud800"),
    *(b"PK\x03\x04", b"\xff\xda", b"\x89HDF", b"\x80\x04", b"\x85", b"R", b"."),
)


def mutate(content: bytes, seed: str) -> bytes:
    """Return the content with one to four kinds of damage; the same seed gives the same.

    Args:
        content: A valid file.
        seed: Any text.
    """
    rng = random.Random(seed)
    mutated = bytearray(content)
    for _ in range(rng.choice((1, 1, 2, 4))):
        if mutated:
            rng.choice(_KINDS)(mutated, rng)
    return bytes(mutated)


def _flip(data: bytearray, rng: random.Random) -> None:
    for _ in range(rng.choice((1, 1, 1, 3, 8))):
        data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)


def _set(data: bytearray, rng: random.Random) -> None:
    start = rng.randrange(len(data))
    length = min(rng.choice((1, 1, 2, 4, 16)), len(data) - start)
    data[start : start + length] = bytes([rng.choice(_BYTES)]) * length


def _cut(data: bytearray, rng: random.Random) -> None:
    del data[rng.randrange(len(data)) :]


def _number(data: bytearray, rng: random.Random) -> None:
    """Write a length or an offset, near its old value or far away."""
    form = rng.choice("BHIQ")
    size = struct.calcsize(form)
    if len(data) < size:
        return
    start = rng.randrange(len(data) - size + 1)
    order = rng.choice("<>")
    [old] = struct.unpack_from(order + form, data, start)
    value = rng.choice((*_NUMBERS, old + 1, old - 1, old * 2, old ^ 1 << rng.randrange(8 * size)))
    struct.pack_into(order + form, data, start, value % (1 << 8 * size))


def _digits(data: bytearray, rng: random.Random) -> None:
    """Write a number of a text."""
    found = list(_DIGITS.finditer(bytes(data)))
    if found:
        match = rng.choice(found)
        value = rng.choice((*_NUMBERS, int(match[0][:18]) + 1, 10**400))
        data[match.start() : match.end()] = b"%d" % value


def _delete(data: bytearray, rng: random.Random) -> None:
    start, stop = _range(data, rng)
    del data[start:stop]


def _repeat(data: bytearray, rng: random.Random) -> None:
    start, stop = _range(data, rng)
    data[start:start] = data[start:stop] * rng.choice((1, 1, 2, 20))


def _splice(data: bytearray, rng: random.Random) -> None:
    """Copy one part of the file over another."""
    start, stop = _range(data, rng)
    target = rng.randrange(len(data))
    data[target : target + stop - start] = data[start:stop]


def _insert(data: bytearray, rng: random.Random) -> None:
    start = rng.randrange(len(data) + 1)
    data[start:start] = rng.choice(_TEXTS) * rng.choice((1, 1, 1, 10, 1000))


def _noise(data: bytearray, rng: random.Random) -> None:
    start, stop = _range(data, rng)
    data[start:stop] = rng.randbytes(stop - start)


def _range(data: bytearray, rng: random.Random) -> tuple[int, int]:
    start = rng.randrange(len(data))
    return start, start + rng.choice((1, 2, 4, 8, 16, 64, len(data) // 4 + 1))


_KINDS: tuple[Callable[[bytearray, random.Random], None], ...] = (
    *(_flip, _flip, _set, _cut, _number, _number, _digits),
    *(_delete, _repeat, _splice, _insert, _noise),
)
