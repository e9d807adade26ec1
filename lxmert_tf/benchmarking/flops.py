"""Counts of the floating-point operations of a batch, two for each multiply-add.

Only matrix products count; LayerNorm, GELU, softmax and look-ups are left out. The counts have
names: `language`, `relationship` and `cross_modality` are the dense layers of the encoders,
`attention` is the products of queries, keys and values in all of them, and `heads` is the pooler
and the heads.
"""

import collections
import dataclasses

from lxmert_tf.models.config import LxmertConfig

Flops = collections.Counter
# A forward pass and a backward pass, which multiplies each gradient with the weights and with the
# inputs. The first layers need no gradients of their inputs; the count ignores that.
TRAINING_FACTOR = 3


@dataclasses.dataclass(frozen=True)
class BatchShape:
    """The sizes that determine the operations of a batch.

    Args:
        examples: Number of examples, B.
        words: Word pieces in the dense layers: B x T, or the sum of the sentence lengths if padding
            is left out.
        longest: Length of the longest sentence, T; attention computes on padded sentences.
        regions: Regions per example, R.
    """

    examples: int
    words: int
    longest: int
    regions: int


def encode_image_flops(config: LxmertConfig, examples: int, regions: int) -> Flops:
    """Count `LxmertBackbone.encode_image`: the part that depends on the image alone."""
    rows = examples * regions
    inputs = config.region_feature_size + config.region_box_size
    return Flops(
        relationship=_dense(rows, inputs, config.hidden_size)
        + config.relationship_layers * _transformer_layer(config, rows),
        attention=config.relationship_layers * _attention(config, examples, regions, regions),
    )


def encode_text_flops(config: LxmertConfig, shape: BatchShape) -> Flops:
    """Count `LxmertBackbone.encode_text`: the part that depends on the words alone."""
    attention = _attention(config, shape.examples, shape.longest, shape.longest)
    return Flops(
        language=config.language_layers * _transformer_layer(config, shape.words),
        attention=config.language_layers * attention,
    )


def relate_flops(config: LxmertConfig, shape: BatchShape) -> Flops:
    """Count the cross-modality encoder of `LxmertBackbone.relate`, without the pooler."""
    return _times(config.cross_layers, _cross_layer(config, shape))


def relate_pooled_flops(config: LxmertConfig, shape: BatchShape) -> Flops:
    """Count as `relate_flops`, for a backbone with `pooled_only`."""
    hidden = config.hidden_size
    # In the last layer, cross-attention needs queries and outputs of the words, and keys and values
    # of the regions. Self-attention needs keys and values of the words; only the first word has a
    # query and an output, and goes through the feed-forward block.
    last = Flops(
        cross_modality=_dense(shape.words, hidden, 2 * hidden)
        + _dense(shape.examples * shape.regions, hidden, 2 * hidden)
        + _dense(shape.words, hidden, 2 * hidden)
        + _dense(shape.examples, hidden, 2 * hidden)
        + _feed_forward(config, shape.examples),
        attention=_attention(config, shape.examples, shape.longest, shape.regions)
        + _attention(config, shape.examples, 1, shape.longest),
    )
    return _times(config.cross_layers - 1, _cross_layer(config, shape)) + last


def answer_head_flops(config: LxmertConfig, examples: int) -> Flops:
    """Count the pooler and the answer head."""
    hidden = config.hidden_size
    return Flops(
        heads=_dense(examples, hidden, hidden)
        + _dense(examples, hidden, 2 * hidden)
        + _dense(examples, 2 * hidden, config.num_answers)
    )


def masked_lm_head_flops(config: LxmertConfig, words: int) -> Flops:
    """Count the masked-LM head on `words` word pieces."""
    hidden = config.hidden_size
    return Flops(heads=_dense(words, hidden, hidden + config.vocab_size))


def region_head_flops(config: LxmertConfig, regions: int, with_features: int) -> Flops:
    """Count the heads on regions.

    Args:
        config: Sizes of the model.
        regions: Number of regions whose objects and attributes are predicted.
        with_features: Number of regions whose features are predicted.
    """
    hidden = config.hidden_size
    classes = config.num_objects + config.num_attributes
    return Flops(
        heads=_dense(regions, hidden, hidden + classes)
        + _dense(with_features, hidden, config.region_feature_size)
    )


def matched_head_flops(config: LxmertConfig, examples: int) -> Flops:
    """Count the head that predicts if sentence and image match."""
    return Flops(heads=_dense(examples, config.hidden_size, 2))


def _cross_layer(config: LxmertConfig, shape: BatchShape) -> Flops:
    examples, longest, regions = shape.examples, shape.longest, shape.regions
    rows = shape.words + examples * regions
    return Flops(
        cross_modality=_projections(config, rows) + _transformer_layer(config, rows),
        attention=2 * _attention(config, examples, longest, regions)
        + _attention(config, examples, longest, longest)
        + _attention(config, examples, regions, regions),
    )


def _transformer_layer(config: LxmertConfig, rows: int) -> int:
    return _projections(config, rows) + _feed_forward(config, rows)


def _projections(config: LxmertConfig, rows: int) -> int:
    # Queries, keys, values and outputs.
    return _dense(rows, config.hidden_size, 4 * config.hidden_size)


def _feed_forward(config: LxmertConfig, rows: int) -> int:
    return 2 * _dense(rows, config.hidden_size, config.intermediate_size)


def _attention(config: LxmertConfig, examples: int, queries: int, keys: int) -> int:
    # Queries times keys, and probabilities times values.
    return 2 * 2 * examples * queries * keys * config.hidden_size


def _dense(rows: int, inputs: int, units: int) -> int:
    return 2 * rows * inputs * units


def _times(factor: int, flops: Flops) -> Flops:
    return Flops({part: factor * count for part, count in flops.items()})
