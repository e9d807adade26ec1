"""Masking and swapping: rates, labels, and positions that are never masked."""

import numpy as np
import pytest
import tensorflow as tf

from lxmert_tf.data.masking import draw_answers, mask_regions, mask_words, swap_sentences
from lxmert_tf.data.masking_rates import MaskingRates
from lxmert_tf.data.stateless_random import RngKeys
from lxmert_tf.errors import InputError
from tests.lxmert_tf.samples import one_line

RATES = MaskingRates()
PAD, CLS, SEP, MASK, VOCABULARY = 0, 2, 3, 4, 1000


def ids(prefix: str, count: int) -> tf.Tensor:
    return tf.constant([f"{prefix}{i}" for i in range(count)])


def assert_rate(hits, rate: float):
    """The share of hits is the rate, within five standard deviations of so many draws."""
    hits = np.asarray(hits).ravel()
    deviation = np.sqrt(rate * (1 - rate) / len(hits))
    assert abs(hits.mean() - rate) < 5 * deviation, f"{hits.mean()} of {len(hits)}, not {rate}"


@pytest.fixture(scope="module")
def words():
    """5,000 sentences of 20 free pieces each: 100,000 draws."""
    tokens = np.full((5000, 24), 7, np.int32)
    tokens[:, 0], tokens[:, 21], tokens[:, 22:] = CLS, SEP, PAD
    mask = (tokens != PAD).astype(np.int32)
    keys = RngKeys(1, 0, ids("q", 5000))
    hidden, labels = mask_words(
        tf.constant(tokens), tf.constant(mask), [PAD, CLS, SEP], MASK, VOCABULARY, keys, RATES
    )
    return tokens, hidden.numpy(), labels.numpy()


def test_words_are_chosen_and_changed_at_the_published_rates(words):
    tokens, hidden, labels = words
    free = slice(1, 21)
    chosen = labels[:, free] != -1
    assert chosen.size == 100_000
    assert_rate(chosen, 0.15)
    seen = hidden[:, free][chosen]
    assert_rate(seen == MASK, 0.8 + 0.1 / VOCABULARY)
    assert_rate(seen == 7, 0.1 + 0.1 / VOCABULARY)
    random_pieces = seen[(seen != MASK) & (seen != 7)]
    assert_rate(random_pieces < VOCABULARY / 2, 0.5)
    assert random_pieces.min() >= 0 and random_pieces.max() < VOCABULARY


def test_labels_are_the_original_pieces_and_nothing_else_changes(words):
    tokens, hidden, labels = words
    chosen = labels != -1
    np.testing.assert_array_equal(labels[chosen], tokens[chosen])
    np.testing.assert_array_equal(hidden[~chosen], tokens[~chosen])


def test_special_and_padded_pieces_are_never_chosen(words):
    tokens, _, labels = words
    assert (labels[np.isin(tokens, [PAD, CLS, SEP])] == -1).all()


@pytest.fixture(scope="module")
def regions():
    """100,000 regions; region r of image i has the feature (i, r)."""
    batch, count = 500, 200
    image, region = np.meshgrid(np.arange(batch), np.arange(count), indexing="ij")
    features = np.stack([image + 1, region + 1], axis=-1).astype(np.float32)
    mask = np.ones((batch, count), np.int32)
    hidden, chosen = mask_regions(
        tf.constant(features),
        tf.constant(mask),
        ids("i", batch),
        RngKeys(1, 0, ids("q", batch)),
        RATES,
    )
    return features, hidden.numpy(), chosen.numpy()


def test_regions_are_chosen_and_changed_at_the_published_rates(regions):
    features, hidden, chosen = regions
    assert chosen.size == 100_000
    assert_rate(chosen, 0.15)
    before, after = features[chosen == 1], hidden[chosen == 1]
    erased = (after == 0).all(axis=-1)
    kept = (after == before).all(axis=-1)
    assert_rate(erased, 0.8)
    assert_rate(kept, 0.1)
    foreign = ~erased & ~kept
    assert (after[foreign][:, 0] != before[foreign][:, 0]).all()
    np.testing.assert_array_equal(hidden[chosen == 0], features[chosen == 0])


def test_padded_regions_are_neither_chosen_nor_used_as_replacements():
    batch, count = 200, 20
    features = np.ones((batch, count, 1), np.float32)
    features[:, 10:] = 99
    mask = np.tile(np.arange(count) < 10, (batch, 1)).astype(np.int32)
    rates = MaskingRates(regions=1.0, erased=0.0, replaced=1.0)
    hidden, chosen = mask_regions(
        tf.constant(features),
        tf.constant(mask),
        ids("i", batch),
        RngKeys(1, 0, ids("q", batch)),
        rates,
    )
    np.testing.assert_array_equal(chosen, mask)
    assert (hidden.numpy()[:, :10] == 1).all()


def test_a_batch_of_one_image_erases_regions_instead_of_replacing_them():
    rates = MaskingRates(regions=1.0, erased=0.0, replaced=1.0)
    features, mask = tf.ones([3, 4, 2]), tf.ones([3, 4], tf.int32)
    same = tf.constant(["i", "i", "i"])
    hidden, _ = mask_regions(features, mask, same, RngKeys(1, 0, ids("q", 3)), rates)
    assert (hidden.numpy() == 0).all()


@pytest.mark.slow
def test_half_of_the_sentences_are_swapped_between_images():
    batch = 1000
    images = tf.constant([f"i{n // 4}" for n in range(batch)])
    tokens = tf.range(batch)[:, tf.newaxis]
    swapped, own = [], np.arange(batch) // 4
    for epoch in range(100):
        keys = RngKeys(1, epoch, ids("q", batch))
        shown, _, matched = swap_sentences(tokens, tf.ones_like(tokens), images, keys, RATES)
        swapped.append(matched.numpy() == 0)
        of_image = shown.numpy()[:, 0] // 4
        assert (of_image[swapped[-1]] != own[swapped[-1]]).all()
        np.testing.assert_array_equal(
            shown.numpy()[~swapped[-1], 0], np.arange(batch)[~swapped[-1]]
        )
    assert_rate(swapped, 0.5)


def test_a_batch_of_one_image_swaps_nothing():
    tokens = tf.ones([3, 2], tf.int32)
    same = tf.constant(["i", "i", "i"])
    keys = RngKeys(1, 0, ids("q", 3))
    *_, matched = swap_sentences(tokens, tokens, same, keys, MaskingRates(swapped=1.0))
    assert matched.numpy().tolist() == [1, 1, 1]


def test_answers_are_drawn_in_proportion_to_their_scores():
    batch = 100_000
    answers = tf.RaggedTensor.from_tensor(tf.tile([[5, -1, 6, 7]], [batch, 1]))
    scores = tf.RaggedTensor.from_tensor(tf.tile([[0.3, 0.9, 0.6, 0.0]], [batch, 1]))
    # One key each; the draws themselves are what `uniform` gives to any other purpose.
    labels = draw_answers(
        answers, scores, tf.ones([batch], tf.int32), RngKeys(1, 0, ids("q", batch))
    )
    assert set(labels.numpy()) == {5, 6}
    assert_rate(labels.numpy() == 5, 1 / 3)


def test_swapped_unanswered_and_unknown_examples_have_no_answer_label():
    answers = tf.ragged.constant([[5], [], [-1], [5]], dtype=tf.int64)
    scores = tf.ragged.constant([[1.0], [], [1.0], [0.0]])
    labels = draw_answers(answers, scores, tf.constant([0, 1, 1, 1]), RngKeys(1, 0, ids("q", 4)))
    assert labels.numpy().tolist() == [-1, -1, -1, -1]


def test_random_numbers_depend_only_on_seed_epoch_example_and_purpose():
    keys = RngKeys(1, 0, ids("q", 8))
    numbers = keys.uniform("words", [5, 2]).numpy()
    np.testing.assert_array_equal(numbers, keys.uniform("words", [5, 2]))
    order = [3, 1, 7]
    fewer = RngKeys(1, 0, tf.gather(keys.example_ids, order)).uniform("words", [9, 2])
    np.testing.assert_array_equal(numbers[order], fewer[:, :5])
    for other in (
        RngKeys(2, 0, keys.example_ids).uniform("words", [5, 2]),
        RngKeys(1, 1, keys.example_ids).uniform("words", [5, 2]),
        keys.uniform("regions", [5, 2]),
    ):
        assert not np.isclose(numbers, other).any()


def test_masking_is_the_same_inside_tf_data():
    tokens = tf.fill([6, 5], 7)
    examples = ids("q", 6)

    def masked(epoch):
        keys = RngKeys(3, epoch, examples)
        return mask_words(tokens, tf.ones_like(tokens), [PAD], MASK, VOCABULARY, keys, RATES)[0]

    mapped = list(tf.data.Dataset.range(3).map(masked, num_parallel_calls=2))
    for epoch, inside in enumerate(mapped):
        np.testing.assert_array_equal(inside, masked(epoch))


@pytest.mark.parametrize(
    ("rates", "message"),
    [
        ({"words": 1.5}, "words is 1.5; it must be at most 1"),
        ({"swapped": -0.1}, "swapped is -0.1; it must be at least 0"),
        ({"regions": "few"}, "regions is 'few'; it must be a number"),
        ({"erased": 0.5, "replaced": 0.75}, "erased + replaced is 1.25; at most 1"),
    ],
)
def test_invalid_rates_are_refused(rates, message):
    with pytest.raises(InputError) as raised:
        MaskingRates(**rates)
    assert one_line(raised).startswith(message)
