"""Non-maximum suppression beside the references' loops."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lxmert_tf.detector.suppression import suppress_boxes, suppress_by_class


def keep_plainly(boxes, scores, threshold, inclusive):
    """The kept indices, best first, as torchvision's nms or py-faster-rcnn's cpu_nms.pyx."""
    extra = np.float32(1 if inclusive else 0)
    sides = boxes[:, 2:] - boxes[:, :2] + extra
    areas = sides[:, 0] * sides[:, 1]
    order = np.argsort(-scores, kind="stable")
    kept, dropped = [], set()
    for n, i in enumerate(order):
        if i in dropped or scores[i] == -np.inf:
            continue
        kept.append(i)
        for j in order[n + 1 :]:
            near = np.minimum(boxes[i, 2:], boxes[j, 2:]) - np.maximum(boxes[i, :2], boxes[j, :2])
            both = np.prod(np.maximum(near + extra, np.float32(0)))
            overlap = float(both / (areas[i] + areas[j] - both))
            if overlap >= threshold if inclusive else overlap > threshold:
                dropped.add(j)
    return kept


def sample(seed, count=20):
    random = np.random.default_rng(seed)
    # On a coarse grid, so that equal boxes and exact overlaps such as 1/2 and 7/10 occur.
    corners = random.integers(0, 6, [count, 2])
    boxes = np.concatenate([corners, corners + random.integers(1, 6, [count, 2])], axis=-1)
    return boxes.astype(np.float32), random


@settings(max_examples=30)
@given(
    seed=st.integers(0, 2**16),
    threshold=st.sampled_from([0.3, 0.5, 0.6, 0.7]),
    inclusive=st.booleans(),
    most=st.integers(1, 20),
)
def test_boxes_are_kept_as_in_a_plain_loop(seed, threshold, inclusive, most):
    boxes, random = sample(seed)
    # Few values, so that scores are equal, and boxes that are absent.
    scores = np.float32([0.1, 0.2, 0.4, -np.inf])[random.integers(0, 4, [2, 20])]
    ours = suppress_boxes(np.stack([boxes, boxes]), scores, threshold, most, inclusive).numpy()
    for kept, score in zip(ours, scores):
        expected = keep_plainly(boxes, score, threshold, inclusive)[:most]
        assert np.flatnonzero(kept).tolist() == sorted(expected)


@pytest.mark.parametrize("inclusive", [False, True])
def test_each_class_has_its_own_scores(inclusive):
    boxes, random = sample(3)
    scores = random.uniform(size=[1, 5, 20]).astype(np.float32)
    ours = suppress_by_class(boxes[np.newaxis], scores, 0.3, inclusive).numpy()
    for kept, score in zip(ours[0], scores[0]):
        assert np.flatnonzero(kept).tolist() == sorted(keep_plainly(boxes, score, 0.3, inclusive))


@pytest.mark.parametrize(
    ("inclusive", "threshold", "kept"),
    [
        # 1/2 exactly: "more than" keeps the second box, "at least" drops it.
        (False, 0.5, [True, True]),
        (True, 0.5, [True, False]),
        # float32(0.3) is more than 0.3, so an overlap of 3/10 is dropped by either rule.
        (False, 0.3, [True, False]),
        (True, 0.3, [True, False]),
    ],
)
def test_thresholds_are_compared_in_double_precision(inclusive, threshold, kept):
    far = 10.0 if not inclusive else 9.0
    boxes = np.float32([[[0, 0, far, far], [0, 0, far, 10 * threshold - (1 if inclusive else 0)]]])
    ours = suppress_boxes(boxes, np.float32([[2, 1]]), threshold, 2, inclusive)
    assert ours.numpy().tolist() == [kept]
