"""The model of the five pre-training tasks."""

from typing import Any

import tensorflow as tf
from tensorflow import keras

from lxmert_tf.backbone import LxmertBackbone
from lxmert_tf.config import LxmertConfig
from lxmert_tf.layers.heads import AnswerHead, MaskedLMHead, RegionHead
from lxmert_tf.presets import PresetModel


@keras.utils.register_keras_serializable("lxmert_tf")
class LxmertPretrainer(PresetModel):
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

    def call(self, inputs, training=None, output_attentions=None):
        wanted = self.output_attentions if output_attentions is None else output_attentions
        outputs = self.backbone(inputs, training=training, output_attentions=wanted)
        pooled = outputs["pooled_output"]
        objects, attributes, features = self.region_head(outputs["vision_output"])
        result = {
            "masked_lm_logits": self.masked_lm_head(
                outputs["language_output"], self.backbone.word_embeddings
            ),
            "matched_logits": tf.cast(self.matched_head(pooled), tf.float32),
            "object_logits": objects,
            "attribute_logits": attributes,
            "region_feature_predictions": features,
            "answer_logits": self.answer_head(pooled),
        }
        if wanted:
            result["attentions"] = outputs["attentions"]
        return result
