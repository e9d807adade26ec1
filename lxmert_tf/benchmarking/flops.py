"""How many floating-point operations a batch asks for: two for each multiply-add of its products.

What is not a matrix product (LayerNorm, GELU, softmax, look-ups) is left out. Parts by name:
`language`, `relationship` and `cross_modality` are the encoders' dense layers, `attention` the
scores and contexts of all of them, `heads` the pooler and what comes after it.
"""

import collections
import dataclasses

from lxmert_tf.models.config import LxmertConfig

Flops = collections.Counter
# A backward pass multiplies each gradient with the weights and with the inputs. The first layers
# need no gradient of their inputs, which is not taken off.
TRAINING_FACTOR = 3


@dataclasses.dataclass(frozen=True)
class BatchShape:
    """What decides the work of a batch.

    Args:
        examples: B.
        words: word pieces that go through the dense layers: B x T, or where padding is left out
            the sum of the sentences' lengths.
        longest: T, the length that attention works on.
        regions: R per example.
    """

    examples: int
    words: int
    longest: int
    regions: int


def encode_image_flops(config: LxmertConfig, examples: int, regions: int) -> Flops:
    """The part that depends on the image alone, as `LxmertBackbone.encode_image`."""
    rows = examples * regions
    inputs = config.region_feature_size + config.region_box_size
    return Flops(
        relationship=_dense(rows, inputs, config.hidden_size)
        + config.relationship_layers * _transformer_layer(config, rows),
        attention=config.relationship_layers * _attention(config, examples, regions, regions),
    )


def encode_text_flops(config: LxmertConfig, shape: BatchShape) -> Flops:
    """The part that depends on the words alone, as `LxmertBackbone.encode_text`."""
    attention = _attention(config, shape.examples, shape.longest, shape.longest)
    return Flops(
        language=config.language_layers * _transformer_layer(config, shape.words),
        attention=config.language_layers * attention,
    )


def relate_flops(config: LxmertConfig, shape: BatchShape) -> Flops:
    """The cross-modality encoder, for every word and every region, as `LxmertBackbone.relate`."""
    return _times(config.cross_layers, _cross_layer(config, shape))


def relate_words_flops(config: LxmertConfig, shape: BatchShape) -> Flops:
    """As `relate_flops`, without what no word depends on: the last layer's vision side."""
    rows = shape.examples * shape.regions
    unread = Flops(
        cross_modality=_transformer_layer(config, rows),
        attention=_attention(config, shape.examples, shape.regions, shape.regions),
    )
    return relate_flops(config, shape) - unread


def relate_first_word_flops(config: LxmertConfig, shape: BatchShape) -> Flops:
    """As `relate_flops`, the last layer only as far as the first word's output depends on it."""
    hidden = config.hidden_size
    # Queries and output of the words, keys and values of the regions; then keys and values of the
    # words, and the rest for one word.
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
    """The pooler and the answer head."""
    hidden = config.hidden_size
    return Flops(
        heads=_dense(examples, hidden, hidden)
        + _dense(examples, hidden, 2 * hidden)
        + _dense(examples, 2 * hidden, config.num_answers)
    )


def masked_lm_head_flops(config: LxmertConfig, words: int) -> Flops:
    """The masked-LM head on as many words."""
    hidden = config.hidden_size
    return Flops(heads=_dense(words, hidden, hidden + config.vocab_size))


def region_head_flops(config: LxmertConfig, regions: int, with_features: int) -> Flops:
    """The head on regions, of which some have their features predicted, too."""
    hidden = config.hidden_size
    classes = config.num_objects + config.num_attributes
    return Flops(
        heads=_dense(regions, hidden, hidden + classes)
        + _dense(with_features, hidden, config.region_feature_size)
    )


def matched_head_flops(config: LxmertConfig, examples: int) -> Flops:
    """Whether the sentence is of the image."""
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
    # Queries, keys, values and the output.
    return _dense(rows, config.hidden_size, 4 * config.hidden_size)


def _feed_forward(config: LxmertConfig, rows: int) -> int:
    return 2 * _dense(rows, config.hidden_size, config.intermediate_size)


def _attention(config: LxmertConfig, examples: int, queries: int, keys: int) -> int:
    # Scores, and the contexts.
    return 2 * 2 * examples * queries * keys * config.hidden_size


def _dense(rows: int, inputs: int, units: int) -> int:
    return 2 * rows * inputs * units


def _times(factor: int, flops: Flops) -> Flops:
    return Flops({part: factor * count for part, count in flops.items()})
