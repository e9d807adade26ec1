"""The losses of the five pre-training tasks, exactly as the release computes them.

Each is a sum over items and the number (or weight) that divides it, kept apart, so that several
replicas can add both up before they divide.
"""

import dataclasses
from collections.abc import Callable, Mapping

import tensorflow as tf

from lxmert_tf.models.config import PRETRAINING_TASKS

# A label that says: not this one.
IGNORED = -1
# The release multiplies the losses over regions by one over the rate at which it masks them.
REGION_LOSS_SCALE = 1 / 0.15


@dataclasses.dataclass(frozen=True)
class LossTerm:
    """One loss: `total / count`.

    Args:
        total: the summed loss, a float32 scalar.
        count: what it is divided by, a float32 scalar; zero if there is nothing to learn from.
    """

    total: tf.Tensor
    count: tf.Tensor

    def mean(self) -> tf.Tensor:
        """The loss; zero where nothing counted."""
        return tf.math.divide_no_nan(self.total, self.count)


def masked_lm_loss(outputs, targets) -> LossTerm:
    """Cross-entropy over the masked word pieces: `masked_lm_labels` [B, T], -1 elsewhere.

    `masked_lm_logits` are [B, T, V], or [M, V] of the masked pieces alone, as `masked_words` gives
    them.
    """
    return _labelled(*_logits_and_labels("masked_lm", outputs, targets))


def matched_loss(outputs, targets) -> LossTerm:
    """Cross-entropy of `matched_labels` [B]: 1 if the sentence is of this image, else 0."""
    return _labelled(outputs["matched_logits"], targets["matched_labels"])


def answers_loss(outputs, targets) -> LossTerm:
    """Cross-entropy of `answer_labels` [B], -1 where there is no answer to learn."""
    return _labelled(outputs["answer_logits"], targets["answer_labels"])


def objects_loss(outputs, targets) -> LossTerm:
    """Cross-entropy of the detected object times the detector's CONFIDENCE, over ALL regions.

    Not only over the masked ones: so does the release. `object_labels` and `object_confidences`
    [B, R]; the mean is over every region of the batch.
    """
    return _confident(
        outputs["object_logits"], targets["object_labels"], targets["object_confidences"]
    )


def attributes_loss(outputs, targets) -> LossTerm:
    """As `objects_loss`, with `attribute_labels` and `attribute_confidences`."""
    return _confident(
        outputs["attribute_logits"], targets["attribute_labels"], targets["attribute_confidences"]
    )


def region_features_loss(outputs, targets) -> LossTerm:
    """Smooth L1 (beta 1), averaged over the features, of the masked regions.

    `region_feature_targets` [B, R, F] and `region_feature_mask` [B, R]; the mean is over every
    region of the batch. `region_feature_predictions` are [B, R, F], or [M, F] of the masked regions
    alone, as `masked_regions` gives them.
    """
    places = masked_regions(targets)
    predictions = outputs["region_feature_predictions"]
    if predictions.shape.rank == 3:
        predictions = tf.gather_nd(predictions, places)
    difference = predictions - tf.gather_nd(targets["region_feature_targets"], places)
    size = tf.abs(difference)
    smooth = tf.where(size < 1.0, 0.5 * tf.square(difference), size - 0.5)
    total = tf.reduce_sum(tf.reduce_mean(smooth, axis=-1))
    return LossTerm(REGION_LOSS_SCALE * total, _size(targets["region_feature_mask"]))


def masked_words(targets) -> tf.Tensor:
    """Where words are to be predicted: int64 [M, 2], (example, piece)."""
    return tf.where(tf.not_equal(targets["masked_lm_labels"], IGNORED))


def masked_regions(targets) -> tf.Tensor:
    """Where features are to be predicted: int64 [M, 2], (example, region)."""
    return tf.where(tf.cast(targets["region_feature_mask"], tf.bool))


# The loss of each pre-training task: the function above that is named for it.
LOSSES: dict[str, Callable[[Mapping, Mapping], LossTerm]] = {
    task: globals()[f"{task}_loss"] for task in PRETRAINING_TASKS
}


def target_counts(targets) -> dict[str, tf.Tensor]:
    """What each loss of these targets is divided by: the `count` of its `LossTerm`.

    Known before the model is called, so that parts of a batch can be divided by the whole's.
    """
    return {
        "masked_lm": tf.reduce_sum(_counted(targets["masked_lm_labels"])),
        "matched": tf.reduce_sum(_counted(targets["matched_labels"])),
        "objects": _size(targets["object_labels"]),
        "attributes": _size(targets["attribute_labels"]),
        "region_features": _size(targets["region_feature_mask"]),
        "answers": tf.reduce_sum(_counted(targets["answer_labels"])),
    }


# The tasks that choose a class: their logits and labels.
LABELLED = {
    "masked_lm": ("masked_lm_logits", "masked_lm_labels"),
    "matched": ("matched_logits", "matched_labels"),
    "objects": ("object_logits", "object_labels"),
    "attributes": ("attribute_logits", "attribute_labels"),
    "answers": ("answer_logits", "answer_labels"),
}


def accuracy(name: str, outputs, targets) -> tuple[tf.Tensor, tf.Tensor]:
    """Which of the predictions of a labelled task are right, and which count (1.0 or 0.0)."""
    logits, labels = _logits_and_labels(name, outputs, targets)
    labels = tf.cast(labels, tf.int32)
    top = tf.argmax(logits, axis=-1, output_type=tf.int32)
    return tf.cast(tf.equal(top, labels), tf.float32), _counted(labels)


def _logits_and_labels(name: str, outputs, targets):
    logits, labels = (values[key] for values, key in zip((outputs, targets), LABELLED[name]))
    if logits.shape.rank == labels.shape.rank:
        # Of the masked places alone.
        labels = tf.boolean_mask(labels, tf.not_equal(labels, IGNORED))
    return logits, labels


def _labelled(logits, labels) -> LossTerm:
    labels, counted = tf.cast(labels, tf.int32), _counted(labels)
    return LossTerm(tf.reduce_sum(_cross_entropy(logits, labels) * counted), tf.reduce_sum(counted))


def _confident(logits, labels, confidences) -> LossTerm:
    labels = tf.cast(labels, tf.int32)
    weights = tf.where(tf.equal(labels, IGNORED), 0.0, tf.cast(confidences, tf.float32))
    total = tf.reduce_sum(_cross_entropy(logits, labels) * weights)
    return LossTerm(REGION_LOSS_SCALE * total, _size(labels))


def _counted(labels):
    return tf.cast(tf.not_equal(labels, IGNORED), tf.float32)


def _size(values):
    return tf.cast(tf.size(values), tf.float32)


def _cross_entropy(logits, labels):
    # An ignored label must be a class all the same: the kernel would give NaN, which a weight of
    # zero does not heal.
    return tf.nn.sparse_softmax_cross_entropy_with_logits(tf.maximum(labels, 0), logits)
