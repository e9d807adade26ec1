"""Ids without TensorFlow equal those in the graph."""

import json
import re

import easy_vqa
import numpy as np
import pytest
import tensorflow as tf

from lxmert_tf import LxmertTextPreprocessor
from lxmert_tf.errors import InputError
from lxmert_tf.models.special_pieces import SPECIAL_PIECES
from tests import golden

pytest.importorskip("tokenizers", reason="needs the extra openvino")

from lxmert_tf.serving.question_tokenizer import QuestionTokenizer

LETTERS = "abcdefghijklmnopqrstuvwxyzéß日本ж"
PIECES = [*SPECIAL_PIECES, *LETTERS, *(f"##{c}" for c in LETTERS), "?", "!", "what", "##at"]
# Every class of character that is treated in its own way.
CHARACTERS = [
    *"abcxyzABC 019?!-_'[]",
    *"éÉßİʼñç\u0301\u0308",
    *"日本語ж",
    *"\t\n\r\x0b\x0c\x85\xa0\u2028\u3000\u200b\ufeff\ufffd\x00\x01\ue000",
    *"½ﬁＡ",
]


def assert_equal_ids(vocabulary, questions, max_length=20):
    expected = LxmertTextPreprocessor(vocabulary, max_length, pad_to_longest=True)(
        tf.constant(questions)
    )
    found = QuestionTokenizer(vocabulary, max_length)(questions)
    for name, array in found.items():
        assert array.dtype == np.int32
        np.testing.assert_array_equal(array, expected[name].numpy())


def test_sentences_of_the_reference_tokenizer():
    directory = golden.golden_directory("tokens")
    content = json.loads((directory / "bert_uncased.json").read_text(encoding="utf-8"))
    examples = content["examples"]
    # The pieces are a subset of BERT's, so that the words break at other places.
    assert_equal_ids(PIECES, [example["text"] for example in examples])


def test_questions_of_easy_vqa():
    questions = sorted(set(easy_vqa.get_test_questions()[0]))
    words = {word for question in questions for word in re.findall(r"\w+|\S", question.lower())}
    assert_equal_ids([*SPECIAL_PIECES, *sorted(words - {"color"}), "col", "##or"], questions)


def test_any_text():
    random = np.random.default_rng(0)
    questions = ["".join(random.choice(CHARACTERS, size)) for size in random.integers(0, 25, 400)]
    assert_equal_ids(PIECES, questions)


@pytest.mark.parametrize(
    "question", ["", " ", "what" * 30, "a" * 100, "a" * 101, b"wh\xffat \xc3 b"]
)
def test_empty_long_and_invalid_questions(question):
    assert_equal_ids(PIECES, [question], max_length=5)


def test_a_text_cannot_forge_a_mark():
    assert_equal_ids(PIECES, ["what [SEP] [CLS] [PAD]"])


def test_half_of_a_surrogate_pair_is_left_out():
    tokenizer = QuestionTokenizer(PIECES, 5)
    np.testing.assert_array_equal(
        tokenizer(["wh\ud800at"])["token_ids"], tokenizer(["what"])["token_ids"]
    )


def test_a_vocabulary_that_cannot_work_is_refused():
    with pytest.raises(InputError, match=r"the vocabulary has \[PAD\] 0 times"):
        QuestionTokenizer(PIECES[1:], 20)
