"""The model of the pre-training tasks, and how a step trains it."""

from typing import Any

import tensorflow as tf
from tensorflow import keras

from lxmert_tf.layers.heads import AnswerHead, MaskedLMHead, RegionHead
from lxmert_tf.models.backbone import LxmertBackbone
from lxmert_tf.models.config import LxmertConfig
from lxmert_tf.models.pretrainer_losses import (
    LABELLED,
    LOSSES,
    accuracy,
    masked_regions,
    masked_words,
    target_counts,
)
from lxmert_tf.models.task import TaskModel


@keras.utils.register_keras_serializable("lxmert_tf")
class LxmertPretrainer(TaskModel):
    """LXMERT with the heads of its pre-training tasks (paper section 3.1-3.3).

    Args:
        config: sizes and rates.
        **kwargs: see `PresetModel`.

    Call arguments:
        inputs: as for `LxmertBackbone`.

    Returns:
        a dict, all float32: `masked_lm_logits` [B, T, V], `matched_logits` [B, 2] (1 = the
        sentence is of this image), `object_logits` [B, R, num_objects], `attribute_logits`
        [B, R, num_attributes], `region_feature_predictions` [B, R, F], `answer_logits` [B, A];
        with `output_attentions` also `attentions`.

    Example:
        model = LxmertPretrainer(config)
        model.compile(BertAdamW(1e-4), loss_weights={"answers": 0.0})
        model.fit(batches)  # of (inputs, targets), targets as in `pretraining_losses`
    """

    def __init__(self, config: LxmertConfig | dict[str, Any], **kwargs):
        super().__init__(config, **kwargs)
        self.backbone = LxmertBackbone(self.config, dtype=self.dtype_policy, name="backbone")
        head = {
            "hidden_act": self.config.hidden_act,
            "epsilon": self.config.layer_norm_eps,
            "initializer_range": self.config.initializer_range,
            "dtype": self.dtype_policy,
        }
        self.masked_lm_head = MaskedLMHead(self.config.vocab_size, name="masked_lm_head", **head)
        self.region_head = RegionHead(
            self.config.num_objects,
            self.config.num_attributes,
            self.config.region_feature_size,
            name="region_head",
            **head,
        )
        self.answer_head = AnswerHead(self.config.num_answers, name="answer_head", **head)
        self.matched_head = keras.layers.Dense(
            2,
            kernel_initializer=keras.initializers.RandomNormal(
                stddev=self.config.initializer_range
            ),
            dtype=self.dtype_policy,
            name="matched_head",
        )
        self.build_variables()
        self._told = None

    def call(self, inputs, training=None, output_attentions=None):
        wanted = self.output_attentions if output_attentions is None else output_attentions
        states = self.backbone(inputs, training=training, output_attentions=wanted)
        outputs = self._heads(states, states["language_output"])
        if wanted:
            outputs["attentions"] = states["attentions"]
        return outputs

    def outputs_at_targets(self, inputs, targets, training: bool):
        """What the losses of `targets` read of a call's outputs.

        Args:
            inputs, targets: of a batch.
            training: whether dropout is on.

        Returns:
            as a call, but `masked_lm_logits` [M, V] and `region_feature_predictions` [M, F] of the
            masked words and regions alone (all with `shortcuts` off or XLA).
        """
        # What is masked is another number in each batch, and XLA compiles for fixed shapes.
        if not self.shortcuts or self.jit_compile:
            return self(inputs, training=training, output_attentions=False)
        states = self.backbone.compute(inputs, training=training, packed=True)
        words = tf.gather_nd(states["language_output"], masked_words(targets))
        return self._heads(states, words, masked_regions(targets))

    def _heads(self, states, words, feature_places=None):
        pooled = states["pooled_output"]
        objects, attributes, features = self.region_head(states["vision_output"], feature_places)
        return {
            "masked_lm_logits": self.masked_lm_head(words, self.backbone.word_embeddings),
            "matched_logits": tf.cast(self.matched_head(pooled), tf.float32),
            "object_logits": objects,
            "attribute_logits": attributes,
            "region_feature_predictions": features,
            "answer_logits": self.answer_head(pooled),
        }

    def compile(self, optimizer="rmsprop", loss_weights=None, accumulation_steps=1, **kwargs):
        """As `keras.Model.compile`; the losses are the pre-training tasks'.

        Args:
            optimizer: a Keras optimizer, such as `BertAdamW`.
            loss_weights: by name of `LOSSES`; a loss that is not named has weight 1, a weight of 0
                switches it off.
            accumulation_steps: the parts that a batch is cut into, one after the other, so that
                it needs the memory of a part; the step is that of the whole batch.
            **kwargs: `steps_per_execution`, `jit_compile`, `run_eagerly`.

        Raises:
            ValueError: a name is none of a loss, or a loss of one's own is given.
        """
        if "loss" in kwargs:
            raise ValueError("the losses are the pre-training tasks'; choose by loss_weights")
        loss_weights = loss_weights or {}
        unknown = set(loss_weights) - set(LOSSES)
        if unknown:
            raise ValueError(f"no loss is named {sorted(unknown)[0]!r}; there are {list(LOSSES)}")
        weights = {name: float(loss_weights.get(name, 1.0)) for name in LOSSES}
        self._told = _Told({name: weight for name, weight in weights.items() if weight})
        self._accumulation_steps = accumulation_steps
        super().compile(optimizer=optimizer, **kwargs)

    @property
    def metrics(self):
        """Each loss that is on and each accuracy, over an epoch."""
        return self._told.all() if self._told else []

    def train_step(self, data):
        """One step on (inputs, targets)."""
        counts = self._counts_everywhere(data[1])
        if self._accumulation_steps == 1:
            gradients = self._gradients(data, counts)
        else:
            gradients = self._accumulated_gradients(data, counts)
        # The heads of tasks that are switched off have none.
        pairs = [(g, v) for g, v in zip(gradients, self.trainable_variables) if g is not None]
        self.optimizer.apply_gradients(pairs)
        return {metric.name: metric.result() for metric in self.metrics}

    def test_step(self, data):
        """Losses and accuracies of (inputs, targets)."""
        inputs, targets = data
        outputs = self.outputs_at_targets(inputs, targets, training=False)
        self._total_loss(outputs, targets, self._counts_everywhere(targets))
        return {metric.name: metric.result() for metric in self.metrics}

    def _counts_everywhere(self, targets) -> dict[str, tf.Tensor]:
        # Replicas have different numbers of masked words; the division is by all of them.
        replica = tf.distribute.get_replica_context()
        counts = target_counts(targets)
        return {name: replica.all_reduce("SUM", counts[name]) for name in self._told.weights}

    def _gradients(self, data, counts, part=0):
        inputs, targets = data
        parts = self._accumulation_steps
        with tf.GradientTape() as tape, self.dropout_keys(part, parts):
            outputs = self.outputs_at_targets(inputs, targets, training=True)
            total = self._total_loss(outputs, targets, counts, parts)
        return tape.gradient(total, self.trainable_variables)

    def _accumulated_gradients(self, data, counts):
        rows = tf.shape(data[1]["matched_labels"])[0]
        size = tf.cast(tf.math.ceil(rows / self._accumulation_steps), tf.int32)
        idle = []

        def add_part(part, sums):
            some = tf.nest.map_structure(lambda t: t[part * size : (part + 1) * size], data)
            gradients = self._gradients(some, counts, part)
            idle[:] = [gradient is None for gradient in gradients]
            # As dense tensors: an embedding's slices cannot be added up in a loop.
            added = [
                s if g is None else s + tf.convert_to_tensor(g) for s, g in zip(sums, gradients)
            ]
            return part + 1, added

        _, sums = tf.while_loop(
            lambda part, _: part < self._accumulation_steps,
            add_part,
            (0, [tf.zeros_like(variable) for variable in self.trainable_variables]),
            # One part at a time is what saves the memory.
            parallel_iterations=1,
        )
        return [None if without else total for without, total in zip(idle, sums)]

    def _total_loss(self, outputs, targets, counts, parts=1):
        """This replica's part of the loss of the whole batch; replicas' gradients are summed."""
        total = 0.0
        told = self._told
        for name, weight in told.weights.items():
            term = LOSSES[name](outputs, targets)
            total += weight * tf.math.divide_no_nan(term.total, counts[name])
            told.losses[name].update_state(term.mean(), sample_weight=term.count)
            if name in told.accuracies:
                right, counted = accuracy(name, outputs, targets)
                told.accuracies[name].update_state(right, sample_weight=counted)
        # Replicas and parts of a batch each have a share of its loss.
        told.total.update_state(total * tf.distribute.get_strategy().num_replicas_in_sync * parts)
        return total


class _Told:
    """The losses that are on, with their weights, and what is told of them over an epoch.

    Apart from the model, which would count the metrics' variables among its weights.
    """

    def __init__(self, weights: dict[str, float]):
        self.weights = weights
        self.total = keras.metrics.Mean(name="loss")
        self.losses = {name: keras.metrics.Mean(name=f"{name}_loss") for name in weights}
        self.accuracies = {
            name: keras.metrics.Mean(name=f"{name}_accuracy")
            for name in weights
            if name in LABELLED
        }

    def all(self) -> list[keras.metrics.Metric]:
        """Every metric, the total first."""
        return [self.total, *self.losses.values(), *self.accuracies.values()]
