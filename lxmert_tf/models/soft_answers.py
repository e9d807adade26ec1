"""Loss and accuracy for soft answer scores, as in VQA."""

import tensorflow as tf
from tensorflow import keras


@keras.utils.register_keras_serializable("lxmert_tf")
class SoftAnswerLoss(keras.losses.Loss):
    """Sigmoid cross-entropy against soft scores, summed over the answers, averaged over the batch.

    The fine-tuning loss of the release for VQA and GQA.

    Args:
        reduction: As for `keras.losses.Loss`.
        name: Name of the loss.

    Call arguments:
        y_true: Scores [B, A] in 0..1.
        y_pred: Logits [B, A].

    Example:
        from lxmert_tf import SoftAnswerLoss

        loss = SoftAnswerLoss()([[1.0, 0.3]], [[2.0, -1.0]])
    """

    def __init__(self, reduction=keras.losses.Reduction.AUTO, name="soft_answer_loss"):
        super().__init__(reduction=reduction, name=name)

    def call(self, y_true, y_pred):
        y_true = tf.cast(y_true, tf.float32)
        y_pred = tf.cast(y_pred, tf.float32)
        terms = tf.nn.sigmoid_cross_entropy_with_logits(labels=y_true, logits=y_pred)
        return tf.reduce_sum(terms, axis=-1)


@keras.utils.register_keras_serializable("lxmert_tf")
class SoftAccuracy(keras.metrics.Mean):
    """VQA accuracy: the soft score of the answer with the highest logit, averaged over questions.

    Args:
        name: Name of the metric.
        dtype: Dtype of the result.

    `update_state` takes scores [B, A] in 0..1 and logits [B, A].

    Example:
        from lxmert_tf import SoftAccuracy

        accuracy = SoftAccuracy()([[1.0, 0.3]], [[2.0, -1.0]])
    """

    def __init__(self, name="soft_accuracy", dtype=None):
        super().__init__(name=name, dtype=dtype)

    def update_state(self, y_true, y_pred, sample_weight=None):
        top = tf.argmax(y_pred, axis=-1)
        earned = tf.gather(tf.cast(y_true, tf.float32), top, batch_dims=1)
        return super().update_state(earned, sample_weight=sample_weight)
