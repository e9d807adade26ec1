"""The vocabulary that is made from the training sentences."""

import collections
import itertools
import random

import easy_vqa
import pytest
import tensorflow as tf

from lxmert_tf import LxmertTextPreprocessor
from lxmert_tf.models.special_pieces import SPECIAL_PIECES
from lxmert_tf.training.vocabulary import FREQUENT, build_vocabulary, split_words


@pytest.fixture(scope="module")
def questions() -> list[str]:
    return easy_vqa.get_test_questions()[0]


@pytest.fixture(scope="module")
def word_counts(questions) -> collections.Counter:
    words = split_words(tf.constant(questions)).flat_values.numpy().tolist()
    return collections.Counter(word.decode() for word in words)


def test_words_are_split_as_the_tokenizer_splits_them():
    words = split_words(tf.constant(["What's the COLOR?", "  Crème\tbrûlée "]))
    expected = [[b"what", b"'", b"s", b"the", b"color", b"?"], [b"creme", b"brulee"]]
    assert words.to_list() == expected


def test_frequent_words_stay_whole(word_counts):
    frequent = {word for word, count in word_counts.items() if count >= FREQUENT}
    assert {"color", "triangle", "?"} <= frequent
    characters = {*"".join(word_counts)}
    # The demo's size, and about the smallest one that has room for the words.
    for size in (200, len(SPECIAL_PIECES) + 2 * len(characters) + len(word_counts)):
        vocabulary = build_vocabulary(word_counts, size)
        assert frequent <= set(vocabulary)
        assert len(vocabulary) <= size


def test_every_training_sentence_can_be_read(questions, word_counts):
    vocabulary = build_vocabulary(word_counts, 200)
    distinct = sorted(set(questions))
    ids = LxmertTextPreprocessor(vocabulary)(tf.constant(distinct))["token_ids"].numpy()
    assert not (ids == vocabulary.index("[UNK]")).any()
    # No question is cut.
    assert (ids == vocabulary.index("[SEP]")).sum(axis=1).all()


@pytest.mark.parametrize("size", [6, 30, 60, 90, 200, 30522])
def test_no_size_is_exceeded_and_every_piece_is_there_once(word_counts, size):
    vocabulary = build_vocabulary(word_counts, size)
    assert len(vocabulary) == len(set(vocabulary)) <= size
    assert vocabulary[: len(SPECIAL_PIECES)] == list(SPECIAL_PIECES)


def test_the_order_of_the_words_does_not_matter(word_counts):
    pairs = list(word_counts.items())
    random.Random(0).shuffle(pairs)
    assert build_vocabulary(dict(pairs), 100) == build_vocabulary(word_counts, 100)


def test_counts_decide_which_words_stay_whole():
    words = {f"stem{a}{b}": 2 for a, b in itertools.product("abcdefgh", repeat=2)}
    vocabulary = build_vocabulary({**words, "stemhh": 90, "stemcd": 80}, 60)
    assert {"stemhh", "stemcd"} <= set(vocabulary)


def test_special_pieces_among_the_words_are_there_once():
    vocabulary = build_vocabulary({"[MASK]": 500, "a": 3}, 20)
    assert vocabulary.count("[MASK]") == 1
    assert build_vocabulary({}, 20) == list(SPECIAL_PIECES)
