"""The three encoders: over words, over regions, and across both."""

from tensorflow import keras

from lxmert_tf.config import LxmertConfig
from lxmert_tf.layers.embeddings import LanguageEmbeddings, RegionEmbeddings
from lxmert_tf.layers.positions import Positions
from lxmert_tf.layers.transformer import ConfiguredLayer, CrossModalityLayer, TransformerLayer


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
