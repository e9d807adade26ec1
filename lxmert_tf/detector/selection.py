"""The regions of a picture, chosen among the classified proposals; a layer for each flavor."""

from collections.abc import Sequence

import numpy as np
import tensorflow as tf
from tensorflow import keras

from lxmert_tf.detector.boxes import clip_boxes, decode_boxes
from lxmert_tf.detector.suppression import suppress_boxes, suppress_by_class

# Divisors of the box deltas of classes.
BOX_WEIGHTS = (10.0, 10.0, 5.0, 5.0)


class _Selection(keras.layers.Layer):
    """What both flavors have in common: the choice of rows, and absent regions as zeros."""

    def __init__(self, min_regions: int = 36, max_regions: int = 36, **kwargs):
        super().__init__(**kwargs)
        self.min_regions = min_regions
        self.max_regions = max_regions

    def _take(self, ranks, most, regions: dict):
        """Return the proposals with the highest ranks, the highest first.

        Args:
            ranks: float32 [B, P]; minus infinity for proposals that are not chosen.
            most: int32 [B], most regions of each picture.
            regions: Tensors [B, P, ...] by name.

        Returns:
            Tensors [B, max_regions, ...] by name, and `region_count` int32 [B].
        """
        padding = tf.maximum(self.max_regions - tf.shape(ranks)[1], 0)
        ranks = tf.pad(ranks, [[0, 0], [0, padding]], constant_values=-np.inf)
        ranks, best = tf.math.top_k(ranks, self.max_regions)
        present = (ranks > -np.inf) & tf.sequence_mask(most, self.max_regions)
        taken = {}
        for name, values in regions.items():
            margins = [[0, 0], [0, padding], *[[0, 0]] * (values.shape.rank - 2)]
            rows = tf.gather(tf.pad(values, margins), best, batch_dims=1)
            mask = tf.reshape(present, [-1, self.max_regions, *[1] * (values.shape.rank - 2)])
            taken[name] = tf.where(mask, rows, tf.zeros([], rows.dtype))
        taken["region_count"] = tf.reduce_sum(tf.cast(present, tf.int32), axis=-1)
        return taken

    def compute_output_shape(self, proposals_shape, counts_shape=None, features_shape=None):
        """Return the shapes of the regions by name."""
        lead = tf.TensorShape([tf.TensorShape(proposals_shape)[0], self.max_regions])
        width = None if features_shape is None else features_shape[-1]
        names = ("object_ids", "object_confidences", "attribute_ids", "attribute_confidences")
        return {
            **dict.fromkeys(names, lead),
            "features": lead.concatenate(width),
            "boxes": lead.concatenate(4),
            "region_count": lead[:1],
        }

    def get_config(self):
        return {
            **super().get_config(),
            "min_regions": self.min_regions,
            "max_regions": self.max_regions,
        }


@keras.utils.register_keras_serializable("lxmert_tf")
class HfSelection(_Selection):
    """The regions of the flavor "hf": moved boxes that overlap little, whatever their class.

    Args:
        thresholds: Overlaps above which the less probable box is dropped, tried in turn.
        min_regions: Regions with which a threshold is good enough.
        max_regions: Most regions R of a picture.

    Call arguments:
        proposals: float32 [B, P, 4].
        counts: int32 [B], number of proposals of each picture.
        features: float32 [B, P, F].
        object_logits: float32 [B, P, K + 1], background last.
        attribute_logits: float32 [B, P, A + 1], background last.
        box_deltas: float32 [B, P, K, 4].
        image_sizes: int32 [B, 2], height and width of each resized picture.
        scales: float32 [B, 2], pixels of the resized picture per pixel of the original, y and x.

    Returns:
        `features` [B, R, F], `boxes` [B, R, 4] in pixels of the original pictures, `object_ids` and
        `attribute_ids` int32 [B, R], `object_confidences` and `attribute_confidences` [B, R] and
        `region_count` int32 [B]. Absent regions are zeros.
    """

    def __init__(self, thresholds: Sequence[float] = (0.5, 0.6, 0.7), **kwargs):
        super().__init__(**kwargs)
        self.thresholds = list(thresholds)

    def call(
        self,
        proposals,
        counts,
        features,
        object_logits,
        attribute_logits,
        box_deltas,
        image_sizes,
        scales,
    ):
        objects, object_confidences = _best_class(tf.nn.softmax(object_logits)[..., :-1])
        # The background is left out before the softmax of attributes, but after that of objects.
        attributes, attribute_confidences = _best_class(tf.nn.softmax(attribute_logits[..., :-1]))
        deltas = tf.gather(box_deltas, objects, batch_dims=2)
        boxes = decode_boxes(tf.cast(proposals, tf.float32), deltas, BOX_WEIGHTS)
        boxes = clip_boxes(boxes, image_sizes)
        scores = tf.where(_present(proposals, counts), object_confidences, -np.inf)
        most = self.max_regions
        kept = None
        # The first threshold that keeps enough regions decides, else the last.
        for threshold in reversed(self.thresholds):
            now = suppress_boxes(boxes, scores, threshold, most)
            enough = tf.reduce_sum(tf.cast(now, tf.int32), axis=-1) >= self.min_regions
            kept = now if kept is None else tf.where(enough[:, tf.newaxis], now, kept)
        regions = {
            "features": tf.cast(features, tf.float32),
            "boxes": boxes / tf.gather(scales, [1, 0, 1, 0], axis=-1)[:, tf.newaxis],
            "object_ids": objects,
            "object_confidences": object_confidences,
            "attribute_ids": attributes,
            "attribute_confidences": attribute_confidences,
        }
        return self._take(tf.where(kept, scores, -np.inf), tf.fill(tf.shape(counts), most), regions)

    def get_config(self):
        return {**super().get_config(), "thresholds": self.thresholds}


@keras.utils.register_keras_serializable("lxmert_tf")
class CaffeSelection(_Selection):
    """The regions of the flavor "caffe", as LXMERT's extract_nlvr2_image.py chooses them.

    A proposal's confidence is its best probability among the classes in which no better proposal
    overlaps it. Proposals keep their boxes. Regions are in the order of the proposals, but if a
    bound on their number decides, the most confident come first.

    Args:
        threshold: Overlap from which the less probable box of a class is dropped.
        min_confidence: Least confidence of a region, unless fewer than `min_regions` have it.
        min_regions: Fewest regions of a picture, if it has as many proposals.
        max_regions: Most regions R of a picture.

    Call arguments and returns are those of `HfSelection`, without `box_deltas` and `image_sizes`.
    """

    def __init__(self, threshold: float = 0.3, min_confidence: float = 0.2, **kwargs):
        super().__init__(**kwargs)
        self.threshold = threshold
        self.min_confidence = min_confidence

    def call(self, proposals, counts, features, object_logits, attribute_logits, scales):
        present = _present(proposals, counts)
        probabilities = tf.nn.softmax(object_logits)[..., :-1]
        objects, object_confidences = _best_class(probabilities)
        attributes, attribute_confidences = _best_class(tf.nn.softmax(attribute_logits)[..., :-1])
        boxes = tf.cast(proposals, tf.float32)
        boxes /= tf.gather(scales, [1, 0, 1, 0], axis=-1)[:, tf.newaxis]
        by_class = tf.transpose(probabilities, [0, 2, 1])
        scores = tf.where(present[:, tf.newaxis], by_class, -np.inf)
        kept = suppress_by_class(boxes, scores, self.threshold, inclusive=True)
        confidences = tf.reduce_max(tf.where(kept, by_class, 0.0), axis=1)
        ranks, most = self._rank(confidences, present)
        regions = {
            "features": tf.cast(features, tf.float32),
            "boxes": boxes,
            "object_ids": objects,
            "object_confidences": object_confidences,
            "attribute_ids": attributes,
            "attribute_confidences": attribute_confidences,
        }
        return self._take(ranks, most, regions)

    def _rank(self, confidences, present):
        """Return ranks float32 [B, P], the highest first, and most regions int32 [B]."""
        confident = present & (confidences >= self.min_confidence)
        count = tf.reduce_sum(tf.cast(confident, tf.int32), axis=-1)
        most = tf.clip_by_value(count, self.min_regions, self.max_regions)
        in_order = -tf.cast(tf.range(tf.shape(confidences)[1]), tf.float32)
        ranks = tf.where(
            (count == most)[:, tf.newaxis],
            tf.where(confident, in_order, -np.inf),
            tf.where(present, confidences, -np.inf),
        )
        return ranks, most

    def get_config(self):
        return {
            **super().get_config(),
            "threshold": self.threshold,
            "min_confidence": self.min_confidence,
        }


def _present(proposals, counts):
    return tf.sequence_mask(counts, tf.shape(proposals)[1])


def _best_class(probabilities):
    """Return the most probable class int32 [B, P], of equal ones the first, and its probability."""
    best = tf.argmax(probabilities, axis=-1, output_type=tf.int32)
    return best, tf.reduce_max(probabilities, axis=-1)
