"""Counts of operations: published totals, and parts that must add up."""

import dataclasses

import pytest

from lxmert_tf.benchmarking import flops
from lxmert_tf.models.config import LxmertConfig

PUBLISHED = LxmertConfig()
ONE = flops.BatchShape(examples=1, words=20, longest=20, regions=36)


@pytest.mark.parametrize(
    "count, part, expected",
    [
        (flops.encode_text_flops(PUBLISHED, ONE), "language", 2.55e9),
        (flops.encode_image_flops(PUBLISHED, 1, 36), "relationship", 2.66e9),
        (flops.relate_flops(PUBLISHED, ONE), "cross_modality", 5.28e9),
        (flops.masked_lm_head_flops(PUBLISHED, 20), "heads", 0.96e9),
        (flops.region_head_flops(PUBLISHED, 36, 36), "heads", 0.27e9),
    ],
)
def test_counts_of_the_published_size(count, part, expected):
    assert count[part] == pytest.approx(expected, rel=0.02)


def test_attention_counts_scores_and_contexts():
    config = LxmertConfig(language_layers=1)
    assert flops.encode_text_flops(config, ONE)["attention"] == 4 * 20 * 20 * 768


def test_counts_grow_linearly_with_the_batch():
    batch = flops.BatchShape(examples=7, words=7 * 20, longest=20, regions=36)
    for count in (flops.relate_flops, flops.relate_pooled_flops):
        one = count(PUBLISHED, ONE)
        assert count(PUBLISHED, batch) == {part: 7 * number for part, number in one.items()}


def test_packing_saves_dense_layers_and_no_attention():
    batch = flops.BatchShape(examples=2, words=40, longest=20, regions=36)
    packed = dataclasses.replace(batch, words=30)
    padded, without = (flops.encode_text_flops(PUBLISHED, shape) for shape in (batch, packed))
    assert without["language"] == padded["language"] * 30 // 40
    assert without["attention"] == padded["attention"]


def test_pooled_only_saves_the_vision_side_of_the_last_layer():
    shape = flops.BatchShape(examples=1, words=1, longest=1, regions=1)
    everything = flops.relate_flops(PUBLISHED, shape)
    pooled = flops.relate_pooled_flops(PUBLISHED, shape)
    # Self-attention and feed-forward block of one region.
    layer = flops.encode_image_flops(LxmertConfig(relationship_layers=1), 1, 1)
    embeddings = flops.encode_image_flops(LxmertConfig(relationship_layers=0), 1, 1)
    region_layer = layer["relationship"] - embeddings["relationship"]
    # In cross-attention, the region has no query and no output, the word no key and no value.
    cross_attention = 4 * 2 * 768 * 768
    assert everything["cross_modality"] - pooled["cross_modality"] == region_layer + cross_attention
    assert everything["attention"] - pooled["attention"] == 2 * 4 * 768


def test_pooled_only_saves_more_with_longer_sentences():
    one_word = dataclasses.replace(ONE, words=1, longest=1)
    savings = [
        flops.relate_flops(PUBLISHED, shape)["cross_modality"]
        - flops.relate_pooled_flops(PUBLISHED, shape)["cross_modality"]
        for shape in (one_word, ONE)
    ]
    # For each further word: a query and an output in self-attention and the feed-forward block, and
    # a key and a value in cross-attention.
    assert savings[1] - savings[0] == 19 * (4 * 2 * 768 * 768 + 2 * 2 * 768 * 3072)
