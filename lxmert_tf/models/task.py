"""What the models that are trained have in common."""

import tensorflow as tf
from tensorflow import keras

from lxmert_tf.layers.dropout import dropout_keys
from lxmert_tf.models.presets import PresetModel
from lxmert_tf.training.optimization import build_optimizer


class TaskModel(PresetModel):
    """A backbone with heads, whose dropout in a step depends on the step and a seed alone.

    So training that is resumed at a step goes on as it would have without the interruption.
    """

    # May be set as attributes, before the model is traced.
    dropout_seed = 0
    # Whether to leave out what the task's outputs do not depend on; they are the same.
    shortcuts = True

    def dropout_keys(self, part=0, parts: int = 1):
        """The context in which a step calls the model.

        Args:
            part: which part of the batch, an integer or an integer scalar tensor.
            parts: into how many the batch is cut.
        """
        replica = tf.distribute.get_replica_context().replica_id_in_sync_group
        replicas = tf.distribute.get_strategy().num_replicas_in_sync
        step = tf.cast(self.optimizer.iterations, tf.int64)
        number = step * replicas + tf.cast(replica, tf.int64)
        return dropout_keys(self.dropout_seed, number * parts + tf.cast(part, tf.int64))

    def shortcuts_for(self, output_attentions: bool) -> dict[str, bool]:
        """The arguments of `LxmertBackbone.compute` for a head on the pooled output.

        Args:
            output_attentions: whether those are wanted, which are of every place and layer.
        """
        # XLA compiles for fixed shapes; what is left out depends on the batch.
        packed = self.shortcuts and not output_attentions and not self.jit_compile
        return {
            "packed": packed,
            "pooled_only": self.shortcuts and not output_attentions,
            "output_attentions": output_attentions,
        }

    def make_train_function(self, force=False):
        """As Keras', which traces a function again if its first trace made variables."""
        build_optimizer(self.optimizer, self.trainable_variables)
        return super().make_train_function(force)

    def train_step(self, data):
        """One step of Keras' `fit`."""
        with self.dropout_keys():
            return super().train_step(data)

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None):
        """The compiled loss; replicas' losses sum to that of the whole batch.

        Keras divides the mean of a replica's examples by the number of replicas, which is right
        where all have as many; of the last batch of an epoch some may have fewer.
        """
        loss = super().compute_loss(x, y, y_pred, sample_weight)
        replicas = tf.distribute.get_strategy().num_replicas_in_sync
        if loss is None or replicas == 1 or self._sums_examples():
            return loss
        rows = tf.cast(tf.shape(tf.nest.flatten(y_pred)[0])[0], loss.dtype)
        of_all = tf.distribute.get_replica_context().all_reduce("SUM", rows)
        return loss * (rows * replicas / of_all)

    def _sums_examples(self) -> bool:
        # A sum over the batch is the sum of the replicas' sums already.
        losses = tf.nest.flatten(self.loss)
        total = keras.losses.Reduction.SUM
        return any(getattr(loss, "reduction", None) == total for loss in losses)
