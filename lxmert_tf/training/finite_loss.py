"""Stops training whose loss is no number any more."""

import math

from tensorflow import keras

from lxmert_tf.errors import GateError


class StopAtInfiniteLoss(keras.callbacks.Callback):
    """Ends training with a GateError at the step whose loss is NaN or infinite.

    To be put before what saves checkpoints, so that the last one is of a step before it.
    """

    def on_train_batch_end(self, batch, logs=None):
        loss = float(logs["loss"])
        if not math.isfinite(loss):
            step = int(self.model.optimizer.iterations.numpy())
            raise GateError(
                f"the loss is {loss} at step {step}; a lower peak_learning_rate or clip_norm may "
                "help (the last checkpoint is of an earlier step)"
            )
