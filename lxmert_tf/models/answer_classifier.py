"""The model that answers questions about an image: VQA, GQA, and any table of answers."""

from typing import Any

import tensorflow as tf
from tensorflow import keras

from lxmert_tf.layers.heads import AnswerHead
from lxmert_tf.models.backbone import LxmertBackbone
from lxmert_tf.models.config import LxmertConfig
from lxmert_tf.models.presets import dtype_policy
from lxmert_tf.models.task import TaskModel


@keras.utils.register_keras_serializable("lxmert_tf")
class LxmertAnswerClassifier(TaskModel):
    """LXMERT with an answer head on the pooled output (paper section 4.2; VQA, GQA).

    Args:
        config: Sizes and rates; `num_answers` is the width of the output.
        **kwargs: See `PresetModel`.

    Call arguments:
        inputs: As for `LxmertBackbone`.
        training: Whether dropout is on.
        output_attentions: Whether to return the attention probabilities, too.
        packed: Whether to leave out padding, which changes no result.

    Returns:
        Logits [B, A], float32; with `output_attentions` a dict of `answer_logits` and
        `attentions`. Train the logits with `SoftAnswerLoss`; the score of an answer is the sigmoid
        of its logit.

    Example:
        from tensorflow import keras

        from lxmert_tf import LxmertAnswerClassifier, LxmertConfig, SoftAccuracy, SoftAnswerLoss

        config = LxmertConfig(hidden_size=48, num_attention_heads=4, num_answers=13)
        model = LxmertAnswerClassifier(config)
        model.compile(keras.optimizers.Adam(5e-5), SoftAnswerLoss(), [SoftAccuracy()])
        # Then `model.fit(batches)`, as `answer_batches` makes them.
    """

    head_names = ("answer_head",)

    def __init__(self, config: LxmertConfig | dict[str, Any], **kwargs):
        config = LxmertConfig.from_dict(config) if isinstance(config, dict) else config
        policy = dtype_policy(kwargs.get("dtype"))
        backbone = LxmertBackbone(config, pooled_only=True, dtype=policy, name="backbone")
        answer_head = AnswerHead(
            config.num_answers,
            hidden_act=config.hidden_act,
            epsilon=config.layer_norm_eps,
            initializer_range=config.initializer_range,
            dtype=policy,
            name="answer_head",
        )

        logits = answer_head(backbone.output["pooled_output"])
        super().__init__(backbone, backbone.input, logits, config=config, **kwargs)
        self.answer_head = answer_head

    def step_options(self) -> dict[str, Any]:
        """Return the arguments with which `fit`, `evaluate` and `predict` call the model."""
        return {**super().step_options(), "packed": self.packs}

    def call(self, inputs, training=None, mask=None, output_attentions=None, packed=False):
        output_attentions = self.returns_attentions(output_attentions)
        outputs = self.backbone(
            inputs,
            training=training,
            output_attentions=output_attentions,
            packed=packed,
        )
        logits = self.answer_head(outputs["pooled_output"])
        if output_attentions:
            return {"answer_logits": logits, "attentions": outputs["attentions"]}
        return logits

    def encode_image(self, region_features, region_boxes, region_mask) -> tf.Tensor:
        """Return what depends on the image alone, for `answer_pairs`; dropout is off.

        Args:
            region_features: [B, R, F].
            region_boxes: [B, R, 4], in 0..1.
            region_mask: [B, R], 1 = region.

        Returns:
            The image state [B, R, H]; absent regions have undefined values.
        """
        return self.backbone.encode_image(
            region_features, region_boxes, region_mask, training=False, packed=self.packs
        )

    def encode_question(self, text_inputs) -> tf.Tensor:
        """Return what depends on the question alone, for `answer_pairs`; dropout is off.

        Args:
            text_inputs: `token_ids` and `padding_mask`, int [B, T], and perhaps `segment_ids`.

        Returns:
            The question state [B, T, H]; padded tokens have undefined values.
        """
        return self.backbone.encode_text(
            text_inputs["token_ids"],
            text_inputs.get("segment_ids"),
            text_inputs["padding_mask"],
            training=False,
            packed=self.packs,
        )

    def answer_pairs(self, question_state, padding_mask, image_state, region_mask) -> tf.Tensor:
        """Return logits from states, so that each question and each image is encoded once.

        Args:
            question_state: [B, T, H], from `encode_question`.
            padding_mask: [B, T], 1 = token.
            image_state: [B, R, H], from `encode_image`, of the image of each question.
            region_mask: [B, R], 1 = region.

        Returns:
            Logits [B, A], float32.
        """
        outputs = self.backbone.relate(
            question_state,
            padding_mask,
            image_state,
            region_mask,
            training=False,
            packed=self.packs,
        )
        return self.answer_head(outputs["pooled_output"])

    def compute_output_shape(self, input_shape):
        """Return the shape of the logits for a dict of the shapes of the inputs."""
        return tf.TensorShape([input_shape["token_ids"][0], self.config.num_answers])
