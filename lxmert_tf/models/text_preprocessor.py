"""Tokenization of sentences into word-piece ids, in the graph (TF-Text)."""

import tensorflow as tf
import tensorflow_text as tf_text
from tensorflow import keras

from lxmert_tf.errors import InputError
from lxmert_tf.models.special_pieces import special_piece_ids
from lxmert_tf.text_file import read_lines


def normalize(sentences) -> tf.Tensor:
    """Clean sentences, lower-case them and remove accents, as BERT's uncased tokenizer does.

    TF-Text's own lower-casing also folds compatibility characters (it turns the German sharp s
    into ss, full-width letters into ASCII and one half into 1/2), which BERT does not.

    Args:
        sentences: String tensor of any shape, UTF-8; invalid bytes are removed.

    Returns:
        String tensor of the same shape.
    """
    sentences = tf.strings.unicode_transcode(sentences, "UTF-8", "UTF-8", errors="replace")
    sentences = tf.strings.regex_replace(sentences, r"[\s\p{Z}]+", " ")
    sentences = tf.strings.regex_replace(sentences, r"[\p{C}\x{FFFD}]", "")
    sentences = tf.strings.lower(sentences, encoding="utf-8")
    sentences = tf_text.normalize_utf8(sentences, "NFD")
    return tf.strings.regex_replace(sentences, r"\p{Mn}", "")


@keras.utils.register_keras_serializable("lxmert_tf")
class LxmertTextPreprocessor(keras.layers.Layer):
    """Turns sentences into the text inputs of the models, as BERT's uncased tokenizer does.

    Args:
        vocabulary: The word pieces in the order of their ids: a list, or the path of a vocab.txt.
        max_length: Pieces per sentence with [CLS] and [SEP]; longer sentences are cut and keep
            [SEP].
        pad_to_longest: Whether to pad only to the longest sentence of the batch. It saves work and
            changes no result, since padded tokens are masked.

    Call arguments:
        sentences: String tensor [B].

    Returns:
        A dict of `token_ids`, `segment_ids` and `padding_mask`, int32 [B, T] with T = max_length,
        or less with `pad_to_longest`.

    Raises:
        InputError: The vocabulary lacks a special piece or has a piece twice, or max_length is
            below 3.

    Example:
        import tensorflow as tf

        from lxmert_tf import LxmertTextPreprocessor

        pieces = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "what", "color", "##s", "?"]
        inputs = LxmertTextPreprocessor(pieces)(tf.constant(["What colors?"]))
    """

    def __init__(self, vocabulary, max_length: int = 20, pad_to_longest: bool = False, **kwargs):
        # Ids and masks are integers: a layer's float policy must not touch them.
        super().__init__(**{"name": "text_preprocessor", **kwargs, "dtype": "int32"})
        if isinstance(vocabulary, str) or hasattr(vocabulary, "__fspath__"):
            vocabulary = read_lines(vocabulary)
        if max_length < 3:
            raise InputError(f"max_length is {max_length}; [CLS], a piece and [SEP] need 3")
        self.max_length = max_length
        self.pad_to_longest = pad_to_longest
        self._pieces = "\n".join(vocabulary)
        ids = special_piece_ids(vocabulary)
        self.start_id, self.end_id, self.pad_id = ids["[CLS]"], ids["[SEP]"], ids["[PAD]"]
        table = tf.lookup.StaticVocabularyTable(
            tf.lookup.KeyValueTensorInitializer(
                tf.constant(vocabulary), tf.range(len(vocabulary), dtype=tf.int64)
            ),
            num_oov_buckets=1,
        )
        # Words over 100 bytes become [UNK], as in BERT (there: 100 characters).
        self._tokenizer = tf_text.BertTokenizer(
            table, lower_case=False, token_out_type=tf.int64, max_bytes_per_word=100
        )

    @property
    def vocabulary(self) -> list[str]:
        """The word pieces in the order of their ids."""
        return self._pieces.split("\n")

    def call(self, sentences):
        pieces = self._tokenizer.tokenize(normalize(sentences)).merge_dims(1, 2)
        pieces = tf.cast(pieces[:, : self.max_length - 2], tf.int32)
        count = pieces.nrows()
        ragged = tf.concat(
            [tf.fill([count, 1], self.start_id), pieces, tf.fill([count, 1], self.end_id)], axis=1
        )
        width = None if self.pad_to_longest else self.max_length
        token_ids = ragged.to_tensor(self.pad_id, shape=[None, width])
        if self.pad_to_longest:
            # An empty batch has no longest sentence; models need one token to attend to.
            missing = tf.maximum(2 - tf.shape(token_ids)[1], 0)
            token_ids = tf.pad(token_ids, [[0, 0], [0, missing]], constant_values=self.pad_id)
        mask = tf.sequence_mask(ragged.row_lengths(), tf.shape(token_ids)[1], dtype=tf.int32)
        return {
            "token_ids": token_ids,
            "segment_ids": tf.zeros_like(token_ids),
            "padding_mask": mask,
        }

    def get_config(self):
        return {
            **super().get_config(),
            "vocabulary": self.vocabulary,
            "max_length": self.max_length,
            "pad_to_longest": self.pad_to_longest,
        }
