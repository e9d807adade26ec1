"""The components of flat color in an image."""

import dataclasses

import numpy as np
from scipy import ndimage, sparse
from scipy.sparse import csgraph

# An edge may be blended with what is behind it, over this many pixels.
BLEND = 2


@dataclasses.dataclass(frozen=True)
class Components:
    """The largest components of flat color in an image.

    Args:
        labels: int32 [height, width]; component i has the pixels i + 1, and 0 is in none.
        slices: The rows and columns that each component takes up, the largest component first.
        areas: Pixels of each component.
        colors: float64 [components, 3], the mean colors in 0..255.
    """

    labels: np.ndarray
    slices: list[tuple[slice, slice]]
    areas: np.ndarray
    colors: np.ndarray

    def __len__(self):
        return len(self.slices)

    def mask(self, index: int) -> np.ndarray:
        """Return the pixels of a component inside its rows and columns, bool."""
        return self.labels[self.slices[index]] == index + 1

    def enclosing(self, index: int) -> int | None:
        """Return the component that a component lies in, or None if it lies in the image itself.

        It takes up all of its rows and columns and more, and is next to it: the smallest of those
        that have at least half as many of the pixels around as the one with the most.
        """
        around = self._pixels_in(self._widened(index)) - self._pixels_in(self.slices[index])
        found = [i for i in range(len(self)) if around[i + 1] and self._contains(i, index)]
        most = max((around[i + 1] for i in found), default=0)
        near = [i for i in found if 2 * around[i + 1] >= most]
        return min(near, key=self._box_area, default=None)

    def contacts(self, index: int, outer: int | None) -> tuple[bool, ...]:
        """Return whether a component touches the left, top, right, and bottom edge around it.

        It touches an edge if nothing lies between but pixels that are blended with what is behind
        them.

        Args:
            index: The component.
            outer: The component that it lies in, from `enclosing`; None for the image.
        """
        rows, columns = self.slices[index]
        if outer is None:
            height, width = self.labels.shape
            return columns.start == 0, rows.start == 0, columns.stop == width, rows.stop == height
        outer_rows, outer_columns = self.slices[outer]
        mask = self.mask(index)
        labels = self.labels
        left = labels[rows, outer_columns.start : columns.start][mask[:, 0]]
        top = labels[outer_rows.start : rows.start, columns][:, mask[0]].T
        right = labels[rows, columns.stop : outer_columns.stop][mask[:, -1]]
        bottom = labels[rows.stop : outer_rows.stop, columns][:, mask[-1]].T
        return tuple(
            between.shape[1] <= BLEND and not (between == outer + 1).any()
            for between in (left, top, right, bottom)
        )

    def _pixels_in(self, window: tuple[slice, slice]) -> np.ndarray:
        return np.bincount(self.labels[window].ravel(), minlength=len(self) + 1)

    def _contains(self, outer: int, inner: int) -> bool:
        return self.slices[outer] != self.slices[inner] and all(
            o.start <= i.start and i.stop <= o.stop
            for o, i in zip(self.slices[outer], self.slices[inner])
        )

    def _box_area(self, index: int) -> int:
        rows, columns = self.slices[index]
        return (rows.stop - rows.start) * (columns.stop - columns.start)

    def _widened(self, index: int) -> tuple[slice, slice]:
        rows, columns = (slice(max(s.start - BLEND, 0), s.stop + BLEND) for s in self.slices[index])
        return rows, columns


def find_components(
    pixels: np.ndarray, tolerance: int, smallest_share: float, most: int
) -> Components:
    """Find the components of flat color, the largest first.

    Args:
        pixels: uint8 [height, width, 3].
        tolerance: Adjacent pixels belong together if no channel differs by more than this.
        smallest_share: The smallest component, as a share of the image.
        most: The most components.

    Returns:
        The components. Of equal areas, the one that starts further up, then further left, is first.
    """
    runs, starts, joined = _join_runs(pixels, tolerance)
    areas = np.bincount(joined, weights=np.diff(starts, append=runs.size)).astype(np.int64)
    largest = np.argsort(-areas, kind="stable")[:most]
    largest = largest[areas[largest] >= smallest_share * runs.size]
    ranks = np.zeros(len(areas), np.int32)
    ranks[largest] = np.arange(1, len(largest) + 1)
    labels = ranks[joined][runs]
    # Of runs first, which are fewer than pixels. The sums are whole numbers, so they are exact.
    sums = [
        np.bincount(joined, np.add.reduceat(pixels[..., channel].ravel(), starts, dtype=np.int64))
        for channel in range(3)
    ]
    return Components(
        labels=labels,
        slices=ndimage.find_objects(labels),
        areas=areas[largest],
        colors=np.stack(sums, axis=1)[largest] / areas[largest, None],
    )


def filled_share(mask: np.ndarray) -> float:
    """Return the share of True in a mask whose holes are filled."""
    if mask.all():
        return 1.0
    # Holes are what lies outside the component and does not reach the mask's border.
    outside, count = ndimage.label(~mask)
    reaches = np.zeros(count + 1, bool)
    for border in (outside[0], outside[-1], outside[:, 0], outside[:, -1]):
        reaches[border] = True
    reaches[0] = False
    return 1 - np.count_nonzero(reaches[outside]) / mask.size


def _join_runs(pixels: np.ndarray, tolerance: int):
    """Return the runs of flat color in the rows of an image, and which belong together.

    A graph of runs is much smaller than a graph of pixels, and has the same components.

    Returns:
        The number of each pixel's run, int64 [height, width]; where the runs start, counted in
        pixels from the upper left; the component of each run. Runs and components are numbered in
        the order of their first pixels.
    """
    height, width, _ = pixels.shape
    across, down = np.ones([height, width - 1], bool), np.ones([height - 1, width], bool)
    for channel in range(3):
        plane = np.ascontiguousarray(pixels[..., channel])
        across &= _near(plane[:, 1:], plane[:, :-1], tolerance)
        down &= _near(plane[1:], plane[:-1], tolerance)
    start = np.ones([height, width], bool)
    np.logical_not(across, out=start[:, 1:])
    runs = np.cumsum(start.ravel()).reshape(height, width) - 1
    # Two runs may meet at many pixels. One edge for each of the stretches is enough.
    meet = down.copy()
    meet[:, 1:] &= ~down[:, :-1] | start[:-1, 1:] | start[1:, 1:]
    upper, lower = runs[:-1][meet], runs[1:][meet]
    count = int(runs[-1, -1]) + 1
    edges = sparse.coo_matrix((np.ones(len(upper), bool), (upper, lower)), shape=(count, count))
    _, joined = csgraph.connected_components(edges, directed=False)
    return runs, np.flatnonzero(start), joined


def _near(one: np.ndarray, two: np.ndarray, tolerance: int) -> np.ndarray:
    # The difference of two uint8 would wrap around.
    return np.maximum(one, two) - np.minimum(one, two) <= tolerance
