"""Operations counted by hand elsewhere, and by parts that must add up."""

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


def test_a_batch_costs_as_much_as_its_examples():
    batch = flops.BatchShape(examples=7, words=7 * 20, longest=20, regions=36)
    for count in (flops.relate_flops, flops.relate_words_flops, flops.relate_first_word_flops):
        one = count(PUBLISHED, ONE)
        assert count(PUBLISHED, batch) == {part: 7 * number for part, number in one.items()}


def test_padding_that_is_left_out_still_counts_in_attention():
    batch = flops.BatchShape(examples=2, words=40, longest=20, regions=36)
    packed = dataclasses.replace(batch, words=30)
    padded, without = (flops.encode_text_flops(PUBLISHED, shape) for shape in (batch, packed))
    assert without["language"] == padded["language"] * 30 // 40
    assert without["attention"] == padded["attention"]


def test_the_less_is_read_the_less_is_computed():
    everything = flops.relate_flops(PUBLISHED, ONE)
    words = flops.relate_words_flops(PUBLISHED, ONE)
    first = flops.relate_first_word_flops(PUBLISHED, ONE)
    for part in ("cross_modality", "attention"):
        assert everything[part] > words[part] > first[part]
    # The vision side of one layer: self-attention and feed-forward over the regions.
    region_layer = flops.encode_image_flops(LxmertConfig(relationship_layers=1), 1, 36)
    embeddings = flops.encode_image_flops(LxmertConfig(relationship_layers=0), 1, 36)
    assert everything["cross_modality"] - words["cross_modality"] == (
        region_layer["relationship"] - embeddings["relationship"]
    )


def test_the_first_word_alone_costs_what_a_sentence_of_one_word_costs():
    # The region needs no query and no output, the word in cross-attention no key and no value.
    shape = flops.BatchShape(examples=1, words=1, longest=1, regions=1)
    words = flops.relate_words_flops(PUBLISHED, shape)
    first = flops.relate_first_word_flops(PUBLISHED, shape)
    assert words["cross_modality"] - first["cross_modality"] == 4 * 2 * 768 * 768
    assert words["attention"] - first["attention"] == 4 * 768
