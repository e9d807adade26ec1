"""A word-piece vocabulary made from the words of the training sentences."""

import bisect
import collections
import functools
from collections.abc import Mapping

import tensorflow as tf
from tensorflow_text.python.ops.bert_tokenizer import BasicTokenizer
from tensorflow_text.tools.wordpiece_vocab import wordpiece_tokenizer_learner_lib as learner

from lxmert_tf.models.special_pieces import SPECIAL_PIECES
from lxmert_tf.models.text_preprocessor import normalize

# Words that occur this often are kept whole if all of them fit.
FREQUENT = 100
# Limits of TF-Text's vocabulary tool: longer words and rarer characters are left out.
LONGEST = 50
MOST_CHARACTERS = 1000


def split_words(sentences: tf.Tensor) -> tf.RaggedTensor:
    """Split sentences into the words and punctuation that BERT's uncased tokenizer sees.

    Args:
        sentences: Strings [S].

    Returns:
        Ragged strings [S, (words)].
    """
    return BasicTokenizer(lower_case=False).tokenize(normalize(sentences))


def build_vocabulary(word_counts: Mapping[str, int], size: int) -> list[str]:
    """Build a word-piece vocabulary.

    It holds the special pieces, the characters (so that every word can be read), and as many words
    and parts of words as fit, the most frequent first. Words that occur at least 100 times are kept
    whole if all of them fit; parts of words do not take their place.

    Args:
        word_counts: How often each word of `split_words` occurs in the training sentences.
        size: Most entries that the vocabulary may have.

    Returns:
        At most `size` distinct pieces, the special ones first. The order of `word_counts` does not
        matter.

    Example:
        build_vocabulary({"what": 310, "color": 120, "is": 300}, size=60)
    """
    characters = _characters(word_counts)
    known = {piece.removeprefix("##") for piece in characters}
    words = [word for word in word_counts if len(word) <= LONGEST and known.issuperset(word)]
    words.sort(key=lambda word: (-word_counts[word], word))
    frequent = [word for word in words if word_counts[word] >= FREQUENT]
    if len({*SPECIAL_PIECES, *characters, *frequent}) > size:
        frequent = []
    learned = _learn([(word, word_counts[word]) for word in words], size)
    pieces = [*SPECIAL_PIECES, *characters, *frequent, *learned, *words]
    return list(dict.fromkeys(pieces))[:size]


def _characters(word_counts: Mapping[str, int]) -> list[str]:
    """Return the characters as they begin and as they continue a word, the most frequent first."""
    counts: collections.Counter[str] = collections.Counter()
    for word, count in word_counts.items():
        for place, character in enumerate(word):
            counts[f"##{character}" if place else character] += count
    return sorted(counts, key=lambda piece: (-counts[piece], piece))[:MOST_CHARACTERS]


def _learn(counts: list[tuple[str, int]], size: int) -> list[str]:
    """Return the words and parts of words that occur most often, by TF-Text's algorithm.

    Not by its `learn`, which searches for the lowest threshold over all counts, 24 passes over the
    words for counts of millions, and may end with more pieces than asked for. Here the candidates
    are those at which 1/16, 2/16, ... of the pieces are whole words: 6 passes at most.

    Args:
        counts: Words and their counts, the most frequent first.
        size: Most pieces to return.
    """
    params = learner.Params(
        upper_thresh=None,
        lower_thresh=None,
        num_iterations=4,
        max_input_tokens=-1,
        max_token_length=LONGEST,
        max_unique_chars=MOST_CHARACTERS,
        vocab_size=size,
        slack_ratio=0,
        include_joiner_token=True,
        joiner="##",
        reserved_tokens=list(SPECIAL_PIECES),
    )
    whole = min(size, len(counts))
    ranked = {counts[whole * part // 16 - 1][1] for part in range(1, 17)} if whole else set()
    # With one more, none of several equally frequent words stays whole.
    thresholds = sorted(ranked | {count + 1 for count in ranked})
    learn = functools.cache(lambda least: learner.learn_with_thresh(counts, least, params))
    place = bisect.bisect_left(thresholds, True, key=lambda least: len(learn(least)) <= size)
    return learn(thresholds[place]) if place < len(thresholds) else []
