"""Non-maximum suppression with the ties and thresholds of both flavors, for many sets at once.

TensorFlow's own op compares with a float32 threshold and knows neither inclusive boxes nor "at
least", so it keeps other boxes where an overlap is exactly at the threshold.
"""

from collections.abc import Callable

import numpy as np
import tensorflow as tf


def suppress_boxes(boxes, scores, threshold: float, most, inclusive: bool = False):
    """Keep the best boxes that do not overlap a better one that is kept.

    Args:
        boxes: float32 [B, N, 4].
        scores: float32 [B, N]; minus infinity for boxes that are absent.
        threshold: Overlap above which a box is dropped ("hf"), or from which ("caffe").
        most: Most boxes to keep.
        inclusive: True for the rules and boxes of the flavor "caffe".

    Returns:
        bool [B, N], True for the boxes that are kept. Of equal scores the first is better.
    """
    bound = _exclusive_bound(threshold, inclusive)

    def overlapped(picked):
        best = tf.gather(boxes, picked[:, tf.newaxis], batch_dims=1)
        return _overlap(best, boxes, inclusive) > bound

    return _keep(scores, overlapped, most)


def suppress_by_class(boxes, scores, threshold: float, inclusive: bool = False):
    """Keep the best boxes of each class; all classes share the boxes.

    Args:
        boxes: float32 [B, N, 4].
        scores: float32 [B, C, N]; minus infinity for boxes that are absent.
        threshold: As for `suppress_boxes`.
        inclusive: As for `suppress_boxes`.

    Returns:
        bool [B, C, N], True for the boxes that are kept.
    """
    overlap = _overlap(boxes[:, :, tf.newaxis], boxes[:, tf.newaxis], inclusive)
    drops = overlap > _exclusive_bound(threshold, inclusive)
    return _keep(scores, lambda picked: tf.gather(drops, picked, batch_dims=1), tf.shape(boxes)[1])


def _keep(scores, overlapped: Callable, most):
    """Pick the best box of each set and drop those that overlap it, until none is left.

    Args:
        scores: float32 [..., N].
        overlapped: Function that returns bool [..., N] for the indices [...] of picked boxes.
        most: Most boxes to pick.

    Returns:
        bool [..., N].
    """

    def anything_left(count, remaining, kept):
        return (count < most) & tf.reduce_any(remaining > -np.inf)

    def pick(count, remaining, kept):
        picked = tf.argmax(remaining, axis=-1, output_type=tf.int32)
        chosen = tf.range(tf.shape(remaining)[-1]) == picked[..., tf.newaxis]
        kept |= chosen & (remaining > -np.inf)
        remaining = tf.where(chosen | overlapped(picked), -np.inf, remaining)
        return count + 1, remaining, kept

    start = (tf.constant(0), scores, tf.zeros_like(scores, tf.bool))
    return tf.while_loop(anything_left, pick, start, parallel_iterations=1)[2]


def _overlap(boxes, others, inclusive: bool):
    """Return intersection over union, computed in the order of the references' operations."""

    def area(corners, far_corners):
        sides = far_corners - corners
        # Adding 1 to x2 first would round differently.
        sides = tf.maximum(sides + 1.0 if inclusive else sides, 0.0)
        return sides[..., 0] * sides[..., 1]

    starts, ends = (boxes[..., :2], others[..., :2]), (boxes[..., 2:], others[..., 2:])
    both = area(tf.maximum(*starts), tf.minimum(*ends))
    return both / (area(starts[0], ends[0]) + area(starts[1], ends[1]) - both)


def _exclusive_bound(threshold: float, inclusive: bool) -> np.float32:
    """Return the bound for which `float32 > bound` is the references' comparison.

    They compare a float32 overlap with a double threshold: above it, or at least it if inclusive.
    """
    bound = np.float32(threshold)
    if float(bound) > threshold or (inclusive and float(bound) == threshold):
        bound = np.nextafter(bound, np.float32(-np.inf))
    return bound
