"""Tokenization of questions into word-piece ids, without TensorFlow."""

from collections.abc import Sequence

import numpy as np
from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers

from lxmert_tf.models.special_pieces import special_piece_ids

# The longest word in characters; a longer one becomes [UNK], as in BERT.
LONGEST_WORD = 100


class QuestionTokenizer:
    """Gives the ids of `LxmertTextPreprocessor` with `pad_to_longest`.

    They differ in words of more than 100 bytes that have at most 100 characters, which are [UNK]
    there, and in characters that one of the two libraries does not know.

    Args:
        vocabulary: The word pieces in the order of their ids.
        max_length: Pieces per question with [CLS] and [SEP]; longer questions are cut.

    Raises:
        InputError: The vocabulary lacks a special piece or has a piece twice.
    """

    def __init__(self, vocabulary: Sequence[str], max_length: int):
        special = special_piece_ids(vocabulary)
        self._start, self._end = special["[CLS]"], special["[SEP]"]
        self._padding = special["[PAD]"]
        self._max_length = max_length
        ids = {piece: number for number, piece in enumerate(vocabulary)}
        self._tokenizer = Tokenizer(
            models.WordPiece(ids, unk_token="[UNK]", max_input_chars_per_word=LONGEST_WORD)
        )
        # The steps of `normalize` in lxmert_tf/models/text_preprocessor.py, with the classes of
        # characters spelled out that the two libraries understand differently.
        self._tokenizer.normalizer = normalizers.Sequence(
            [
                normalizers.Replace(Regex(r"[\t\n\f\r \p{Z}]+"), " "),
                normalizers.Replace(Regex(r"[\p{Cc}\p{Cf}\p{Co}\x{FFFD}]"), ""),
                normalizers.Lowercase(),
                normalizers.NFD(),
                normalizers.Replace(Regex(r"\p{Mn}"), ""),
                normalizers.BertNormalizer(
                    clean_text=False,
                    handle_chinese_chars=True,
                    strip_accents=False,
                    lowercase=False,
                ),
            ]
        )
        self._tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()

    def __call__(self, questions: Sequence[str | bytes]) -> dict[str, np.ndarray]:
        """Return `token_ids` and `padding_mask`, int32 [Q, T], of Q questions, at least one.

        Args:
            questions: Texts, or UTF-8, of which invalid bytes are removed.
        """
        encoded = self._tokenizer.encode_batch(
            [_as_text(question) for question in questions], add_special_tokens=False
        )
        rows = [[self._start, *one.ids[: self._max_length - 2], self._end] for one in encoded]
        lengths = np.array([len(row) for row in rows])
        mask = np.arange(lengths.max()) < lengths[:, np.newaxis]
        token_ids = np.full(mask.shape, self._padding, np.int32)
        token_ids[mask] = np.concatenate(rows)
        return {"token_ids": token_ids, "padding_mask": mask.astype(np.int32)}


def _as_text(question: str | bytes) -> str:
    if isinstance(question, bytes):
        return question.decode("utf-8", "ignore")
    # Halves of surrogate pairs, which UTF-8 does not have.
    return question.encode("utf-8", "ignore").decode()
