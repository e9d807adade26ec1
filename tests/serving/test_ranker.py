"""Ranked sentences have the model's probabilities, and the image is encoded once."""

import numpy as np
import pytest
import tensorflow as tf
from tensorflow import keras

from lxmert_tf import LxmertPretrainer, LxmertTextPreprocessor
from lxmert_tf.errors import InputError
from lxmert_tf.models.backbone import LxmertBackbone
from lxmert_tf.regions.registry import make_extractor
from lxmert_tf.serving import ranker as ranker_module
from lxmert_tf.serving.ranker import Ranker
from tests.lxmert_tf.samples import one_line

SENTENCES = [
    "a blue triangle",
    "there is no circle in the image",
    "what?",
    "is the rectangle green or teal or red or black or gray or brown or yellow or blue?",
]


@pytest.fixture(scope="module")
def preset(tiny, tmp_path_factory):
    """A pre-trainer with the tiny model's encoders, whose head tells sentences apart."""
    directory = tmp_path_factory.mktemp("ranker") / "preset"
    keras.utils.set_random_seed(3)
    model = LxmertPretrainer.from_preset(tiny.preset)
    model.matched_head.kernel.assign(10 * model.matched_head.kernel)
    model.matched_head.bias.assign([0.0, 6.0])
    model.save_preset(directory)
    return directory


@pytest.fixture(scope="module")
def ranker(preset):
    return Ranker(preset)


@pytest.fixture(scope="module")
def expected(preset, image):
    """The probability of each sentence, from a call of the model on it alone."""
    model = LxmertPretrainer.from_preset(preset)
    regions = make_extractor(model.extractor).extract(image)
    preprocess = LxmertTextPreprocessor(model.vocabulary)
    probabilities = {}
    for sentence in SENTENCES:
        outputs = model(
            {
                **preprocess(tf.constant([sentence])),
                "region_features": regions.features[np.newaxis].astype(np.float32),
                "region_boxes": regions.boxes[np.newaxis],
            }
        )
        logits = outputs["matched_logits"].numpy()[0].astype(np.float64)
        probabilities[sentence] = float(1 / (1 + np.exp(logits[0] - logits[1])))
    return probabilities


@pytest.mark.parametrize("batch_size", [64, 3, 1])
def test_each_pair_has_the_models_probability_and_the_best_is_first(
    ranker, image, expected, monkeypatch, batch_size
):
    monkeypatch.setattr(ranker_module, "BATCH_SIZE", batch_size)
    ranked = ranker.rank(image, SENTENCES)
    assert dict(ranked) == pytest.approx(expected, abs=1e-5)
    assert [s for s, _ in ranked] == sorted(expected, key=expected.get, reverse=True)
    assert [s for s, _ in ranked] != SENTENCES
    # Else an order would say nothing.
    assert np.ptp(list(expected.values())) > 0.05


def test_the_image_is_encoded_once(ranker, image, monkeypatch):
    encoded = []
    encode_image = LxmertBackbone.encode_image

    def counted(self, features, *args, **kwargs):
        encoded.append(features.shape[0])
        return encode_image(self, features, *args, **kwargs)

    monkeypatch.setattr(LxmertBackbone, "encode_image", counted)
    monkeypatch.setattr(ranker_module, "BATCH_SIZE", 2)
    ranker.rank(image, SENTENCES)
    assert encoded == [1]


def test_equal_ones_keep_their_order(ranker, image):
    # Which words look alike to the model is for its tokenizer to say.
    sentences = ["A CIRCLE", "a blue triangle", "a circle", "a  circle"]
    ranked = [sentence for sentence, _ in ranker.rank(image, sentences)]
    assert [s for s in ranked if s != "a blue triangle"] == ["A CIRCLE", "a circle", "a  circle"]


def test_no_sentences_give_an_empty_list(ranker, image):
    assert ranker.rank(image, []) == []


def test_a_sentence_without_words_is_refused_with_its_number(ranker, image):
    with pytest.raises(InputError) as raised:
        ranker.rank(image, ["a circle", " \n"])
    assert "sentence 2 is empty" in one_line(raised)


def test_a_preset_without_a_matched_head_is_refused(tiny):
    with pytest.raises(InputError) as raised:
        Ranker(tiny.preset)
    assert f"{tiny.preset}: a preset of LxmertAnswerClassifier, which has no matched head" in (
        one_line(raised)
    )
