"""Judging whether a sentence is true of two pictures: NLVR2."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import tensorflow as tf
from tensorflow import keras

from lxmert_tf.layers.heads import AnswerHead
from lxmert_tf.models.backbone import LxmertBackbone, require_inputs
from lxmert_tf.models.config import LxmertConfig
from lxmert_tf.models.task import TaskModel

# By their labels.
STATEMENT_ANSWERS = ("False", "True")


@keras.utils.register_keras_serializable("lxmert_tf")
class LxmertPairClassifier(TaskModel):
    """LXMERT with a head that reads the pooled outputs of two images (paper section 4.2; NLVR2).

    Args:
        config: sizes and rates; whatever its `num_answers` is, the model's is 2.
        answers: may be left out; they are always "False" and "True".
        **kwargs: see `PresetModel`.

    Call arguments:
        inputs: as for `LxmertBackbone`, but `region_features` [B, 2, R, F], `region_boxes`
            [B, 2, R, 4] and `region_mask` [B, 2, R] (optional, ones). One sentence is read with
            both images; the language encoder reads it once.

    Returns:
        logits [B, 2], float32, of the statement being false and true; with `output_attentions` a
        dict of `answer_logits` and `attentions`: `language` as the backbone's, the others lists
        over layers of float32 [B, 2, heads, query, key]. Train the logits with
        `keras.losses.SparseCategoricalCrossentropy(from_logits=True)` on labels [B].

    Raises:
        ValueError: an input is missing or has no two images, or other answers are given.

    Example:
        model = LxmertPairClassifier.from_preset("pretrained")
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        model.compile(keras.optimizers.Adam(5e-5), loss, ["accuracy"])
        model.fit(statement_batches(pairs, preprocessor))
    """

    images_per_scene = 2

    def __init__(
        self,
        config: LxmertConfig | dict[str, Any],
        answers: Sequence[str] | None = None,
        **kwargs,
    ):
        if answers is not None and tuple(answers) != STATEMENT_ANSWERS:
            raise ValueError("a pair classifier has the answers False and True, in this order")
        sizes = LxmertConfig.from_dict(config) if isinstance(config, dict) else config
        super().__init__(
            dataclasses.replace(sizes, num_answers=len(STATEMENT_ANSWERS)),
            answers=list(STATEMENT_ANSWERS),
            **kwargs,
        )
        self.backbone = LxmertBackbone(self.config, dtype=self.dtype_policy, name="backbone")
        self.answer_head = AnswerHead(
            self.config.num_answers,
            transform_size=2 * self.config.hidden_size,
            hidden_act=self.config.hidden_act,
            epsilon=self.config.layer_norm_eps,
            initializer_range=self.config.initializer_range,
            dtype=self.dtype_policy,
            name="answer_head",
        )
        self.build_variables()
        # The head reads the words only, so nothing would train the last layer's vision side.
        self.backbone.cross_modality_encoder.transformer_layers[-1].freeze_vision_side()

    @classmethod
    def from_preset(cls, directory, **kwargs):
        """As `PresetModel.from_preset`; answers of the preset belong to another head."""
        return super().from_preset(directory, **{"answers": None, **kwargs})

    def call(self, inputs, training=None, output_attentions=None):
        require_inputs(inputs)
        boxes = inputs["region_boxes"]
        _check_two_images(boxes)
        mask = inputs.get("region_mask")
        region_mask = _one_by_one(tf.ones(tf.shape(boxes)[:3]) if mask is None else mask)
        wanted = self.output_attentions if output_attentions is None else output_attentions
        how = {"training": training, **self.shortcuts_for(wanted)}
        pooled_only = how.pop("pooled_only")

        image_states, vision_attentions = self.backbone.encode_image(
            _one_by_one(inputs["region_features"]), _one_by_one(boxes), region_mask, **how
        )
        text_state, language_attentions = self.backbone.encode_text(inputs, **how)
        outputs, attentions = self.backbone.relate(
            tf.concat([text_state] * 2, axis=0),
            tf.concat([inputs["padding_mask"]] * 2, axis=0),
            image_states,
            region_mask,
            pooled_only=pooled_only,
            **how,
        )
        first, second = tf.split(outputs["pooled_output"], 2, axis=0)
        logits = self.answer_head(tf.concat([first, second], axis=-1))
        if not wanted:
            return logits
        by_image = tf.nest.map_structure(_paired, {"vision": vision_attentions, **attentions})
        return {
            "answer_logits": logits,
            "attentions": {"language": language_attentions, **by_image},
        }


def _one_by_one(images):
    """[B, 2, ...] to [2B, ...]: all the first images, then all the second."""
    return tf.concat(tf.unstack(images, num=2, axis=1), axis=0)


def _paired(images):
    """The inverse of `_one_by_one`."""
    return tf.stack(tf.split(images, 2, axis=0), axis=1)


def _check_two_images(boxes) -> None:
    if boxes.shape.rank != 4 or boxes.shape[1] not in (2, None):
        raise ValueError(f"region_boxes have shape {boxes.shape}; they must be [B, 2, R, 4]")
