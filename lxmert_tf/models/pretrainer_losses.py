"""The losses of the five pre-training tasks, exactly as the release computes them.

Each loss is a sum over items and the number that divides it. The two are kept apart, so that
replicas can add up both before they divide.
"""

import dataclasses
from collections.abc import Callable, Mapping

import tensorflow as tf

# The label of items that do not count.
IGNORED = -1
# The release divides the losses over regions by the rate at which it masks them.
REGION_LOSS_SCALE = 1 / 0.15


@dataclasses.dataclass(frozen=True)
class LossTerm:
    """One loss: `total / count`.

    Args:
        total: The summed loss, a float32 scalar.
        count: What it is divided by, a float32 scalar; zero if no item counts.
    """

    total: tf.Tensor
    count: tf.Tensor

    def mean(self) -> tf.Tensor:
        """Return the loss; zero if no item counts."""
        return tf.math.divide_no_nan(self.total, self.count)


def masked_lm_loss(outputs, targets) -> LossTerm:
    """Return the cross-entropy over the masked word pieces (paper section 3.1.1).

    Args:
        outputs: `masked_lm_logits` [B, T, V], or [M, V] of the masked pieces alone, in the order of
            `masked_words`.
        targets: `masked_lm_labels` int [B, T], -1 where a piece is not masked.
    """
    return _labeled(*_logits_and_labels("masked_lm", outputs, targets))


def matched_loss(outputs, targets) -> LossTerm:
    """Return the cross-entropy of cross-modality matching (paper section 3.1.3).

    Args:
        outputs: `matched_logits` [B, 2].
        targets: `matched_labels` int [B], 1 if the sentence belongs to the image, else 0.
    """
    return _labeled(outputs["matched_logits"], targets["matched_labels"])


def answers_loss(outputs, targets) -> LossTerm:
    """Return the cross-entropy of image question answering (paper section 3.1.3).

    Args:
        outputs: `answer_logits` [B, A].
        targets: `answer_labels` int [B], -1 where there is no answer to learn.
    """
    return _labeled(outputs["answer_logits"], targets["answer_labels"])


def objects_loss(outputs, targets) -> LossTerm:
    """Return the cross-entropy of the detected objects (paper section 3.1.2).

    As in the release, each region counts with the detector's confidence, and all regions of the
    batch count, not only the masked ones.

    Args:
        outputs: `object_logits` [B, R, num_objects].
        targets: `object_labels` int [B, R], -1 where there is none, and `object_confidences`
            float [B, R].
    """
    return _confident(
        outputs["object_logits"], targets["object_labels"], targets["object_confidences"]
    )


def attributes_loss(outputs, targets) -> LossTerm:
    """Return the cross-entropy of the detected attributes; see `objects_loss`.

    Args:
        outputs: `attribute_logits` [B, R, num_attributes].
        targets: `attribute_labels` int [B, R] and `attribute_confidences` float [B, R].
    """
    return _confident(
        outputs["attribute_logits"], targets["attribute_labels"], targets["attribute_confidences"]
    )


def region_features_loss(outputs, targets) -> LossTerm:
    """Return the smooth L1 loss (beta 1) of the masked regions (paper section 3.1.2).

    It is averaged over the feature axis and over all regions of the batch.

    Args:
        outputs: `region_feature_predictions` [B, R, F], or [M, F] of the masked regions alone, in
            the order of `masked_regions`.
        targets: `region_feature_targets` [B, R, F] and `region_feature_mask` [B, R], 1 = masked.
    """
    positions = masked_regions(targets)
    predictions = outputs["region_feature_predictions"]
    if predictions.shape.rank == 3:
        predictions = tf.gather_nd(predictions, positions)
    difference = predictions - tf.gather_nd(targets["region_feature_targets"], positions)
    size = tf.abs(difference)
    smooth = tf.where(size < 1.0, 0.5 * tf.square(difference), size - 0.5)
    total = tf.reduce_sum(tf.reduce_mean(smooth, axis=-1))
    return LossTerm(REGION_LOSS_SCALE * total, _size(targets["region_feature_mask"]))


def masked_words(targets) -> tf.Tensor:
    """Return the positions of the masked word pieces, int64 [M, 2]: (example, piece)."""
    return tf.where(tf.not_equal(targets["masked_lm_labels"], IGNORED))


def masked_regions(targets) -> tf.Tensor:
    """Return the positions of the masked regions, int64 [M, 2]: (example, region)."""
    return tf.where(tf.cast(targets["region_feature_mask"], tf.bool))


# The loss of each of `PRETRAINING_TASKS`, in the order of the release.
LOSSES: dict[str, Callable[[Mapping, Mapping], LossTerm]] = {
    "masked_lm": masked_lm_loss,
    "matched": matched_loss,
    "objects": objects_loss,
    "attributes": attributes_loss,
    "region_features": region_features_loss,
    "answers": answers_loss,
}


def target_counts(targets) -> dict[str, tf.Tensor]:
    """Return what each loss is divided by: the `count` of its `LossTerm`.

    The targets alone decide it, so that parts of a batch can be divided by the count of the whole.

    Args:
        targets: Targets of a batch.

    Returns:
        Float32 scalars by name of the loss.
    """
    return {
        "masked_lm": tf.reduce_sum(_counted(targets["masked_lm_labels"])),
        "matched": tf.reduce_sum(_counted(targets["matched_labels"])),
        "objects": _size(targets["object_labels"]),
        "attributes": _size(targets["attribute_labels"]),
        "region_features": _size(targets["region_feature_mask"]),
        "answers": tf.reduce_sum(_counted(targets["answer_labels"])),
    }


# The tasks that choose a class: the names of their logits and labels.
LABELED = {
    "masked_lm": ("masked_lm_logits", "masked_lm_labels"),
    "matched": ("matched_logits", "matched_labels"),
    "objects": ("object_logits", "object_labels"),
    "attributes": ("attribute_logits", "attribute_labels"),
    "answers": ("answer_logits", "answer_labels"),
}


def accuracy(name: str, outputs, targets) -> tuple[tf.Tensor, tf.Tensor]:
    """Return which predictions of a labeled task are right, and which count, each 1.0 or 0.0.

    Args:
        name: A task of `LABELED`.
        outputs: Outputs of the model.
        targets: Targets of the batch.
    """
    logits, labels = _logits_and_labels(name, outputs, targets)
    labels = tf.cast(labels, tf.int32)
    top = tf.argmax(logits, axis=-1, output_type=tf.int32)
    return tf.cast(tf.equal(top, labels), tf.float32), _counted(labels)


def counted_labels(name: str, outputs, targets) -> tuple[tf.Tensor, tf.Tensor]:
    """Return the labels [M] and logits [M, classes] of a labeled task where there is a label.

    Args:
        name: A task of `LABELED`.
        outputs: Outputs of the model.
        targets: Targets of the batch.
    """
    logits, labels = _logits_and_labels(name, outputs, targets)
    counted = tf.where(tf.not_equal(labels, IGNORED))
    return tf.gather_nd(labels, counted), tf.gather_nd(logits, counted)


def _logits_and_labels(name: str, outputs, targets):
    logits, labels = (values[key] for values, key in zip((outputs, targets), LABELED[name]))
    if logits.shape.rank == labels.shape.rank:
        # Logits of the masked positions alone.
        labels = tf.boolean_mask(labels, tf.not_equal(labels, IGNORED))
    return logits, labels


def _labeled(logits, labels) -> LossTerm:
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
    # An ignored label must still be a class: for another number the kernel returns NaN, which a
    # weight of zero does not remove.
    return tf.nn.sparse_softmax_cross_entropy_with_logits(tf.maximum(labels, 0), logits)
