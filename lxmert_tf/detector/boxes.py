"""Anchors, and boxes from the deltas that a network predicts, in the conventions of both flavors.

In the flavor "hf" a box ends where its last pixel ends, and its width is x2 - x1. In the flavor
"caffe" it ends at its last pixel, and its width is x2 - x1 + 1. Boxes are x1, y1, x2, y2.
"""

from collections.abc import Sequence

import numpy as np
import tensorflow as tf

# The largest log of a growth in width or height, 62.5 times (detectron2's box_regression.py).
MAX_LOG_GROWTH = float(np.log(1000 / 16))


def centered_anchors(sizes: Sequence[float], ratios: Sequence[float]) -> np.ndarray:
    """Return the anchors of one place as detectron2 does: of equal areas, centered on (0, 0).

    Args:
        sizes: Square roots of the areas, the outer order.
        ratios: Heights divided by widths, the inner order.

    Returns:
        float32 [A, 4].
    """
    area = np.repeat(np.square(np.asarray(sizes, np.float64)), len(ratios))
    ratio = np.tile(np.asarray(ratios, np.float64), len(sizes))
    width = np.sqrt(area / ratio)
    halves = np.stack([width, ratio * width], axis=-1) / 2
    return np.concatenate([-halves, halves], axis=-1).astype(np.float32)


def caffe_anchors(sizes: Sequence[float], ratios: Sequence[float]) -> np.ndarray:
    """Return the anchors of one place as py-faster-rcnn's generate_anchors.py does, inclusive.

    They are multiples of boxes of rounded sides around the center of a cell of 16 x 16 pixels.

    Args:
        sizes: Sides of the square anchors, the outer order (the inner one there).
        ratios: Heights divided by widths, the inner order.

    Returns:
        float32 [A, 4].
    """
    scale = np.repeat(np.asarray(sizes, np.float64) / 16, len(ratios))
    width = np.round(16 / np.sqrt(np.asarray(ratios, np.float64)))
    sides = np.stack([width, np.round(width * ratios)], axis=-1)
    reach = (scale[:, np.newaxis] * np.tile(sides, [len(sizes), 1]) - 1) / 2
    return np.concatenate([7.5 - reach, 7.5 + reach], axis=-1).astype(np.float32)


def anchor_grid(cell_anchors, height, width, stride: int):
    """Return the anchors of all cells of a map.

    Args:
        cell_anchors: float32 [A, 4], anchors of the first cell.
        height: Rows of the map.
        width: Columns of the map.
        stride: Pixels per cell.

    Returns:
        float32 [height * width * A, 4], row by row.
    """
    y, x = tf.meshgrid(tf.range(height) * stride, tf.range(width) * stride, indexing="ij")
    shifts = tf.cast(tf.stack([x, y, x, y], axis=-1), tf.float32)
    return tf.reshape(shifts[:, :, tf.newaxis] + cell_anchors, [-1, 4])


def decode_boxes(boxes, deltas, weights=(1.0, 1.0, 1.0, 1.0), inclusive: bool = False):
    """Return boxes moved and resized by deltas.

    Args:
        boxes: float32 [..., 4].
        deltas: float32 [..., 4], dx, dy, dw, dh.
        weights: Divisors of the deltas.
        inclusive: True for boxes of the flavor "caffe", which does not bound the growth.

    Returns:
        float32 [..., 4].
    """
    sides = boxes[..., 2:] - boxes[..., :2]
    if inclusive:
        sides += 1.0
    centers = boxes[..., :2] + 0.5 * sides
    if tuple(weights) != (1.0, 1.0, 1.0, 1.0):
        deltas = deltas / tf.constant(weights, deltas.dtype)
    growth = deltas[..., 2:]
    if not inclusive:
        growth = tf.minimum(growth, MAX_LOG_GROWTH)
    centers = deltas[..., :2] * sides + centers
    reach = 0.5 * (tf.exp(growth) * sides)
    return tf.concat([centers - reach, centers + reach], axis=-1)


def relative_boxes(boxes, height, width):
    """Return the boxes of one picture in shares of its sides, clipped to the picture.

    Args:
        boxes: float32 [N, 4], in pixels.
        height: Rows of the picture.
        width: Columns of the picture.

    Returns:
        float32 [N, 4], in 0..1.
    """
    sides = tf.cast(tf.stack([width, height, width, height]), tf.float32)
    return tf.clip_by_value(boxes / sides, 0.0, 1.0)


def clip_boxes(boxes, sizes, inclusive: bool = False):
    """Return boxes clipped to their pictures.

    Args:
        boxes: float32 [B, N, 4].
        sizes: int32 [B, 2], height and width of each picture.
        inclusive: True for boxes of the flavor "caffe".

    Returns:
        float32 [B, N, 4].
    """
    limits = tf.cast(tf.gather(sizes, [1, 0, 1, 0], axis=-1), boxes.dtype)[:, tf.newaxis]
    if inclusive:
        limits -= 1.0
    return tf.maximum(tf.minimum(boxes, limits), 0.0)
