"""Convolutions of 3 x 3 with fewer products (Winograd 1980; Lavin and Gray 2016, section 4.3).

A tile of 4 x 4 outputs takes 36 products of its transformed 6 x 6 inputs and kernel instead of 144.
A dilated convolution is an ordinary one on each of the maps that take every second row and column.

Cells come before regions here, so that all transforms and products are products of large matrices
and nothing is transposed in between.
"""

import numpy as np
import tensorflow as tf

# Outputs of a tile per side, and inputs.
_TILE, _WINDOW = 4, 6
# Points at which the polynomials of inputs and kernel are multiplied, besides infinity. With these
# errors are about 6 times those of the plain sums; with 1, -1, 2, -2 they are 12 times (measured
# with 512 channels).
_POINTS = (0.0, 0.75, -0.75, 1.5, -1.5)


def _powers(count: int) -> np.ndarray:
    """Return the powers of the points: float64 [6, count]."""
    infinity = np.eye(1, count, count - 1)
    return np.concatenate([np.vander(_POINTS, count, increasing=True), infinity])


# The matrices of Lavin and Gray: G, the transposes of A and B.
_KERNEL, _OUTPUT, _INPUT = _powers(3), _powers(_TILE).T, np.linalg.inv(_powers(_WINDOW)).T


def transform_kernel(kernel):
    """Return the kernel of `convolve` for an ordinary one.

    Args:
        kernel: float32 [3, 3, C, D].

    Returns:
        float32 [36, C, D].
    """
    _, _, inputs, outputs = kernel.shape
    both = tf.constant(np.kron(_KERNEL, _KERNEL), kernel.dtype)
    return tf.reshape(tf.matmul(both, tf.reshape(kernel, [9, -1])), [-1, inputs, outputs])


def convolve(maps, kernel, side: int):
    """Convolve maps with a kernel of 3 x 3, with zeros around the maps.

    Args:
        maps: float32 [side * side, N, C], the cells of N maps, row by row.
        kernel: What `transform_kernel` returns.
        side: Rows and columns of each map.

    Returns:
        float32 [side * side, N, D].
    """
    inputs, outputs = kernel.shape[1:]
    into, out_of = _transforms(side)
    products = tf.matmul(
        tf.reshape(
            tf.matmul(into, tf.reshape(maps, [side * side, -1])), [_WINDOW * _WINDOW, -1, inputs]
        ),
        kernel,
    )
    products = tf.reshape(products, [out_of.shape[1], -1])
    return tf.reshape(tf.matmul(out_of, products), [side * side, -1, outputs])


def _transforms(side: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the transforms of the inputs and of the products.

    Returns:
        float32 [36 T, side * side] and [side * side, 36 T], for T tiles. The products of one window
        element of all tiles follow each other.
    """
    tiles = -(-side // _TILE)
    into = np.zeros([_WINDOW, tiles, side])
    out_of = np.zeros([side, _WINDOW, tiles])
    for tile in range(tiles):
        # A window begins one cell before its tile.
        for k, cell in enumerate(range(_TILE * tile - 1, _TILE * tile - 1 + _WINDOW)):
            if 0 <= cell < side:
                into[:, tile, cell] = _INPUT[:, k]
        for k, cell in enumerate(range(_TILE * tile, min(_TILE * (tile + 1), side))):
            out_of[cell, :, tile] = _OUTPUT[k]
    return (
        np.einsum("itc,jud->ijtucd", into, into).reshape(-1, side * side).astype(np.float32),
        np.einsum("cit,dju->cdijtu", out_of, out_of).reshape(side * side, -1).astype(np.float32),
    )
