"""RoIPool: the maxima of a feature map in a grid of bins over each region (Girshick 2015).

A bin of h x w cells is covered by four overlapping windows whose sides are the largest powers of
two that fit. The maxima in all windows of these sizes are few tables of the size of the map, so a
bin costs four rows of a table, whatever its size, and memory holds little more than the result.
"""

import tensorflow as tf


def region_bins(boxes, map_sizes, grid: int, stride: int):
    """Return the cells that each bin of each region covers.

    Args:
        boxes: float32 [N, 4], x1, y1, x2, y2 in pixels of the resized pictures.
        map_sizes: int32 [N, 2], height and width of each region's map without padding.
        grid: Bins per side.
        stride: Pixels per cell of the map.

    Returns:
        int32 [N, 2, grid, 2], for rows, then for columns, the first cell of each bin and the one
        after the last. Empty bins end where they begin, or before.
    """
    # Rows first, as in the sizes of maps.
    starts, ends = boxes[:, 1::-1], boxes[:, 3:1:-1]
    first, last = (_round_away_from_zero(sides / stride) for sides in (starts, ends))
    lengths = tf.maximum(last - first + 1, 1)
    # Divided, then multiplied, in float32, as the references do. Division in float64 and the
    # cast give the same, and keep the optimizers of graphs from merging the two.
    steps = tf.cast(tf.cast(lengths, tf.float64) / grid, tf.float32)[..., tf.newaxis]
    edges = tf.range(grid + 1, dtype=tf.float32) * steps
    begin = tf.cast(tf.floor(edges[..., :-1]), tf.int32)
    end = tf.cast(tf.math.ceil(edges[..., 1:]), tf.int32)
    cells = tf.stack([begin, end], axis=-1) + first[..., tf.newaxis, tf.newaxis]
    return tf.clip_by_value(cells, 0, map_sizes[..., tf.newaxis, tf.newaxis])


def window_maxima(maps, bins):
    """Return the maxima in all windows whose sides are powers of two, as large as the bins need.

    Args:
        maps: [B, H, W, C].
        bins: int32 [N, 2, grid, 2], what `region_bins` returns for all regions.

    Returns:
        Tables [L, L, B, H, W, C], where element i, j, b, y, x is the maximum of the 2^j rows from y
        and of the 2^i columns from x. Windows end at the border of the map.
    """
    levels = 1 + _log2(tf.reduce_max(tf.concat([[1], tf.reshape(_lengths(bins), [-1])], axis=0)))
    by_rows = _doubled_windows(maps[tf.newaxis], levels, axis=1)
    return _doubled_windows(by_rows[tf.newaxis], levels, axis=3)


def pool_bins(tables, region_maps, bins):
    """Return the maximum in each bin of each region.

    Args:
        tables: What `window_maxima` returns.
        region_maps: int32 [N], index of each region's map.
        bins: int32 [N, 2, grid, 2], what `region_bins` returns.

    Returns:
        [N, grid, grid, C], zero for bins that are empty.
    """
    rows, columns = bins[:, 0, :, tf.newaxis], bins[:, 1, tf.newaxis]
    return pool_windows(tables, region_maps[:, tf.newaxis, tf.newaxis], rows, columns)


def pool_windows(tables, window_maps, rows, columns):
    """Return the maximum in each window of a map.

    Args:
        tables: What `window_maxima` returns.
        window_maps: int32 [...], index of each window's map.
        rows: int32 [..., 2], the first row of each window and the one after the last.
        columns: int32 [..., 2], the same for columns. The leading axes are broadcast.

    Returns:
        [..., C], zero for windows that are empty.
    """
    shape = tf.shape(tables)
    cells = tf.reshape(tables, [-1, tables.shape[-1]])
    (row_level, row_starts), (column_level, column_starts) = map(_power_windows, (rows, columns))
    # The windows of one level of rows and columns follow each other in `cells`.
    block = ((column_level * shape[1] + row_level) * shape[2] + window_maps) * shape[3]
    pooled = None
    for row in row_starts:
        for column in column_starts:
            corner = tf.gather(cells, (block + row) * shape[4] + column)
            pooled = corner if pooled is None else tf.maximum(pooled, corner)
    filled = (_lengths(rows) > 0) & (_lengths(columns) > 0)
    return tf.where(filled[..., tf.newaxis], pooled, tf.zeros([], pooled.dtype))


def distinct_windows(tables, window_maps, rows, columns):
    """Return windows without repetition. Small regions have bins in common, with others as well.

    Args:
        tables: What `window_maxima` returns.
        window_maps: As for `pool_windows`, and so `rows` and `columns`.

    Returns:
        The three arguments of `pool_windows` for the distinct windows, [U], [U, 2] and [U, 2], and
        for each of the windows, row by row, the index of its distinct one, int32.
    """
    height, width = (tf.shape(tables, tf.int64)[axis] + 1 for axis in (3, 4))
    # Ends may lie one behind the last cell.
    places = [(height, rows[..., 0]), (height, rows[..., 1])]
    places += [(width, columns[..., 0]), (width, columns[..., 1])]
    keys = tf.cast(window_maps, tf.int64)
    for base, place in places:
        keys = keys * base + tf.cast(place, tf.int64)
    keys, numbers = tf.unique(tf.reshape(keys, [-1]))
    cells = []
    for base, _ in reversed(places):
        cells.append(tf.cast(keys % base, tf.int32))
        keys //= base
    right, left, bottom, top = cells
    distinct = tf.stack([top, bottom], axis=-1), tf.stack([left, right], axis=-1)
    return (tf.cast(keys, tf.int32), *distinct), numbers


def _lengths(bins):
    return bins[..., 1] - bins[..., 0]


def _power_windows(windows):
    """Return the two windows of a power of two that cover each: their level and first cells."""
    begin, end = windows[..., 0], windows[..., 1]
    level = _log2(tf.maximum(end - begin, 1))
    # Empty windows too must start inside the map; their maxima are not used.
    begin = tf.maximum(tf.minimum(begin, end - 1), 0)
    return level, (begin, tf.maximum(end - tf.bitwise.left_shift(1, level), begin))


def _round_away_from_zero(values):
    """Return the nearest int32, of two equally near ones that farther from zero."""
    # Adding 0.5 first would round 0.49999997 up.
    whole = tf.cast(values, tf.int32)
    rest = values - tf.cast(whole, values.dtype)
    return whole + tf.cast(rest >= 0.5, tf.int32) - tf.cast(rest <= -0.5, tf.int32)


def _log2(lengths):
    """Return the floor of the logarithm to base 2 of positive int32."""
    # A float32 logarithm may come out below the whole number that it is.
    powers = tf.bitwise.left_shift(1, tf.range(1, 31))
    return tf.reduce_sum(tf.cast(lengths[..., tf.newaxis] >= powers, tf.int32), axis=-1)


def _doubled_windows(tables, levels, axis: int):
    """Return the maxima in windows of 1, 2, 4, ... cells along an axis of a map: [levels, ...]."""

    def double(level, tables):
        last = tables[-1]
        cells = tf.range(tf.shape(last)[axis])
        shift = tf.bitwise.left_shift(1, level - 1)
        following = tf.gather(last, tf.minimum(cells + shift, cells[-1]), axis=axis)
        return level + 1, tf.concat([tables, tf.maximum(last, following)[tf.newaxis]], axis=0)

    # The first axis grows.
    shapes = (tf.TensorShape([]), tf.TensorShape([None, *tables.shape[1:]]))
    loop = (tf.constant(1), tables)
    return tf.while_loop(lambda level, _: level < levels, double, loop, shapes)[1]
