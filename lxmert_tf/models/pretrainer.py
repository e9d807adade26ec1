"""The model of the five pre-training tasks."""

from collections.abc import Mapping
from typing import Any

import tensorflow as tf
from tensorflow import keras

from lxmert_tf.layers.dense import dense
from lxmert_tf.layers.heads import AnswerHead, MaskedLMHead, RegionHead
from lxmert_tf.models.backbone import LxmertBackbone
from lxmert_tf.models.config import LxmertConfig
from lxmert_tf.models.presets import dtype_policy
from lxmert_tf.models.pretrainer_losses import (
    LABELED,
    LOSSES,
    accuracy,
    counted_labels,
    masked_regions,
    masked_words,
    target_counts,
)
from lxmert_tf.models.task import TaskModel, build_optimizer


@keras.utils.register_keras_serializable("lxmert_tf")
class LxmertPretrainer(TaskModel):
    """LXMERT with the heads of its pre-training tasks (paper section 3.1).

    Args:
        config: Sizes and rates.
        **kwargs: See `PresetModel`.

    Call arguments:
        inputs: As for `LxmertBackbone`.
        training: Whether dropout is on.
        output_attentions: Whether to return the attention probabilities, too.

    Returns:
        A dict of float32 `masked_lm_logits` [B, T, V], `matched_logits` [B, 2] (1 = the sentence
        belongs to the image), `object_logits` [B, R, num_objects], `attribute_logits`
        [B, R, num_attributes], `region_feature_predictions` [B, R, F] and `answer_logits` [B, A];
        with `output_attentions` also `attentions`.

    Example:
        from lxmert_tf import BertAdamW, LxmertConfig, LxmertPretrainer

        model = LxmertPretrainer(LxmertConfig(hidden_size=48, num_attention_heads=4))
        model.compile(BertAdamW(1e-4), loss_weights={"answers": 0.0})
        # Then `model.fit(batches)` on (inputs, targets), as `pretraining_batches` makes them.
    """

    head_names = ("answer_head", "masked_lm_head", "matched_head", "region_head")

    def __init__(self, config: LxmertConfig | dict[str, Any], **kwargs):
        config = LxmertConfig.from_dict(config) if isinstance(config, dict) else config
        policy = dtype_policy(kwargs.get("dtype"))
        backbone = LxmertBackbone(config, dtype=policy, name="backbone")
        head = {
            "hidden_act": config.hidden_act,
            "epsilon": config.layer_norm_eps,
            "initializer_range": config.initializer_range,
            "dtype": policy,
        }
        heads = {
            "masked_lm_head": MaskedLMHead(config.vocab_size, name="masked_lm_head", **head),
            "region_head": RegionHead(
                config.num_objects,
                config.num_attributes,
                config.region_feature_size,
                name="region_head",
                **head,
            ),
            "answer_head": AnswerHead(config.num_answers, name="answer_head", **head),
            # Float32 logits under every policy.
            "matched_head": dense(
                2, config.initializer_range, dtype="float32", name="matched_head"
            ),
        }

        states = backbone.output
        # A call of the layer, not its variable: a graph is saved by the calls of its layers.
        table = backbone.language_embeddings(backbone.input["token_ids"], table_only=True)
        outputs = _apply_heads(heads, states, states["language_output"], table)
        super().__init__(backbone, backbone.input, outputs, config=config, **kwargs)
        for name, layer in heads.items():
            setattr(self, name, layer)
        self._tracker: _LossTracker | None = None

    def call(self, inputs, training=None, mask=None, output_attentions=None):
        output_attentions = self.returns_attentions(output_attentions)
        states = self.backbone(inputs, training=training, output_attentions=output_attentions)
        outputs = self._outputs(states, states["language_output"])
        return {**outputs, "attentions": states["attentions"]} if output_attentions else outputs

    def outputs_at_targets(self, inputs, targets, training: bool) -> dict[str, tf.Tensor]:
        """Return what the losses of `targets` read of a call's outputs.

        Args:
            inputs: Inputs of a batch.
            targets: Targets of the batch.
            training: Whether dropout is on.

        Returns:
            As a call, but with `masked_lm_logits` [M, V] and `region_feature_predictions` [M, F]
            of the masked words and regions alone, unless the model does not pack.
        """
        if not self.packs:
            return self(inputs, training=training, output_attentions=False)
        states = self.backbone(inputs, training=training, output_attentions=False, packed=True)
        words = tf.gather_nd(states["language_output"], masked_words(targets))
        return self._outputs(states, words, masked_regions(targets))

    def _outputs(self, states, words, feature_positions=None) -> dict[str, tf.Tensor]:
        heads = {name: getattr(self, name) for name in self.head_names}
        embeddings = self.backbone.word_embeddings
        return _apply_heads(heads, states, words, embeddings, feature_positions)

    def compile(
        self,
        optimizer="rmsprop",
        loss=None,
        metrics=None,
        loss_weights: Mapping[str, float] | None = None,
        accumulation_steps: int = 1,
        **kwargs,
    ):
        """Configure training as `keras.Model.compile` does, with the losses of pre-training.

        Args:
            optimizer: A Keras optimizer, such as `BertAdamW`.
            loss: None; the losses are those of the pre-training tasks.
            metrics: Metrics on the outputs of the labeled tasks, as for `keras.Model.compile`: a
                list for all of them, or a dict by output such as `masked_lm_logits`. They see the
                positions with a label alone: labels [M] and logits [M, classes]. A metric is
                reported under its output's name and its own. The metrics of a dict are used
                themselves; of those in a list, each output gets a copy, as in Keras. The losses
                and accuracies of the tasks are always reported.
            loss_weights: Weights by name of a loss in `LOSSES`; 1 where a name is left out, 0
                switches a loss off.
            accumulation_steps: Parts that a batch is cut into, one after the other, so that it
                needs the memory of one part; the step is that of the whole batch.
            **kwargs: `steps_per_execution`, `jit_compile`, `run_eagerly`.

        Raises:
            ValueError: A name is not that of a loss or of a labeled output, a loss is given, two
                metrics of an output have one name, or XLA is to accumulate steps.
        """
        if loss is not None:
            raise ValueError(
                "the losses are those of the pre-training tasks; choose among them by loss_weights"
            )
        if kwargs.get("weighted_metrics"):
            raise ValueError("the pre-trainer takes metrics, not weighted_metrics")
        if accumulation_steps > 1 and kwargs.get("jit_compile"):
            # XLA needs to know where a part begins when it compiles.
            raise ValueError("accumulation_steps above 1 need jit_compile=False")
        loss_weights = dict(loss_weights or {})
        unknown = set(loss_weights) - set(LOSSES)
        if unknown:
            raise ValueError(
                f"no loss is named {sorted(unknown)[0]!r}; it must be one of {', '.join(LOSSES)}"
            )
        weights = {name: float(loss_weights.get(name, 1.0)) for name in LOSSES}
        tracker = _LossTracker({name: weight for name, weight in weights.items() if weight})
        self._tracker = tracker
        user_metrics = _metrics_by_output(metrics, tracker.accuracies)
        self._accumulation_steps = accumulation_steps
        # Keras stores metrics and weights for SavedModels; it has no loss to apply them to.
        super().compile(
            optimizer=optimizer, metrics=metrics, loss_weights=loss_weights or None, **kwargs
        )
        arguments = {
            "metrics": metrics,
            "loss_weights": loss_weights,
            "accumulation_steps": accumulation_steps,
            **kwargs,
        }
        # Not through Keras, which would track them as parts of the model.
        object.__setattr__(self, "_user_metrics", user_metrics)
        object.__setattr__(self, "_compile_arguments", arguments)

    def get_compile_config(self):
        """Return the serialized arguments of `compile`, for `.keras` files."""
        if self._tracker is None:
            return None
        arguments = {"optimizer": self.optimizer, **self._compile_arguments}
        return keras.saving.serialize_keras_object(arguments)

    def compile_from_config(self, config):
        """Compile the model with what `get_compile_config` returned."""
        self.compile(**keras.saving.deserialize_keras_object(config))
        build_optimizer(self.optimizer, self.trainable_variables)

    @property
    def metrics(self):
        """Each loss that is on, each accuracy and the compiled metrics, over an epoch."""
        if self._tracker is None:
            return []
        return list(self._metrics_by_name().values())

    @property
    def metrics_names(self):
        """The names that the metrics are reported under."""
        return [] if self._tracker is None else list(self._metrics_by_name())

    def _metrics_by_name(self) -> dict[str, keras.metrics.Metric]:
        assert self._tracker is not None  # set by `compile`
        named = {metric.name: metric for metric in self._tracker.metrics()}
        for metrics in self._user_metrics.values():
            named.update(metrics)
        return named

    def _results(self) -> dict[str, tf.Tensor]:
        return {name: metric.result() for name, metric in self._metrics_by_name().items()}

    def train_step(self, data):
        """Train on one batch of (inputs, targets)."""
        data = _without_sample_weight(data)
        counts = self._counts_everywhere(data[1])
        if self._accumulation_steps == 1:
            gradients = self._gradients(data, counts)
        else:
            gradients = self._accumulated_gradients(data, counts)
        # Heads that are switched off have no gradient.
        pairs = [(g, v) for g, v in zip(gradients, self.trainable_variables) if g is not None]
        self.optimizer.apply_gradients(pairs)
        return self._results()

    def test_step(self, data):
        """Evaluate one batch of (inputs, targets)."""
        inputs, targets = _without_sample_weight(data)
        outputs = self.outputs_at_targets(inputs, targets, training=False)
        self._total_loss(outputs, targets, self._counts_everywhere(targets))
        return self._results()

    def compute_output_shape(self, input_shape):
        """Return the shapes of the outputs for a dict of the shapes of the inputs."""
        config = self.config
        batch, tokens = input_shape["token_ids"]
        regions = input_shape["region_features"][1]
        shapes = {
            "masked_lm_logits": [batch, tokens, config.vocab_size],
            "matched_logits": [batch, 2],
            "object_logits": [batch, regions, config.num_objects],
            "attribute_logits": [batch, regions, config.num_attributes],
            "region_feature_predictions": [batch, regions, config.region_feature_size],
            "answer_logits": [batch, config.num_answers],
        }
        return {name: tf.TensorShape(shape) for name, shape in shapes.items()}

    def _counts_everywhere(self, targets) -> dict[str, tf.Tensor]:
        # Replicas have different numbers of masked words; the loss is divided by all of them.
        assert self._tracker is not None  # set by `compile`
        replica = tf.distribute.get_replica_context()
        counts = target_counts(targets)
        return {name: replica.all_reduce("SUM", counts[name]) for name in self._tracker.weights}

    def _gradients(self, data, counts, part=0):
        inputs, targets = data
        parts = self._accumulation_steps
        with tf.GradientTape() as tape, self.dropout_keys(part, parts):
            outputs = self.outputs_at_targets(inputs, targets, training=True)
            total = self._total_loss(outputs, targets, counts, parts)
            # Keras compiles a model with the policy mixed_float16 with such an optimizer.
            scales = isinstance(self.optimizer, keras.mixed_precision.LossScaleOptimizer)
            total = self.optimizer.get_scaled_loss(total) if scales else total
        gradients = tape.gradient(total, self.trainable_variables)
        return self.optimizer.get_unscaled_gradients(gradients) if scales else gradients

    def _accumulated_gradients(self, data, counts):
        rows = tf.shape(data[1]["matched_labels"])[0]
        size = tf.cast(tf.math.ceil(rows / self._accumulation_steps), tf.int32)
        idle = []

        def add_part(part, sums):
            rows_of_part = slice(part * size, (part + 1) * size)
            data_of_part = tf.nest.map_structure(lambda tensor: tensor[rows_of_part], data)
            gradients = self._gradients(data_of_part, counts, part)
            idle[:] = [gradient is None for gradient in gradients]
            # As dense tensors: the slices of an embedding cannot be added up in a loop.
            added = [
                s if g is None else s + tf.convert_to_tensor(g) for s, g in zip(sums, gradients)
            ]
            return part + 1, added

        _, sums = tf.while_loop(
            lambda part, _: part < self._accumulation_steps,
            add_part,
            (0, [tf.zeros_like(variable) for variable in self.trainable_variables]),
            # One part at a time saves the memory.
            parallel_iterations=1,
        )
        return [None if without else total for without, total in zip(idle, sums)]

    def _total_loss(self, outputs, targets, counts, parts=1):
        """Return this replica's part of the loss of the whole batch."""
        total = 0.0
        tracker = self._tracker
        for name, weight in tracker.weights.items():
            term = LOSSES[name](outputs, targets)
            total += weight * tf.math.divide_no_nan(term.total, counts[name])
            tracker.losses[name].update_state(term.mean(), sample_weight=term.count)
            if name in tracker.accuracies:
                right, counted = accuracy(name, outputs, targets)
                tracker.accuracies[name].update_state(right, sample_weight=counted)
            for metric in self._user_metrics.get(name, {}).values():
                metric.update_state(*counted_labels(name, outputs, targets))
        # Replicas and parts of a batch each have a share of its loss.
        replicas = tf.distribute.get_strategy().num_replicas_in_sync
        tracker.total.update_state(total * replicas * parts)
        return total


def _apply_heads(heads, states, words, word_embeddings, feature_positions=None):
    """Return the outputs of the heads on the outputs of the backbone.

    Args:
        heads: The heads by name.
        states: Outputs of the backbone.
        words: Language outputs [..., H] to predict word pieces of.
        word_embeddings: The word-piece table [V, H].
        feature_positions: See `RegionHead`.
    """
    pooled = states["pooled_output"]
    objects, attributes, features = heads["region_head"](states["vision_output"], feature_positions)
    return {
        "masked_lm_logits": heads["masked_lm_head"](words, word_embeddings),
        "matched_logits": heads["matched_head"](pooled),
        "object_logits": objects,
        "attribute_logits": attributes,
        "region_feature_predictions": features,
        "answer_logits": heads["answer_head"](pooled),
    }


def _without_sample_weight(data) -> tuple:
    inputs, targets, sample_weight = keras.utils.unpack_x_y_sample_weight(data)
    if sample_weight is not None:
        raise ValueError("the pre-training losses take no sample_weight")
    return inputs, targets


def _metrics_by_output(metrics, tasks) -> dict[str, dict[str, keras.metrics.Metric]]:
    """Return the compiled metrics by task and by name, which is as in Keras: OUTPUT_METRIC.

    Args:
        metrics: As given to `compile`.
        tasks: The labeled tasks that are on.
    """
    outputs = {LABELED[task][0]: task for task in tasks}
    if not isinstance(metrics, Mapping):
        shared = [_metric(metric) for metric in tf.nest.flatten(metrics or [])]
        metrics = {output: [_copy(metric) for metric in shared] for output in outputs}
    unknown = set(metrics) - set(outputs)
    if unknown:
        raise ValueError(
            f"metrics names {sorted(unknown)[0]!r}; it must be one of {', '.join(outputs)}"
        )
    return {outputs[output]: _named_metrics(output, given) for output, given in metrics.items()}


def _named_metrics(output: str, metrics) -> dict[str, keras.metrics.Metric]:
    named: dict[str, keras.metrics.Metric] = {}
    for metric in map(_metric, tf.nest.flatten(metrics)):
        name = f"{output}_{metric.name}"
        if name in named:
            raise ValueError(f"two metrics of {output} are named {metric.name!r}")
        named[name] = metric
    return named


def _metric(metric) -> keras.metrics.Metric:
    """Return the metric of what `compile` takes: a name, a function, or a metric."""
    if isinstance(metric, keras.metrics.Metric):
        return metric
    if metric in ("accuracy", "acc"):
        return keras.metrics.SparseCategoricalAccuracy(name="accuracy")
    if isinstance(metric, str):
        metric = keras.metrics.get(metric)
    if isinstance(metric, keras.metrics.Metric):
        return metric
    name = getattr(metric, "__name__", type(metric).__name__)
    return keras.metrics.MeanMetricWrapper(metric, name=name)


def _copy(metric: keras.metrics.Metric) -> keras.metrics.Metric:
    return type(metric).from_config(metric.get_config())


class _LossTracker:
    """The losses that are on, with their weights, and their means over an epoch.

    Kept apart from the model, which would count the metrics' variables among its weights.
    """

    def __init__(self, weights: dict[str, float]):
        self.weights = weights
        self.total = keras.metrics.Mean(name="loss")
        self.losses = {name: keras.metrics.Mean(name=f"{name}_loss") for name in weights}
        self.accuracies = {
            name: keras.metrics.Mean(name=f"{name}_accuracy") for name in weights if name in LABELED
        }

    def metrics(self) -> list[keras.metrics.Metric]:
        """Return every metric, the total first."""
        return [self.total, *self.losses.values(), *self.accuracies.values()]
