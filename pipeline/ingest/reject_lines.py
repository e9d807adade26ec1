"""Line numbers in a file that was read in parts."""

import collections
from collections.abc import Iterable

from pipeline.ingest.scenes import UnitLines


def absolute_lines(units: Iterable[UnitLines]) -> dict[tuple[str, int], int]:
    """How many lines come before each unit of a file: {(file, unit's start): lines}."""
    by_file = collections.defaultdict(list)
    for unit in units:
        by_file[unit.file].append(unit)
    before = {}
    for file, parts in by_file.items():
        lines = 0
        for part in sorted(parts, key=lambda part: part.unit):
            before[file, part.unit] = lines
            lines += part.count
    return before
