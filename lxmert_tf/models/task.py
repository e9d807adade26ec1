"""The base class of models with heads: their training steps and dropout."""

import tensorflow as tf
from tensorflow import keras

from lxmert_tf.layers.dropout import dropout_keys
from lxmert_tf.models.backbone import LxmertBackbone
from lxmert_tf.models.presets import PresetModel


class TaskModel(PresetModel):
    """A backbone with heads, whose dropout depends on a seed and the step alone.

    Training that is resumed at a step therefore goes on as it would have without interruption.

    Args:
        backbone: The backbone.
        inputs: Symbolic inputs by name.
        outputs: Symbolic outputs, of a graph that goes on from the backbone's.
        **kwargs: See `PresetModel`.

    Attributes:
        backbone: The backbone, whose layers are layers of this model.
        dropout_seed: Seed of dropout. May be set before the model is traced.
        packing: Whether `fit`, `evaluate` and `predict` leave out padded tokens, absent regions
            and outputs that no loss reads. Results are the same; XLA, which compiles for fixed
            shapes, never packs. May be set before the model is traced.
    """

    dropout_seed = 0
    packing = True

    def __init__(self, backbone: LxmertBackbone, inputs, outputs, **kwargs):
        super().__init__(inputs, outputs, **kwargs)
        # The graph has the backbone's layers already; Keras would list them a second time.
        object.__setattr__(self, "backbone", backbone)

    def get_config(self):
        """Return the arguments of the constructor, and the attributes that training sets."""
        return {
            **super().get_config(),
            "dropout_seed": self.dropout_seed,
            "packing": self.packing,
            "freeze_first_rows": self.backbone.language_embeddings.freeze_first_rows,
        }

    @classmethod
    def from_config(cls, config, custom_objects=None):
        """Return a model with fresh weights and the attributes of the config."""
        config = dict(config)
        attributes = {
            name: config.pop(name) for name in ("dropout_seed", "packing") if name in config
        }
        freeze_first_rows = config.pop("freeze_first_rows", False)
        model = super().from_config(config, custom_objects)
        for name, value in attributes.items():
            setattr(model, name, value)
        model.backbone.language_embeddings.freeze_first_rows = freeze_first_rows
        return model

    @property
    def packs(self) -> bool:
        """True if `fit`, `evaluate` and `predict` leave out padding."""
        return self.packing and not self.jit_compile

    def dropout_keys(self, part=0, parts: int = 1):
        """Return the context in which a training step calls the model.

        Args:
            part: Index of the part of the batch, an integer or an integer scalar tensor.
            parts: Number of parts of the batch.
        """
        replica = tf.distribute.get_replica_context().replica_id_in_sync_group
        replicas = tf.distribute.get_strategy().num_replicas_in_sync
        step = tf.cast(self.optimizer.iterations, tf.int64)
        number = step * replicas + tf.cast(replica, tf.int64)
        return dropout_keys(self.dropout_seed, number * parts + tf.cast(part, tf.int64))

    def make_train_function(self, force=False):
        """Make Keras's training function; the optimizer is built first, which saves a trace."""
        build_optimizer(self.optimizer, self.trainable_variables)
        return super().make_train_function(force)

    def train_step(self, data):
        """Train on one batch."""
        with self.dropout_keys():
            return super().train_step(data)

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None):
        """Return the compiled loss; the losses of the replicas sum to that of the whole batch.

        Keras divides the mean over a replica's examples by the number of replicas, which is right
        only where all have the same number. In the last batch of an epoch some may have fewer.
        """
        loss = super().compute_loss(x, y, y_pred, sample_weight)
        replicas = tf.distribute.get_strategy().num_replicas_in_sync
        if loss is None or replicas == 1 or self._sums_examples():
            return loss
        rows = tf.cast(tf.shape(tf.nest.flatten(y_pred)[0])[0], loss.dtype)
        all_rows = tf.distribute.get_replica_context().all_reduce("SUM", rows)
        return loss * (rows * replicas / all_rows)

    def _sums_examples(self) -> bool:
        # A sum over the batch is the sum over its replicas already.
        losses = tf.nest.flatten(self.loss)
        total = keras.losses.Reduction.SUM
        return any(getattr(loss, "reduction", None) == total for loss in losses)


def build_optimizer(optimizer, variables) -> None:
    """Make an optimizer's variables before its first step, also for heads that are switched off.

    Args:
        optimizer: A Keras optimizer, of the legacy kind or not.
        variables: The variables that it is to update.
    """
    if isinstance(optimizer, keras.optimizers.legacy.Optimizer):
        # What its first step does; these optimizers have no public method for it.
        optimizer._create_all_weights(variables)
    else:
        optimizer.build(variables)
