"""The model that judges whether a sentence is true of two images: NLVR2."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import tensorflow as tf
from tensorflow import keras

from lxmert_tf.layers.heads import AnswerHead
from lxmert_tf.models.backbone import (
    ATTENTIONS,
    LxmertBackbone,
    model_inputs,
    with_optional_inputs,
)
from lxmert_tf.models.config import LxmertConfig
from lxmert_tf.models.presets import dtype_policy
from lxmert_tf.models.task import TaskModel

# In the order of their labels.
STATEMENT_ANSWERS = ("False", "True")


@keras.utils.register_keras_serializable("lxmert_tf")
class FoldImages(keras.layers.Layer):
    """Turns the two images of each example into examples: [B, 2, ...] to [2B, ...].

    The first images come first, then the second ones.
    """

    def call(self, images):
        # Not unstacked: OpenVINO 2026.4 fails on that for batches of any size.
        return tf.concat([images[:, 0], images[:, 1]], axis=0)

    def compute_output_shape(self, input_shape):
        return tf.TensorShape([_times_two(input_shape[0]), *input_shape[2:]])


@keras.utils.register_keras_serializable("lxmert_tf")
class RepeatBatch(keras.layers.Layer):
    """Repeats a batch for the second images: [B, ...] to [2B, ...]."""

    def call(self, batch):
        return tf.concat([batch, batch], axis=0)

    def compute_output_shape(self, input_shape):
        return tf.TensorShape([_times_two(input_shape[0]), *input_shape[1:]])


@keras.utils.register_keras_serializable("lxmert_tf")
class JoinImages(keras.layers.Layer):
    """Concatenates the outputs of both images of an example: [2B, H] to [B, 2H]."""

    def call(self, pooled):
        return tf.concat(tf.split(pooled, 2, axis=0), axis=-1)

    def compute_output_shape(self, input_shape):
        batch = None if input_shape[0] is None else input_shape[0] // 2
        return tf.TensorShape([batch, 2 * input_shape[-1]])


def _times_two(batch: int | None) -> int | None:
    return None if batch is None else 2 * batch


@keras.utils.register_keras_serializable("lxmert_tf")
class LxmertPairClassifier(TaskModel):
    """LXMERT with a head that reads the pooled outputs of two images (paper section 4.2; NLVR2).

    Args:
        config: Sizes and rates; the model has two answers whatever `num_answers` is.
        answers: May be left out; they are always "False" and "True".
        **kwargs: See `PresetModel`.

    Call arguments:
        inputs: As for `LxmertBackbone`, but with `region_features` [B, 2, R, F], `region_boxes`
            [B, 2, R, 4] and `region_mask` [B, 2, R] (optional, ones). The language encoder reads
            each sentence once for both images.
        training: Whether dropout is on.
        output_attentions: Whether to return the attention probabilities, too.
        packed: Whether to leave out padding, which changes no result.

    Returns:
        Logits [B, 2], float32, of the statement being false and true; with `output_attentions` a
        dict of `answer_logits` and `attentions`: `language` as in the backbone, the others lists
        over layers of float32 [B, 2, heads, query, key]. Train the logits with
        `keras.losses.SparseCategoricalCrossentropy(from_logits=True)` on labels [B].

    Raises:
        ValueError: An input is missing or does not have two images, or other answers are given.

    Example:
        from tensorflow import keras

        from lxmert_tf import LxmertConfig, LxmertPairClassifier

        model = LxmertPairClassifier(LxmertConfig(hidden_size=48, num_attention_heads=4))
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        model.compile(keras.optimizers.Adam(5e-5), loss, ["accuracy"])
        # Then `model.fit(batches)`, as `statement_batches` makes them.
    """

    head_names = ("answer_head",)
    images_per_scene = 2

    def __init__(
        self,
        config: LxmertConfig | dict[str, Any],
        answers: Sequence[str] | None = None,
        **kwargs,
    ):
        if answers is not None and tuple(answers) != STATEMENT_ANSWERS:
            raise ValueError("a pair classifier has the answers False and True, in this order")
        config = LxmertConfig.from_dict(config) if isinstance(config, dict) else config
        config = dataclasses.replace(config, num_answers=len(STATEMENT_ANSWERS))
        policy = dtype_policy(kwargs.get("dtype"))
        backbone = LxmertBackbone(config, pooled_only=True, dtype=policy, name="backbone")
        answer_head = AnswerHead(
            config.num_answers,
            transform_size=2 * config.hidden_size,
            hidden_act=config.hidden_act,
            epsilon=config.layer_norm_eps,
            initializer_range=config.initializer_range,
            dtype=policy,
            name="answer_head",
        )
        fold = FoldImages(name="fold_images", dtype=policy)
        repeat = RepeatBatch(name="repeat_batch", dtype=policy)
        join = JoinImages(name="join_images", dtype=policy)

        inputs = model_inputs(config, images=2)
        by_image = {
            name: fold(value) if name.startswith("region") else repeat(value)
            for name, value in inputs.items()
        }
        logits = answer_head(join(backbone(by_image)["pooled_output"]))
        super().__init__(
            backbone,
            inputs,
            logits,
            config=config,
            answers=list(STATEMENT_ANSWERS),
            **kwargs,
        )

        self.answer_head = answer_head
        self.fold, self.repeat, self.join = fold, repeat, join

    @classmethod
    def from_preset(cls, directory, **kwargs):
        """Load a preset as `PresetModel.from_preset` does, without the answers of another head."""
        return super().from_preset(directory, **{"answers": None, **kwargs})

    def step_options(self) -> dict[str, Any]:
        """Return the arguments with which `fit`, `evaluate` and `predict` call the model."""
        return {**super().step_options(), "packed": self.packs}

    def call(self, inputs, training=None, mask=None, output_attentions=None, packed=False):
        inputs = with_optional_inputs(inputs)
        _check_two_images(inputs["region_boxes"])
        output_attentions = self.returns_attentions(output_attentions)
        attentions = {kind: [] for kind in ATTENTIONS} if output_attentions else None
        options = {"training": training, "packed": packed, "attentions": attentions}
        features, boxes, region_mask = (
            self.fold(inputs[name]) for name in ("region_features", "region_boxes", "region_mask")
        )
        image_states = self.backbone.encode_image(features, boxes, region_mask, **options)
        # The graph of the constructor encodes each sentence twice, with the same results.
        padding_mask = inputs["padding_mask"]
        text_state = self.backbone.encode_text(
            inputs["token_ids"], inputs["segment_ids"], padding_mask, **options
        )
        repeated, repeated_mask = self.repeat(text_state), self.repeat(padding_mask)
        outputs = self.backbone.relate(
            repeated, repeated_mask, image_states, region_mask, **options
        )
        logits = self.answer_head(self.join(outputs["pooled_output"]))
        if not output_attentions:
            return logits
        by_image = {
            kind: layers if kind == "language" else [_unfold(layer) for layer in layers]
            for kind, layers in attentions.items()
        }
        return {"answer_logits": logits, "attentions": by_image}

    def compute_output_shape(self, input_shape):
        """Return the shape of the logits for a dict of the shapes of the inputs."""
        return tf.TensorShape([input_shape["token_ids"][0], self.config.num_answers])


def _unfold(images):
    """Return [B, 2, ...] from [2B, ...], the inverse of `FoldImages`."""
    return tf.stack(tf.split(images, 2, axis=0), axis=1)


def _check_two_images(boxes) -> None:
    if boxes.shape.rank != 4 or boxes.shape[1] not in (2, None):
        raise ValueError(f"region_boxes have shape {boxes.shape}; they must be [B, 2, R, 4]")
