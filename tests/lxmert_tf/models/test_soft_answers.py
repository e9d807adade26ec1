"""The loss and the accuracy of soft answers, against numbers worked out by hand."""

import math

import numpy as np
import pytest
import tensorflow as tf
from tensorflow import keras

from lxmert_tf import SoftAccuracy, SoftAnswerLoss

TARGETS = np.float32([[1, 0, 0.3], [0, 0, 0]])
LOGITS = np.float32([[2, -1, 0], [0, 0, -3]])


def softplus(x):
    return math.log1p(math.exp(x))


# -t log sigmoid(x) - (1 - t) log(1 - sigmoid(x)), that is softplus(x) - t x, summed over answers.
ROWS = [
    (softplus(2) - 2) + softplus(-1) + softplus(0),
    softplus(0) + softplus(0) + softplus(-3),
]


def test_the_loss_is_summed_over_answers_and_averaged_over_questions():
    assert float(SoftAnswerLoss()(TARGETS, LOGITS)) == pytest.approx(sum(ROWS) / 2, rel=1e-6)
    rows = SoftAnswerLoss(reduction="none")(TARGETS, LOGITS)
    np.testing.assert_allclose(rows, ROWS, rtol=1e-6)


def test_the_loss_takes_sample_weights():
    weighted = SoftAnswerLoss()(TARGETS, LOGITS, sample_weight=np.float32([1, 0]))
    assert float(weighted) == pytest.approx(ROWS[0] / 2, rel=1e-6)


def test_the_loss_is_exact_where_a_sigmoid_is_flat():
    loss = SoftAnswerLoss()(np.float32([[1, 0]]), np.float32([[-80, 80]]))
    assert float(loss) == pytest.approx(160, rel=1e-6)


def test_the_loss_of_bfloat16_logits_is_float32():
    loss = SoftAnswerLoss()(TARGETS, tf.cast(LOGITS, tf.bfloat16))
    assert loss.dtype == tf.float32
    # These logits are exact in bfloat16.
    assert float(loss) == pytest.approx(sum(ROWS) / 2, rel=1e-6)


def test_the_accuracy_is_the_score_of_the_top_answer():
    metric = SoftAccuracy()
    metric.update_state([[1.0, 0.0, 0.3]], [[2.0, -1.0, 0.0]])
    assert float(metric.result()) == 1.0
    metric.update_state([[1.0, 0.0, 0.3], [0.0, 0.0, 0.0]], [[0.0, 1.0, 5.0], [0.0, 0.0, 1.0]])
    assert float(metric.result()) == pytest.approx((1 + 0.3 + 0) / 3)
    metric.reset_state()
    assert float(metric.result()) == 0


def test_the_accuracy_takes_sample_weights():
    metric = SoftAccuracy()
    metric.update_state(
        [[1.0, 0.0], [0.0, 1.0]], [[1.0, 0.0], [1.0, 0.0]], sample_weight=[3.0, 1.0]
    )
    assert float(metric.result()) == 0.75


def test_both_come_back_from_their_configs():
    loss = keras.losses.deserialize(keras.losses.serialize(SoftAnswerLoss(name="answers")))
    assert (type(loss), loss.name) == (SoftAnswerLoss, "answers")
    metric = keras.metrics.deserialize(keras.metrics.serialize(SoftAccuracy(name="accuracy")))
    assert (type(metric), metric.name) == (SoftAccuracy, "accuracy")
