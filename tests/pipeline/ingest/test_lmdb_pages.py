"""LMDB's pages are read as the library reads them, and no number in them is trusted."""

import io
import random
import struct

import lmdb
import pytest

from pipeline.ingest.parsers.lmdb_pages import LmdbError, LmdbFile

PAGE = 4096


def written(folder, values: dict[bytes, bytes], removed=()) -> bytes:
    with lmdb.open(str(folder), map_size=1 << 26) as database:
        with database.begin(write=True) as transaction:
            for key, value in values.items():
                transaction.put(key, value)
        # A second transaction leaves free pages behind.
        with database.begin(write=True) as transaction:
            for key in removed:
                transaction.delete(key)
    return (folder / "data.mdb").read_bytes()


def opened(data: bytes) -> LmdbFile:
    return LmdbFile(io.BytesIO(data), len(data))


def read(data: bytes) -> dict[bytes, bytes]:
    database = opened(data)
    return {entry.key: database.value(entry) for entry in database.entries()}


def some(count: int) -> dict[bytes, bytes]:
    rng = random.Random(0)
    sizes = (0, 1, 100, 1000, 2000, 5000, 20_000)
    return {b"%d-" % rng.randrange(10**9): rng.randbytes(rng.choice(sizes)) for _ in range(count)}


@pytest.mark.parametrize("count", [0, 1, 5, 300])
def test_reads_what_the_library_wrote_in_its_order(tmp_path, count):
    values = some(count)
    removed = list(values)[1::3]
    data = written(tmp_path, values, removed)
    left = {key: value for key, value in values.items() if key not in removed}
    found = read(data)
    assert found == left and list(found) == sorted(left)
    assert opened(data).count == len(left)


def test_a_tree_of_several_levels_is_read(tmp_path):
    values = {b"%0500d" % number: b"x" for number in range(400)}
    assert list(read(written(tmp_path, values))) == list(values)


@pytest.fixture
def data(tmp_path) -> bytearray:
    return bytearray(written(tmp_path, some(60)))


def pages_of_kind(data: bytes, kind: int) -> list[int]:
    kinds = [struct.unpack_from("<H", data, start + 10)[0] for start in range(0, len(data), PAGE)]
    return [number for number, found in enumerate(kinds) if found == kind]


def damaged(data: bytes, match: str) -> None:
    with pytest.raises(LmdbError, match=match):
        read(bytes(data))


def first_node(data: bytes, page: int, is_big: bool = False) -> int:
    """Return where a node of a leaf begins."""
    [lower] = struct.unpack_from("<H", data, page * PAGE + 12)
    for i in range((lower - 16) // 2):
        node = page * PAGE + struct.unpack_from("<H", data, page * PAGE + 16 + 2 * i)[0]
        if struct.unpack_from("<H", data, node + 4)[0] == is_big:
            return node
    raise AssertionError("there is no such node")


# The library ends the process with SIGSEGV or SIGBUS for most of these.
def test_a_value_that_leaves_its_page_is_refused(data):
    leaf = pages_of_kind(data, 2)[0]
    struct.pack_into("<H", data, first_node(data, leaf) + 2, 0x7FFF)
    damaged(data, "wrong length")


def test_a_key_that_leaves_its_page_is_refused(data):
    leaf = pages_of_kind(data, 2)[0]
    struct.pack_into("<H", data, first_node(data, leaf) + 6, 0xFFFF)
    damaged(data, "wrong length")


def test_a_node_outside_of_its_page_is_refused(data):
    leaf = pages_of_kind(data, 2)[0]
    struct.pack_into("<H", data, leaf * PAGE + 16, PAGE - 4)
    damaged(data, "outside")


def test_a_page_with_more_nodes_than_fit_is_refused(data):
    leaf = pages_of_kind(data, 2)[0]
    struct.pack_into("<H", data, leaf * PAGE + 12, 0xFFF0)
    damaged(data, "is damaged")


def test_a_long_value_behind_the_end_or_in_other_pages_is_refused(data):
    leaf = next(page for page in pages_of_kind(data, 2) if _has_big(data, page))
    node = first_node(data, leaf, is_big=True)
    [key_size] = struct.unpack_from("<H", data, node + 6)
    valid = bytes(data)
    for number, match in ((1 << 40, "behind the end"), (leaf, "not that of a value")):
        struct.pack_into("<Q", data, node + 8 + key_size, number)
        damaged(data, match)
    data[:] = valid
    struct.pack_into("<H", data, node + 2, 1)
    damaged(data, "longer than its pages|behind the end|overlap")


def _has_big(data: bytes, page: int) -> bool:
    try:
        return bool(first_node(data, page, is_big=True))
    except AssertionError:
        return False


def test_pages_that_are_no_tree_are_refused(data):
    branch = pages_of_kind(data, 1)[0]
    [offset] = struct.unpack_from("<H", data, branch * PAGE + 18)
    node = branch * PAGE + offset
    for target, match in ((branch, "no tree"), (1 << 20, "cut short"), (0, "is damaged|kind")):
        struct.pack_into("<HHH", data, node, target & 0xFFFF, target >> 16, 0)
        damaged(data, match)


def test_values_that_share_their_pages_are_refused(tmp_path):
    # Nine values of 100 kB in one: a small file would hold any amount.
    data = bytearray(written(tmp_path, {b"%d" % n: bytes(100_000) for n in range(9)}))
    leaf = pages_of_kind(data, 2)[-1]
    nodes = [struct.unpack_from("<H", data, leaf * PAGE + 16 + 2 * i)[0] for i in range(9)]
    [first] = struct.unpack_from("<Q", data, leaf * PAGE + nodes[0] + 9)
    for offset in nodes:
        struct.pack_into("<Q", data, leaf * PAGE + offset + 9, first)
    kept = data[: (first + 26) * PAGE]
    for meta in (0, PAGE):
        struct.pack_into("<Q", kept, meta + 16 + 24 + 96, len(kept) // PAGE - 1)
    damaged(kept, "overlap|cut short|damaged")


def test_a_wrong_number_of_entries_is_told_at_the_end(data):
    for meta in (0, PAGE):
        struct.pack_into("<Q", data, meta + 16 + 24 + 48 + 32, 61)
    database = opened(bytes(data))
    entries = database.entries()
    assert len([next(entries) for _ in range(60)]) == 60
    with pytest.raises(LmdbError, match="60 of 61 entries"):
        next(entries)


def test_other_kinds_of_databases_are_refused(tmp_path):
    with lmdb.open(str(tmp_path / "a"), max_dbs=1) as database:
        database.open_db(b"inner")
    with pytest.raises(LmdbError, match="kind of value"):
        read((tmp_path / "a" / "data.mdb").read_bytes())
    data = bytearray(written(tmp_path / "b", some(3)))
    for meta in (0, PAGE):
        # Several values for a key.
        struct.pack_into("<H", data, meta + 16 + 24 + 48 + 4, 4)
    damaged(data, "a database of the kind 4")
