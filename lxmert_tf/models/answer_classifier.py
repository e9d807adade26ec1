"""Answering questions about a picture: VQA, GQA and anything with a table of answers."""

from typing import Any

from tensorflow import keras

from lxmert_tf.layers.heads import AnswerHead
from lxmert_tf.models.backbone import LxmertBackbone
from lxmert_tf.models.config import LxmertConfig
from lxmert_tf.models.task import TaskModel


@keras.utils.register_keras_serializable("lxmert_tf")
class LxmertAnswerClassifier(TaskModel):
    """LXMERT with an answer head on the pooled output (paper section 4.2; VQA, GQA).

    Args:
        config: sizes and rates; `num_answers` is the width of the output.
        **kwargs: see `PresetModel`.

    Call arguments:
        inputs: as for `LxmertBackbone`.

    Returns:
        logits [B, A], float32; with `output_attentions` a dict of `answer_logits` and
        `attentions`. Train them with `SoftAnswerLoss`; an answer's score is their sigmoid.

    Example:
        model = LxmertAnswerClassifier.from_preset("build/demo/preset")
        model.compile(keras.optimizers.Adam(5e-5), SoftAnswerLoss(), [SoftAccuracy()])
        model.fit(batches)
    """

    def __init__(self, config: LxmertConfig | dict[str, Any], **kwargs):
        super().__init__(config, **kwargs)
        self.backbone = LxmertBackbone(self.config, dtype=self.dtype_policy, name="backbone")
        self.answer_head = AnswerHead(
            self.config.num_answers,
            hidden_act=self.config.hidden_act,
            epsilon=self.config.layer_norm_eps,
            initializer_range=self.config.initializer_range,
            dtype=self.dtype_policy,
            name="answer_head",
        )
        self.build_variables()
        # The head reads the words only, so nothing would train the last layer's vision side.
        self.backbone.cross_modality_encoder.transformer_layers[-1].freeze_vision_side()

    def call(self, inputs, training=None, output_attentions=None):
        wanted = self.output_attentions if output_attentions is None else output_attentions
        outputs = self.backbone.compute(inputs, training=training, **self.shortcuts_for(wanted))
        logits = self.answer_head(outputs["pooled_output"])
        if wanted:
            return {"answer_logits": logits, "attentions": outputs["attentions"]}
        return logits

    def encode_image(self, region_features, region_boxes, region_mask):
        """What an image alone decides, for `answer_about_state`; dropout is off.

        Args:
            region_features: [B, R, F].
            region_boxes: [B, R, 4], in 0..1.
            region_mask: [B, R], 1 = region.

        Returns:
            [B, R, H]; where there is no region, anything.
        """
        packed = self.shortcuts_for(False)["packed"]
        state, _ = self.backbone.encode_image(
            region_features, region_boxes, region_mask, training=False, packed=packed
        )
        return state

    def answer_about_state(self, text_inputs, image_state, region_mask):
        """Answers from an image state, so that one image is encoded once for many questions.

        Args:
            text_inputs: `token_ids` and `padding_mask` [B, T].
            image_state: [B, R, H], from `encode_image`.
            region_mask: [B, R], 1 = region.

        Returns:
            logits [B, A], float32.
        """
        outputs, _ = self.backbone.read_image(
            text_inputs, image_state, region_mask, training=False, **self.shortcuts_for(False)
        )
        return self.answer_head(outputs["pooled_output"])
