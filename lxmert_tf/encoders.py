"""The three encoders: over words, over regions, and across both."""

from tensorflow import keras

from lxmert_tf.config import LxmertConfig
from lxmert_tf.layers.embeddings import LanguageEmbeddings, RegionEmbeddings
from lxmert_tf.layers.transformer import ConfiguredLayer, CrossModalityLayer, TransformerLayer


@keras.utils.register_keras_serializable("lxmert_tf")
class LanguageEncoder(ConfiguredLayer):
    """Embedded words through N_L self-attention layers (paper section 3.1).

    Args:
        config: sizes and rates.

    Call arguments:
        token_ids, segment_ids: int [B, T].
        bias: [B, 1, 1, T].
        output_attentions: whether to give the attention probabilities.
        Returns [B, T, H] and a list over layers of probabilities [B, heads, T, T] or None.
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

    def call(self, token_ids, segment_ids, bias, training=None, output_attentions=False):
        hidden = self.embeddings(token_ids, segment_ids, training=training)
        return _through(self.transformer_layers, hidden, bias, training, output_attentions)


@keras.utils.register_keras_serializable("lxmert_tf")
class RelationshipEncoder(ConfiguredLayer):
    """Embedded regions through N_R self-attention layers (paper section 3.1).

    Args:
        config: sizes and rates.

    Call arguments:
        region_features: [B, R, F]; region_boxes: [B, R, 4].
        bias: [B, 1, 1, R].
        output_attentions: whether to give the attention probabilities.
        Returns [B, R, H] and a list over layers of probabilities [B, heads, R, R] or None.
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

    def call(self, region_features, region_boxes, bias, training=None, output_attentions=False):
        hidden = self.embeddings(region_features, region_boxes, training=training)
        return _through(self.transformer_layers, hidden, bias, training, output_attentions)


@keras.utils.register_keras_serializable("lxmert_tf")
class CrossModalityEncoder(ConfiguredLayer):
    """N_X layers in which words and regions attend to each other (paper section 3.1).

    Args:
        config: sizes and rates.

    Call arguments:
        language: [B, T, H]; vision: [B, R, H].
        language_bias: [B, 1, 1, T]; vision_bias: [B, 1, 1, R].
        output_attentions: whether to give the cross-attention probabilities.
        Returns language, vision, and two lists over layers: probabilities of words over
        regions [B, heads, T, R] and of regions over words [B, heads, R, T], or None for each.
    """

    def __init__(self, config: LxmertConfig | dict, **kwargs):
        super().__init__(config, **kwargs)
        self.transformer_layers = self._stack(CrossModalityLayer, self.config.cross_layers)

    def call(
        self,
        language,
        vision,
        language_bias,
        vision_bias,
        training=None,
        output_attentions=False,
    ):
        language_to_vision, vision_to_language = [], []
        for layer in self.transformer_layers:
            language, vision, to_vision, to_language = layer(
                language,
                vision,
                language_bias,
                vision_bias,
                training=training,
                output_attentions=output_attentions,
            )
            language_to_vision.append(to_vision)
            vision_to_language.append(to_language)
        return language, vision, language_to_vision, vision_to_language


def _through(layers, hidden, bias, training, output_attentions):
    """The output of layer upon layer, and the attention probabilities of each, or None."""
    attentions = []
    for layer in layers:
        hidden, probabilities = layer(
            hidden, bias, training=training, output_attentions=output_attentions
        )
        attentions.append(probabilities)
    return hidden, attentions
