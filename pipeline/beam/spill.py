"""Grouping by key through files, with little memory on any runner.

Beam's runners on one machine hold all that crosses a `GroupByKey` in memory. Here a task writes its
elements to a file, by partition, and Beam groups only references to the parts of that file. The
task that reads a partition has its elements in memory; it splits one that is too large by more bits
of the hash.
"""

import collections
import hashlib
import pickle
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

import apache_beam as beam

from pipeline.beam.shared_files import explaining, new_path, open_file, open_new, remove_files
from pipeline.beam.workers import noting_errors

SUFFIX = ".spill"
HASH_BITS = 64
# Bits of the hash that split elements at once, into 64 partitions.
LEVEL_BITS = 6
# More levels are of no use: what they do not split has one key.
MOST_LEVELS = 5
# Elements, by their weight, that a task holds before it writes them, and those that it reads at
# once. A question has about 1 KB.
MOST_HELD = MOST_LOADED = 20_000
# A few bytes go with the reference, so that small jobs need no files.
MOST_INLINE_BYTES = 1 << 14


class SpilledElement(NamedTuple):
    """An element and where it goes.

    Args:
        partition: Elements with the same are read by one task.
        hash: Of 64 bits. Within a partition, elements are read in the order of its first bits.
        element: The element.
        weight: How much memory it needs, in elements of usual size.
    """

    partition: int
    hash: int
    element: Any
    weight: int = 1


class Part(NamedTuple):
    """A part of a file: elements whose hashes have the same first bits.

    Args:
        bits: The first bits of the hashes.
        offset: First byte in the file.
        length: Number of bytes.
        weight: Sum of the elements' weights.
    """

    bits: int
    offset: int
    length: int
    weight: int


class Spilled(NamedTuple):
    """A reference to what a task wrote for one partition.

    Args:
        kind: Name of the elements' class.
        partition: As of `SpilledElement`.
        path: The file; empty if the elements are in `data`.
        parts: Parts of the file or of `data`.
        data: Few elements.
    """

    kind: str
    partition: int
    path: str
    parts: tuple[Part, ...]
    data: bytes = b""


def hash_of(key: Any) -> int:
    """Return a hash of a string, or of a tuple of strings, that is the same in all processes."""
    digest = hashlib.blake2b(ascii(key).encode(), digest_size=HASH_BITS // 8).digest()
    return int.from_bytes(digest, "big")


def keyed(key: Any, value: Any, weight: int = 1) -> SpilledElement:
    """Return a pair for `read_groups`, in the partition of its key."""
    number = hash_of(key)
    return SpilledElement(_first_bits(number, 1), number, (key, value), weight)


def spill(
    elements: Iterable[Any],
    kind: type,
    folder: str,
    place: Callable[[Any], Iterable[SpilledElement]],
) -> Iterator[Any]:
    """Spill the elements of a class; yields the others, then a `Spilled` for each partition.

    Args:
        elements: Of any classes.
        kind: The class of those to spill.
        folder: A folder that all workers can read, as a path or URL.
        place: Returns what is spilled of an element.
    """
    writer = SpillWriter(kind.__name__, folder)
    try:
        for element in elements:
            if isinstance(element, kind):
                for placed in place(element):
                    writer.add(placed)
            else:
                yield element
        yield from writer.finish()
    finally:
        writer.close()


def only_spilled(*kinds: type) -> beam.PTransform:
    """Return a transform that selects the `Spilled` of elements of some classes."""
    names = frozenset(kind.__name__ for kind in kinds)
    return beam.Filter(
        lambda element: isinstance(element, Spilled) and element.kind in names
    ).with_output_types(Spilled)


class GroupSpilled(beam.PTransform):
    """Bring the `Spilled` of a partition together; emits their list.

    Args:
        kinds: The classes of the spilled elements.
    """

    def __init__(self, *kinds: type):
        super().__init__()
        self._kinds = kinds

    def expand(self, elements: beam.PCollection) -> beam.PCollection:
        """Group the references; the elements may be of any classes."""
        return (
            elements
            | "Spilled" >> only_spilled(*self._kinds)
            | "ByPartition" >> beam.WithKeys(lambda spilled: spilled.partition)
            | beam.GroupByKey()
            | beam.Values()
        )


def read_groups(spilled: Iterable[Spilled], folder: str) -> Iterator[tuple[Any, list[Any]]]:
    """Yield each key of `keyed` elements with its values, in any order.

    Args:
        spilled: All of a partition.
        folder: As for `spill`.
    """
    for elements in read_spilled(spilled, folder):
        groups: dict[Any, list[Any]] = {}
        for key, value in elements:
            groups.setdefault(key, []).append(value)
        yield from groups.items()


def read_spilled(spilled: Iterable[Spilled], folder: str, level: int = 1) -> Iterator[list[Any]]:
    """Yield the elements of a partition, by ranges of hashes in ascending order.

    Args:
        spilled: All of a partition.
        folder: As for `spill`.
        level: How many times `LEVEL_BITS` have split the elements.
    """
    ranges = collections.defaultdict(list)
    for one in spilled:
        for part in one.parts:
            ranges[part.bits].append((one, part))
    for bits in sorted(ranges):
        weight = sum(part.weight for _, part in ranges[bits])
        if weight <= MOST_LOADED or level == MOST_LEVELS:
            yield [element for _, _, element, _ in _load(ranges[bits])]
            continue
        writer = SpillWriter("", folder, level + 1)
        try:
            for _, number, element, weight in _load(ranges[bits]):
                writer.add(SpilledElement(0, number, element, weight))
            yield from read_spilled(writer.finish(), folder, level + 1)
        finally:
            writer.close(remove=True)


class SpillWriter:
    """Writes elements to a file of its own; to none if there are few.

    Args:
        kind: As of `Spilled`.
        folder: As for `spill`.
        level: As for `read_spilled`.
    """

    def __init__(self, kind: str, folder: str, level: int = 1):
        self._kind, self._folder, self._level = kind, folder, level
        self._path = ""
        self._file: Any = None
        self._offset = self._weight = 0
        self._held: dict[tuple[int, int], list[SpilledElement]] = {}
        self._parts: dict[int, list[Part]] = {}

    def add(self, placed: SpilledElement) -> None:
        """Add an element."""
        key = placed.partition, _first_bits(placed.hash, self._level)
        self._held.setdefault(key, []).append(placed)
        self._weight += placed.weight
        if self._weight >= MOST_HELD:
            self._write(self._take_blobs())

    def finish(self) -> Iterator[Spilled]:
        """Write the last elements, and yield a reference for each partition."""
        blobs = self._take_blobs()
        if self._file is None and sum(len(blob) for *_, blob in blobs) <= MOST_INLINE_BYTES:
            data: dict[int, bytes] = collections.defaultdict(bytes)
            for partition, bits, weight, blob in blobs:
                part = Part(bits, len(data[partition]), len(blob), weight)
                self._parts.setdefault(partition, []).append(part)
                data[partition] += blob
            for partition, parts in self._parts.items():
                yield Spilled(self._kind, partition, "", tuple(parts), data[partition])
            return
        self._write(blobs)
        self.close()
        for partition, parts in self._parts.items():
            yield Spilled(self._kind, partition, self._path, tuple(parts))

    def close(self, remove: bool = False) -> None:
        """Close the file.

        Args:
            remove: Whether to delete it, too.
        """
        if self._file is not None:
            with noting_errors(self._folder), explaining(self._path):
                self._file.close()
            self._file = None
        if remove and self._path:
            remove_files([self._path])

    def _take_blobs(self) -> list[tuple[int, int, int, bytes]]:
        """Return partition, first bits, weight, and bytes of what is held, which is then none."""
        held, self._held, self._weight = self._held, {}, 0
        return [
            (*key, sum(placed.weight for placed in held[key]), _to_bytes(held[key]))
            for key in sorted(held)
        ]

    def _write(self, blobs: Iterable[tuple[int, int, int, bytes]]) -> None:
        with noting_errors(self._folder):
            if self._file is None:
                self._path = new_path(self._folder, SUFFIX)
                self._file = open_new(self._path)
            with explaining(self._path):
                for partition, bits, weight, blob in blobs:
                    self._file.write(blob)
                    part = Part(bits, self._offset, len(blob), weight)
                    self._parts.setdefault(partition, []).append(part)
                    self._offset += len(blob)


def _first_bits(number: int, level: int) -> int:
    return number >> (HASH_BITS - level * LEVEL_BITS)


def _to_bytes(elements: list[SpilledElement]) -> bytes:
    # Plain tuples take half the time.
    return pickle.dumps([tuple(placed) for placed in elements], pickle.HIGHEST_PROTOCOL)


def _load(parts: Iterable[tuple[Spilled, Part]]) -> Iterator[tuple[int, int, Any, int]]:
    """Yield the values of each `SpilledElement`."""
    # Pickles are safe here: only this job writes the files, and Beam itself passes pickles on.
    by_file: dict[str, list[tuple[Spilled, Part]]] = {}
    for spilled, part in parts:
        by_file.setdefault(spilled.path, []).append((spilled, part))
    for path, inside in by_file.items():
        if not path:
            for spilled, part in inside:
                data = spilled.data[part.offset : part.offset + part.length]
                yield from pickle.loads(data)
            continue
        with explaining(path), open_file(path) as file:
            for _, part in sorted(inside, key=lambda pair: pair[1].offset):
                file.seek(part.offset)
                yield from pickle.loads(file.read(part.length))
