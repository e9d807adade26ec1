"""Train the same model on one device and on two.

    python -m tests.lxmert_tf.training.two_devices FILE

A process of its own, because the devices of a process cannot be changed. Writes the trained
weights to FILE.
"""

import os
import sys

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
import tensorflow as tf
from tensorflow import keras

from lxmert_tf import LxmertAnswerClassifier, SoftAccuracy, SoftAnswerLoss
from lxmert_tf.training.checkpointing import TrainingCheckpoints
from lxmert_tf.training.optimization import BertAdamW, WarmupLinearDecay
from lxmert_tf.training.strategy import mirrored_strategy
from tests.lxmert_tf.samples import CONFIG, config, model_inputs

SIZES = config(language_layers=0, relationship_layers=0, cross_layers=1)
# Repeated words have gradients that come as slices from both replicas. Of a batch of three, one
# replica gets two examples and the other one; of the last batch one gets one and the other none.
INPUTS = model_inputs([7, 4, 5, 7, 2, 6, 7], [5, 3, 1, 2, 5, 5, 4])


def train(strategy):
    """Train a model under a strategy; return its weights, moments, and losses by name."""
    keras.utils.set_random_seed(0)
    targets = np.random.default_rng(0).uniform(size=[7, CONFIG.num_answers]).astype(np.float32)
    with strategy.scope():
        model = LxmertAnswerClassifier(SIZES, name="model")
        # Without clipping, so that the moments show the size of the gradients. With a large
        # epsilon, because the gradient of the keys' bias is rounding error, which Adam enlarges.
        optimizer = BertAdamW(WarmupLinearDecay(1e-2, 9, 0.3), clip_norm=None, epsilon=1e-2)
        model.compile(optimizer, loss=SoftAnswerLoss(), metrics=[SoftAccuracy()])
    # Makes the optimizer's variables outside of the scope, as in a run.
    TrainingCheckpoints("none", model, optimizer, keep=1)
    before = {variable.name: variable.numpy() for variable in model.weights}
    batches = tf.data.Dataset.from_tensor_slices((INPUTS, targets)).batch(3)
    history = model.fit(batches, epochs=3, verbose=0).history
    return {
        **{f"before/{name}": value for name, value in before.items()},
        **{f"weights/{variable.name}": variable.numpy() for variable in model.weights},
        **{f"optimizer/{v.name}": v.numpy() for v in optimizer.variables},
        **{f"history/{name}": np.array(values) for name, values in history.items()},
        "gradient_norm": np.array(optimizer.gradient_norm),
    }


def summed_losses(strategy, loss) -> float:
    """Return the sum of the losses of two examples on the first replica and one on the second."""
    with strategy.scope():
        model = LxmertAnswerClassifier(SIZES)
        model.compile("sgd", loss)

    def replica_loss():
        first = tf.distribute.get_replica_context().replica_id_in_sync_group == 0
        rows = tf.cond(first, lambda: tf.constant([[1.0], [2.0]]), lambda: tf.constant([[6.0]]))
        return model.compute_loss(y=tf.zeros_like(rows), y_pred=rows)

    losses = tf.function(lambda: strategy.run(replica_loss))()
    return strategy.reduce("SUM", losses, axis=None).numpy()


def clipped_step(strategy, gradients) -> np.ndarray:
    """Return the first moment after a step with another gradient (rows, ids) on each replica."""
    with strategy.scope():
        table = tf.Variable(tf.ones([4, 3]))
        optimizer = BertAdamW(0.1, clip_norm=1.0)
        optimizer.build([table])
        _, moment, _ = optimizer.variables  # The first is the number of steps.

    def step():
        replica = tf.distribute.get_replica_context().replica_id_in_sync_group
        rows, ids = (tf.gather(tf.stack(values), replica) for values in zip(*gradients))
        slices = tf.IndexedSlices(rows, ids, tf.constant([4, 3]))
        optimizer.apply_gradients([(slices, table)])

    tf.function(lambda: strategy.run(step))()
    return moment.numpy()


def main(path: str) -> None:
    cpu = tf.config.list_physical_devices("CPU")[0]
    tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
    two = mirrored_strategy()
    results = {"replicas": np.array(two.num_replicas_in_sync)}
    for devices, strategy in (("one", tf.distribute.get_strategy()), ("two", two)):
        results |= {f"{devices}/{name}": value for name, value in train(strategy).items()}
    gradients = [(np.ones([2, 3], np.float32), [1, 1]), (np.full([2, 3], 2, np.float32), [1, 2])]
    results["clipped"] = clipped_step(two, gradients)
    for reduction in ("auto", "sum"):
        loss = keras.losses.MeanAbsoluteError(reduction=reduction)
        results[f"{reduction}_loss"] = summed_losses(two, loss)
    np.savez(path, **results)


if __name__ == "__main__":
    main(sys.argv[1])
