"""LMDB files, read page by page without trust in what they say of themselves.

The library maps a file into memory and follows every number in it, so that a wrong length or page
ends the process. Here each is checked against the file first. The layout is that of version 1 on
machines of 64 bits (github.com/LMDB/lmdb, libraries/liblmdb/mdb.c): two meta pages, of which the
one with the later transaction counts, and a B+ tree of branch pages and leaf pages. A leaf holds
keys and values; a value that is too long for it lies in pages of its own.
"""

import struct
from collections.abc import Iterator
from typing import BinaryIO, NamedTuple

# Number of the page, padding, kind, and where its free space begins and ends.
_PAGE = struct.Struct("<QHHHH")
# Magic number, version, address, and size of the map.
_META = struct.Struct("<IIQQ")
# Page size or padding, kind, depth, pages of three kinds, entries, and root.
_TREE = struct.Struct("<IHHQQQQQ")
# Last page, and number of the transaction.
_END = struct.Struct("<QQ")
# Lower and upper half of the value's length, flags, and length of the key.
_NODE = struct.Struct("<HHHH")
_MAGIC, _VERSION = 0xBEEFC0DE, 1
# Kinds of pages.
_BRANCH, _LEAF, _OVERFLOW, _META_PAGE = 1, 2, 4, 8
# The value of a node lies in pages of its own.
_BIG = 1
_NO_ROOT = (1 << 64) - 1
_PAGE_SIZES = [1 << n for n in range(8, 16)]
# LMDB itself goes no deeper.
_DEEPEST = 32


class LmdbError(Exception):
    """The file is no LMDB file, or damaged."""


class Entry(NamedTuple):
    """A key, and where its value lies.

    Args:
        key: The key.
        start: The first byte of the value in the file.
        size: The length of the value.
        page: The first of the value's own pages; None if it is in the leaf.
    """

    key: bytes
    start: int
    size: int
    page: int | None = None


class LmdbFile:
    """The entries of an LMDB file's main database.

    Args:
        file: The file, open for reading.
        size: Its length in bytes.

    Raises:
        LmdbError: It is no LMDB file, or cut short.
    """

    def __init__(self, file: BinaryIO, size: int):
        self._file, self._size = file, size
        meta = self._meta(0)
        self._page_size = meta.page_size
        try:
            other = self._meta(meta.page_size)
        except LmdbError:
            # Of a file that was copied while it was written, one is whole.
            other = meta
        newest = max(meta, other, key=lambda found: found.transaction)
        self._root, self._depth, self.count = newest.root, newest.depth, newest.entries
        needed = (newest.last_page + 1) * self._page_size
        if size < needed:
            raise LmdbError(f"cut short; it has {size} bytes of {needed}")

    def entries(self) -> Iterator[Entry]:
        """Yield the entries in the order of their keys.

        Raises:
            LmdbError: A page is damaged, or the pages hold another number of entries than the file
                says. The entries before the damage come first.
        """
        found = values = 0
        seen: set[int] = set()
        if self._root != _NO_ROOT:
            for entry in self._below(self._root, self._depth, seen):
                # Each byte belongs to one value; else a small file could hold any amount.
                values += entry.size
                if values > self._size:
                    raise LmdbError("its values overlap")
                found += 1
                yield entry
        if found != self.count:
            raise LmdbError(f"its pages hold {found} of {self.count} entries")

    def value(self, entry: Entry) -> bytes:
        """Return the value of an entry.

        Raises:
            LmdbError: Its pages are damaged.
        """
        if entry.page is not None:
            number, _, kind, low, high = _PAGE.unpack(
                self._read(entry.start - _PAGE.size, _PAGE.size)
            )
            pages = low | high << 16
            if number != entry.page or kind != _OVERFLOW:
                raise LmdbError(f"page {entry.page} is not that of a value")
            if _PAGE.size + entry.size > pages * self._page_size:
                raise LmdbError(f"page {entry.page} has a value that is longer than its pages")
        return self._read(entry.start, entry.size)

    def _below(self, number: int, depth: int, seen: set[int]) -> Iterator[Entry]:
        if not 0 < depth <= _DEEPEST or number in seen:
            raise LmdbError("its pages are no tree")
        seen.add(number)
        page, kind, offsets = self._page(number)
        if kind == _BRANCH:
            for offset in offsets:
                low, high, top, _ = self._node(page, offset)
                yield from self._below(low | high << 16 | top << 32, depth - 1, seen)
            return
        if kind != _LEAF:
            raise LmdbError(f"page {number} is of the kind {kind}")
        for offset in offsets:
            yield self._entry(number, page, offset)

    def _entry(self, number: int, page: bytes, offset: int) -> Entry:
        low, high, flags, key_size = self._node(page, offset)
        size, start = low | high << 16, offset + _NODE.size
        end = start + key_size
        if flags not in (0, _BIG) or end + (8 if flags else size) > len(page):
            raise LmdbError(f"page {number} has a wrong length or kind of value")
        key = page[start:end]
        if not flags:
            return Entry(key, number * self._page_size + end, size)
        [first] = struct.unpack_from("<Q", page, end)
        position = first * self._page_size
        if position + _PAGE.size + size > self._size:
            raise LmdbError(f"page {number} has a value behind the end")
        return Entry(key, position + _PAGE.size, size, first)

    def _page(self, number: int) -> tuple[bytes, int, tuple[int, ...]]:
        """Return a page of the tree, its kind, and the offsets of its nodes."""
        page = self._read(number * self._page_size, self._page_size)
        found, _, kind, lower, upper = _PAGE.unpack_from(page)
        count, rest = divmod(lower - _PAGE.size, 2)
        if found != number or rest or not _PAGE.size <= lower <= upper <= len(page):
            raise LmdbError(f"page {number} is damaged")
        return page, kind, struct.unpack_from(f"<{count}H", page, _PAGE.size)

    def _node(self, page: bytes, offset: int) -> tuple[int, ...]:
        if not _PAGE.size <= offset <= len(page) - _NODE.size:
            raise LmdbError("a page has an entry outside of it")
        return _NODE.unpack_from(page, offset)

    def _meta(self, position: int) -> "_Meta":
        data = self._read(position, _PAGE.size + _META.size + 2 * _TREE.size + _END.size)
        kind = _PAGE.unpack_from(data)[2]
        magic, version, *_ = _META.unpack_from(data, _PAGE.size)
        if not kind & _META_PAGE or magic != _MAGIC or version != _VERSION:
            raise LmdbError("no meta page of version 1")
        position = _PAGE.size + _META.size
        page_size, *_ = _TREE.unpack_from(data, position)
        _, flags, depth, *_, entries, root = _TREE.unpack_from(data, position + _TREE.size)
        last_page, transaction = _END.unpack_from(data, position + 2 * _TREE.size)
        if page_size not in _PAGE_SIZES:
            raise LmdbError(f"pages of {page_size} bytes")
        # Such as several values for a key. MMF writes none.
        if flags:
            raise LmdbError(f"a database of the kind {flags}")
        return _Meta(page_size, depth, entries, root, last_page, transaction)

    def _read(self, start: int, length: int) -> bytes:
        if start + length > self._size:
            raise LmdbError("it is cut short")
        self._file.seek(start)
        data = self._file.read(length)
        if len(data) < length:
            raise LmdbError("it is cut short")
        return data


class _Meta(NamedTuple):
    page_size: int
    depth: int
    entries: int
    root: int
    last_page: int
    transaction: int
