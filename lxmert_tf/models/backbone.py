"""The three encoders of LXMERT as one functional Keras model."""

from collections.abc import Mapping
from typing import Any

import tensorflow as tf
from tensorflow import keras

from lxmert_tf.layers.embeddings import LanguageEmbeddings, RegionEmbeddings
from lxmert_tf.layers.heads import Pooler
from lxmert_tf.layers.packing import PackedSequence, Packing
from lxmert_tf.layers.transformer import CrossModalityLayer, TransformerLayer
from lxmert_tf.models.config import LxmertConfig
from lxmert_tf.models.presets import PresetModel, dtype_policy

# The names of the attention probabilities of each encoder and direction.
ATTENTIONS = ("language", "vision", "language_to_vision", "vision_to_language")
REQUIRED_INPUTS = ("token_ids", "padding_mask", "region_features", "region_boxes")


def model_inputs(config: LxmertConfig, images: int = 1) -> dict[str, Any]:
    """Return the symbolic inputs of a model.

    Args:
        config: Sizes of the model.
        images: Images per sentence; if more than one, the region inputs have an axis for them.
    """
    lead = () if images == 1 else (images,)
    shapes = {
        "token_ids": ((None,), tf.int32),
        "segment_ids": ((None,), tf.int32),
        "padding_mask": ((None,), tf.int32),
        "region_features": ((*lead, None, config.region_feature_size), tf.float32),
        "region_boxes": ((*lead, None, config.region_box_size), tf.float32),
        "region_mask": ((*lead, None), tf.int32),
    }
    return {
        name: keras.Input(shape, name=name, dtype=dtype) for name, (shape, dtype) in shapes.items()
    }


def with_optional_inputs(inputs: Mapping[str, Any] | list) -> dict[str, Any]:
    """Return the inputs of a model with those that were left out.

    Args:
        inputs: As in a call of `LxmertBackbone`; other keys are ignored. A list holds all inputs
            in the order of `model.inputs`.

    Raises:
        ValueError: A required input is missing.
    """
    if not isinstance(inputs, Mapping):
        # Keras flattens a dict in the order of its keys.
        names = sorted((*REQUIRED_INPUTS, "segment_ids", "region_mask"))
        inputs = dict(zip(names, tf.nest.flatten(inputs)))
    missing = [name for name in REQUIRED_INPUTS if name not in inputs]
    if missing:
        raise ValueError(f"inputs lack {', '.join(missing)}; given are {', '.join(sorted(inputs))}")
    complete = {name: inputs[name] for name in REQUIRED_INPUTS}
    segment_ids, region_mask = inputs.get("segment_ids"), inputs.get("region_mask")
    complete["segment_ids"] = (
        tf.zeros_like(complete["token_ids"]) if segment_ids is None else segment_ids
    )
    complete["region_mask"] = (
        tf.ones(tf.shape(complete["region_boxes"])[:-1], tf.int32)
        if region_mask is None
        else region_mask
    )
    return complete


@keras.utils.register_keras_serializable("lxmert_tf")
class LxmertBackbone(PresetModel):
    """LXMERT without heads (Tan & Bansal 2019, section 2).

    Args:
        config: Sizes and rates.
        pooled_only: Whether only `pooled_output` is needed. The last cross-modality layer then
            computes just the first token, and the weights that `pooled_output` does not depend on
            are not trainable.
        **kwargs: See `PresetModel`.

    Call arguments:
        inputs: A dict of `token_ids` int [B, T], `segment_ids` int [B, T] (optional, zeros),
            `padding_mask` [B, T] (1 = token), `region_features` float [B, R, F], `region_boxes`
            float [B, R, 4] (x1 y1 x2 y2 in 0..1) and `region_mask` [B, R] (optional, ones).
        training: Whether dropout is on.
        output_attentions: Whether to return the attention probabilities, too.
        packed: Whether to leave out padded tokens and absent regions. Outputs at their positions
            are then undefined; all others are the same.

    Returns:
        A dict of `language_output` [B, T, H], `vision_output` [B, R, H] and `pooled_output`
        [B, H]; with `pooled_only` the last alone. With `output_attentions` also `attentions`: a
        dict of `language`, `vision`, `language_to_vision` and `vision_to_language`, each a list
        over layers of float32 [B, heads, query, key].

    Example:
        import tensorflow as tf

        from lxmert_tf import LxmertBackbone, LxmertConfig

        backbone = LxmertBackbone(LxmertConfig(hidden_size=48, num_attention_heads=4))
        backbone.summary(expand_nested=True)
        outputs = backbone({"token_ids": tf.constant([[101, 102]]),
                            "padding_mask": tf.ones([1, 2]),
                            "region_features": tf.zeros([1, 36, 2048]),
                            "region_boxes": tf.zeros([1, 36, 4])})
    """

    def __init__(self, config: LxmertConfig | dict[str, Any], pooled_only: bool = False, **kwargs):
        config = LxmertConfig.from_dict(config) if isinstance(config, dict) else config
        common = {
            "epsilon": config.layer_norm_eps,
            "initializer_range": config.initializer_range,
            "dtype": dtype_policy(kwargs.get("dtype")),
        }
        embeddings = {
            "hidden_size": config.hidden_size,
            "dropout": config.hidden_dropout,
            **common,
        }
        transformer = {
            "num_heads": config.num_attention_heads,
            "intermediate_size": config.intermediate_size,
            "hidden_act": config.hidden_act,
            "hidden_dropout": config.hidden_dropout,
            "attention_dropout": config.attention_dropout,
            **common,
        }

        layers = {
            "language_embeddings": LanguageEmbeddings(
                vocab_size=config.vocab_size,
                max_position_embeddings=config.max_position_embeddings,
                type_vocab_size=config.type_vocab_size,
                name="language_embeddings",
                **embeddings,
            ),
            "region_embeddings": RegionEmbeddings(
                box_size=config.region_box_size, name="region_embeddings", **embeddings
            ),
            "language_layers": [
                TransformerLayer(name=f"language_layer_{i}", **transformer)
                for i in range(config.language_layers)
            ],
            "relationship_layers": [
                TransformerLayer(name=f"relationship_layer_{i}", **transformer)
                for i in range(config.relationship_layers)
            ],
            "cross_modality_layers": [
                CrossModalityLayer(
                    name=f"cross_modality_layer_{i}",
                    pooled_only=pooled_only and i == config.cross_layers - 1,
                    **transformer,
                )
                for i in range(config.cross_layers)
            ],
            "pooler": Pooler(
                config.hidden_size,
                config.initializer_range,
                dtype=common["dtype"],
                name="pooler",
            ),
        }
        # Keras tracks the layers through the graph; these attributes only name them. Set through
        # Keras, which needs the graph first, lists of layers would be tracked a second time.
        for name, value in layers.items():
            object.__setattr__(self, name, value)

        inputs = model_inputs(config)
        super().__init__(inputs=inputs, outputs=self._forward(inputs), config=config, **kwargs)
        self.pooled_only = pooled_only

    @property
    def word_embeddings(self) -> tf.Variable:
        """The word-piece table [V, H], which the masked-LM head shares."""
        return self.language_embeddings.word_embeddings

    def call(self, inputs, training=None, mask=None, output_attentions=None, packed=False):
        return self._forward(
            with_optional_inputs(inputs),
            training=training,
            output_attentions=self.returns_attentions(output_attentions),
            packed=packed,
        )

    # Nothing in it is for AutoGraph, which would rewrite every layer first.
    @tf.autograph.experimental.do_not_convert
    def _forward(self, inputs, training=None, output_attentions=False, packed=False):
        attentions = {kind: [] for kind in ATTENTIONS} if output_attentions else None
        common = {"training": training, "packed": packed, "attentions": attentions}
        image_state = self.encode_image(
            inputs["region_features"], inputs["region_boxes"], inputs["region_mask"], **common
        )
        text_state = self.encode_text(
            inputs["token_ids"], inputs["segment_ids"], inputs["padding_mask"], **common
        )
        outputs = self.relate(
            text_state, inputs["padding_mask"], image_state, inputs["region_mask"], **common
        )
        return {**outputs, "attentions": attentions} if output_attentions else outputs

    def encode_image(
        self,
        region_features,
        region_boxes,
        region_mask,
        training=None,
        packed=False,
        attentions=None,
    ):
        """Return the part that depends on the image alone: the object-relationship encoder.

        Args:
            region_features: [B, R, F].
            region_boxes: [B, R, 4], in 0..1.
            region_mask: [B, R], 1 = region.
            training: Whether dropout is on.
            packed: Whether to leave out absent regions.
            attentions: A dict whose list `vision` gets the probabilities [B, heads, R, R] of each
                layer; None keeps none.

        Returns:
            The image state [B, R, H].
        """
        if packed:
            packing = Packing(region_mask)
            region_features, region_boxes = map(packing.pack, (region_features, region_boxes))
        hidden = self.region_embeddings(region_features, region_boxes, training=training)
        if packed:
            hidden = PackedSequence(hidden, packing)
        collected = None if attentions is None else attentions["vision"]
        return _padded(_run(self.relationship_layers, hidden, region_mask, training, collected))

    def encode_text(
        self,
        token_ids,
        segment_ids,
        padding_mask,
        training=None,
        packed=False,
        attentions=None,
    ):
        """Return the part that depends on the words alone: the language encoder.

        Args:
            token_ids: int [B, T].
            segment_ids: int [B, T]; zeros if None.
            padding_mask: [B, T], 1 = token.
            training: Whether dropout is on.
            packed: Whether to leave out padded tokens.
            attentions: A dict whose list `language` gets the probabilities [B, heads, T, T] of
                each layer; None keeps none.

        Returns:
            The text state [B, T, H].
        """
        hidden = self.language_embeddings(token_ids, segment_ids, training=training)
        if packed:
            hidden = _packed(hidden, padding_mask)
        collected = None if attentions is None else attentions["language"]
        return _padded(_run(self.language_layers, hidden, padding_mask, training, collected))

    def relate(
        self,
        text_state,
        padding_mask,
        image_state,
        region_mask,
        training=None,
        packed=False,
        attentions=None,
    ):
        """Return the part that depends on both: the cross-modality encoder and the pooler.

        Args:
            text_state: [B, T, H], from `encode_text`.
            padding_mask: [B, T], 1 = token.
            image_state: [B, R, H], from `encode_image`.
            region_mask: [B, R], 1 = region.
            training: Whether dropout is on.
            packed: Whether to leave out padded tokens and absent regions.
            attentions: A dict whose lists `language_to_vision` and `vision_to_language` get the
                probabilities [B, heads, T, R] and [B, heads, R, T] of each layer; None keeps none.

        Returns:
            The outputs of a call, without attentions.
        """
        language, vision = text_state, image_state
        if packed:
            language = _packed(text_state, padding_mask)
            vision = _packed(image_state, region_mask)
        for layer in self.cross_modality_layers:
            sides = layer(
                language,
                vision,
                padding_mask,
                region_mask,
                training=training,
                output_attentions=attentions is not None,
            )
            if attentions is not None:
                *sides, to_vision, to_language = sides
                attentions["language_to_vision"].append(to_vision)
                attentions["vision_to_language"].append(to_language)
            if layer.pooled_only:
                [first] = sides if attentions is not None else [sides]
                return {"pooled_output": self.pooler(first)}
            language, vision = sides
        return {
            "language_output": _padded(language),
            "vision_output": _padded(vision),
            "pooled_output": self.pooler(language.first() if packed else language),
        }

    def compute_output_shape(self, input_shape):
        """Return the shapes of the outputs for a dict of the shapes of the inputs."""
        size = self.config.hidden_size
        shapes = {
            "language_output": [*input_shape["token_ids"], size],
            "vision_output": [*input_shape["region_features"][:-1], size],
            "pooled_output": [input_shape["token_ids"][0], size],
        }
        names = ["pooled_output"] if self.pooled_only else list(shapes)
        return {name: tf.TensorShape(shapes[name]) for name in names}

    def get_config(self):
        return {**super().get_config(), "pooled_only": self.pooled_only}


def _packed(batch, mask) -> PackedSequence:
    packing = Packing(mask)
    return PackedSequence(packing.pack(batch), packing)


def _padded(hidden):
    return hidden.unpack() if isinstance(hidden, PackedSequence) else hidden


def _run(layers, hidden, mask, training, attentions: list | None):
    """Run layer after layer; append each one's probabilities to `attentions` unless it is None."""
    for layer in layers:
        if attentions is None:
            hidden = layer(hidden, mask, training=training)
            continue
        hidden, probabilities = layer(hidden, mask, training=training, output_attentions=True)
        attentions.append(probabilities)
    return hidden
