"""The three encoders as one Keras model."""

from typing import Any

import tensorflow as tf
from tensorflow import keras

from lxmert_tf.image_runs import image_runs
from lxmert_tf.layers.embeddings import LanguageEmbeddings, RegionEmbeddings
from lxmert_tf.layers.heads import Pooler
from lxmert_tf.layers.packing import Positions
from lxmert_tf.layers.transformer import ConfiguredLayer, CrossModalityLayer, TransformerLayer
from lxmert_tf.models.config import LxmertConfig
from lxmert_tf.models.presets import PresetModel

REQUIRED_INPUTS = ("token_ids", "padding_mask", "region_features", "region_boxes")


def require_inputs(inputs) -> None:
    """Raises ValueError where one of the inputs that a model cannot do without is missing."""
    missing = [name for name in REQUIRED_INPUTS if name not in inputs]
    if missing:
        raise ValueError(f"inputs lack {', '.join(missing)}; given are {', '.join(sorted(inputs))}")


@keras.utils.register_keras_serializable("lxmert_tf")
class LxmertBackbone(PresetModel):
    """LXMERT without heads (Tan & Bansal 2019, section 3).

    Args:
        config: sizes and rates.
        **kwargs: see `PresetModel`.

    Call arguments:
        inputs: a dict of `token_ids` int [B, T], `segment_ids` int [B, T] (optional, zeros),
            `padding_mask` [B, T] (1 = token), `region_features` float [B, R, F],
            `region_boxes` float [B, R, 4] in 0..1 and `region_mask` [B, R] (optional, ones).
        training: whether dropout is on.
        output_attentions: overrides the constructor's.

    Returns:
        a dict of `language_output` [B, T, H], `vision_output` [B, R, H], `pooled_output` [B, H]
        and, if asked for, `attentions`: a dict of `language`, `vision`, `language_to_vision` and
        `vision_to_language`, each a list over layers of float32 [B, heads, query, key].

    Example:
        backbone = LxmertBackbone(LxmertConfig(hidden_size=48, num_attention_heads=4))
        outputs = backbone({"token_ids": ..., "padding_mask": ..., "region_features": ...,
                            "region_boxes": ...})
    """

    def __init__(self, config: LxmertConfig | dict[str, Any], **kwargs):
        super().__init__(config, **kwargs)
        layer = {"config": self.config, "dtype": self.dtype_policy}
        self.language_encoder = LanguageEncoder(name="language_encoder", **layer)
        self.relationship_encoder = RelationshipEncoder(name="relationship_encoder", **layer)
        self.cross_modality_encoder = CrossModalityEncoder(name="cross_modality_encoder", **layer)
        self.pooler = Pooler(
            self.config.hidden_size,
            self.config.initializer_range,
            dtype=self.dtype_policy,
            name="pooler",
        )
        self.build_variables()

    @property
    def word_embeddings(self) -> tf.Variable:
        """The word-piece table [V, H], which the masked-LM head shares."""
        return self.language_encoder.embeddings.word_embeddings

    def call(self, inputs, training=None, output_attentions=None):
        wanted = self.output_attentions if output_attentions is None else output_attentions
        return self.compute(inputs, training=training, output_attentions=wanted)

    # Nothing in it is for AutoGraph, which would rewrite every layer first.
    @tf.autograph.experimental.do_not_convert
    def compute(
        self, inputs, training=None, output_attentions=False, packed=False, pooled_only=False
    ):
        """What a call computes, or of it just what is asked for.

        Args:
            inputs: as for a call.
            training: whether dropout is on.
            output_attentions: whether to give the attention probabilities.
            packed: whether to leave out padded tokens and absent regions. What the outputs hold in
                their places is then undefined; all else is the same.
            pooled_only: whether to leave out of the last cross-modality layer what the pooled
                output does not depend on. The other outputs are then missing.

        Returns:
            as a call.
        """
        require_inputs(inputs)
        boxes = inputs["region_boxes"]
        mask = inputs.get("region_mask")
        region_mask = tf.ones(tf.shape(boxes)[:2]) if mask is None else mask
        how = {"training": training, "output_attentions": output_attentions, "packed": packed}
        image_state, vision_attentions = self.encode_image(
            inputs["region_features"], boxes, region_mask, **how
        )
        outputs, attentions = self.read_image(
            inputs, image_state, region_mask, pooled_only=pooled_only, **how
        )
        if output_attentions:
            outputs["attentions"] = {"vision": vision_attentions, **attentions}
        return outputs

    def encode_image(
        self,
        region_features,
        region_boxes,
        region_mask,
        training=None,
        output_attentions=False,
        packed=False,
    ):
        """The part that depends on the image alone: the object-relationship encoder.

        Args:
            region_features: [B, R, F].
            region_boxes: [B, R, 4], in 0..1.
            region_mask: [B, R], 1 = region.
            training: whether dropout is on.
            output_attentions: whether to give the attention probabilities.
            packed: whether to leave out absent regions, and where nothing is dropped images that
                equal the one before.

        Returns:
            the image state [B, R, H], and a list over layers of probabilities [B, heads, R, R]
            or None.
        """
        # Dropout differs from example to example.
        once = packed and not output_attentions and (training is None or training is False)
        image = (region_features, region_boxes, region_mask)
        if once:
            firsts, run_of = image_runs(*image)
            image = [tf.gather(part, firsts) for part in image]
        features, boxes, mask = image
        positions = Positions(mask, packed)
        state, attentions = self.relationship_encoder(
            features,
            boxes,
            positions,
            training=training,
            output_attentions=output_attentions,
        )
        states = positions.to_batch(state)
        return tf.gather(states, run_of) if once else states, attentions

    def read_image(
        self,
        inputs,
        image_state,
        region_mask,
        training=None,
        output_attentions=False,
        packed=False,
        pooled_only=False,
    ):
        """Reads the words, and the image in their light.

        Args:
            inputs: `token_ids`, `padding_mask` and maybe `segment_ids`, as for a call.
            image_state: [B, R, H], from `encode_image`.
            region_mask: [B, R], 1 = region.
            training: whether dropout is on.
            output_attentions: whether to give the attention probabilities.
            packed, pooled_only: see `compute`.

        Returns:
            the outputs of a call, and the attentions of the language and cross-modality encoders
            (lists of None where they are not asked for).
        """
        how = {"training": training, "output_attentions": output_attentions, "packed": packed}
        language, language_attentions = self.encode_text(inputs, **how)
        outputs, attentions = self.relate(
            language,
            inputs["padding_mask"],
            image_state,
            region_mask,
            pooled_only=pooled_only,
            **how,
        )
        return outputs, {"language": language_attentions, **attentions}

    def encode_text(self, inputs, training=None, output_attentions=False, packed=False):
        """The part that depends on the words alone: the language encoder.

        Args:
            inputs: `token_ids`, `padding_mask` and maybe `segment_ids`, as for a call.
            training: whether dropout is on.
            output_attentions: whether to give the attention probabilities.
            packed: whether to leave out padded tokens.

        Returns:
            the text state [B, T, H], and a list over layers of probabilities [B, heads, T, T]
            or None.
        """
        token_ids = inputs["token_ids"]
        segment_ids = inputs.get("segment_ids")
        if segment_ids is None:
            segment_ids = tf.zeros_like(token_ids)
        positions = Positions(inputs["padding_mask"], packed)
        state, attentions = self.language_encoder(
            token_ids,
            segment_ids,
            positions,
            training=training,
            output_attentions=output_attentions,
        )
        return positions.to_batch(state), attentions

    def relate(
        self,
        text_state,
        padding_mask,
        image_state,
        region_mask,
        training=None,
        output_attentions=False,
        packed=False,
        pooled_only=False,
    ):
        """The part that depends on both: the cross-modality encoder and the pooler.

        Args:
            text_state: [B, T, H], from `encode_text`.
            padding_mask: [B, T], 1 = token.
            image_state: [B, R, H], from `encode_image`.
            region_mask: [B, R], 1 = region.
            training: whether dropout is on.
            output_attentions: whether to give the attention probabilities.
            packed, pooled_only: see `compute`.

        Returns:
            the outputs of a call, and the attentions of the cross-modality encoder (lists of None
            where they are not asked for).
        """
        words, regions = Positions(padding_mask, packed), Positions(region_mask, packed)
        language, vision, to_vision, to_language = self.cross_modality_encoder(
            words.to_rows(text_state),
            regions.to_rows(image_state),
            words,
            regions,
            training=training,
            output_attentions=output_attentions,
            first_word_only=pooled_only,
        )
        attentions = {"language_to_vision": to_vision, "vision_to_language": to_language}
        if pooled_only:
            return {"pooled_output": self.pooler(language)}, attentions
        outputs = {
            "language_output": words.to_batch(language),
            "vision_output": regions.to_batch(vision),
            "pooled_output": self.pooler(words.first_rows(language)),
        }
        return outputs, attentions


@keras.utils.register_keras_serializable("lxmert_tf")
class LanguageEncoder(ConfiguredLayer):
    """Embedded words through N_L self-attention layers (paper section 3.1).

    Args:
        config: sizes and rates.

    Call arguments:
        token_ids, segment_ids: int [B, T].
        positions: of the words.
        output_attentions: whether to give the attention probabilities.
        Returns rows [N, H] of `positions` and a list over layers of probabilities
        [B, heads, T, T] or None.
    """

    def __init__(self, config: LxmertConfig | dict, **kwargs):
        super().__init__(config, **kwargs)
        self.embeddings = LanguageEmbeddings(
            vocab_size=self.config.vocab_size,
            max_position_embeddings=self.config.max_position_embeddings,
            type_vocab_size=self.config.type_vocab_size,
            hidden_size=self.config.hidden_size,
            dropout=self.config.hidden_dropout,
            epsilon=self.config.layer_norm_eps,
            initializer_range=self.config.initializer_range,
            dtype=self.dtype_policy,
            name="embeddings",
        )
        self.transformer_layers = self._stack(TransformerLayer, self.config.language_layers)

    def call(
        self, token_ids, segment_ids, positions: Positions, training=None, output_attentions=False
    ):
        hidden = positions.to_rows(self.embeddings(token_ids, segment_ids, training=training))
        return _through(self.transformer_layers, hidden, positions, training, output_attentions)


@keras.utils.register_keras_serializable("lxmert_tf")
class RelationshipEncoder(ConfiguredLayer):
    """Embedded regions through N_R self-attention layers (paper section 3.1).

    Args:
        config: sizes and rates.

    Call arguments:
        region_features: [B, R, F]; region_boxes: [B, R, 4].
        positions: of the regions.
        output_attentions: whether to give the attention probabilities.
        Returns rows [N, H] of `positions` and a list over layers of probabilities
        [B, heads, R, R] or None.
    """

    def __init__(self, config: LxmertConfig | dict, **kwargs):
        super().__init__(config, **kwargs)
        self.embeddings = RegionEmbeddings(
            hidden_size=self.config.hidden_size,
            dropout=self.config.hidden_dropout,
            epsilon=self.config.layer_norm_eps,
            initializer_range=self.config.initializer_range,
            dtype=self.dtype_policy,
            name="embeddings",
        )
        self.transformer_layers = self._stack(TransformerLayer, self.config.relationship_layers)

    def call(
        self,
        region_features,
        region_boxes,
        positions: Positions,
        training=None,
        output_attentions=False,
    ):
        features, boxes = positions.to_rows(region_features), positions.to_rows(region_boxes)
        hidden = self.embeddings(features, boxes, training=training)
        return _through(self.transformer_layers, hidden, positions, training, output_attentions)


@keras.utils.register_keras_serializable("lxmert_tf")
class CrossModalityEncoder(ConfiguredLayer):
    """N_X layers in which words and regions attend to each other (paper section 3.1).

    Args:
        config: sizes and rates.

    Call arguments:
        language, vision: rows [N, H] of `language_positions`, [M, H] of `vision_positions`.
        output_attentions: whether to give the cross-attention probabilities.
        first_word_only: whether to compute of the last layer just each sentence's first word.
        Returns language, vision, and two lists over layers: probabilities of words over
        regions [B, heads, T, R] and of regions over words [B, heads, R, T], or None for each; with
        `first_word_only` language is [B, H] and vision None.
    """

    def __init__(self, config: LxmertConfig | dict, **kwargs):
        super().__init__(config, **kwargs)
        self.transformer_layers = self._stack(CrossModalityLayer, self.config.cross_layers)

    def call(
        self,
        language,
        vision,
        language_positions: Positions,
        vision_positions: Positions,
        training=None,
        output_attentions=False,
        first_word_only=False,
    ):
        language_to_vision, vision_to_language = [], []
        for layer in self.transformer_layers:
            language, vision, to_vision, to_language = layer(
                language,
                vision,
                language_positions,
                vision_positions,
                training=training,
                output_attentions=output_attentions,
                first_word_only=first_word_only and layer is self.transformer_layers[-1],
            )
            language_to_vision.append(to_vision)
            vision_to_language.append(to_language)
        return language, vision, language_to_vision, vision_to_language


def _through(layers, hidden, positions, training, output_attentions):
    """The output of layer upon layer, and the attention probabilities of each, or None."""
    attentions = []
    for layer in layers:
        hidden, probabilities = layer(
            hidden, positions, training=training, output_attentions=output_attentions
        )
        attentions.append(probabilities)
    return hidden, attentions
