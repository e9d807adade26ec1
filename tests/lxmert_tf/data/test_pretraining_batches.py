"""Pre-training batches of real records: consistent, reproducible, and something to learn from."""

import dataclasses

import numpy as np
import pytest
import tensorflow as tf
from tensorflow import keras

from lxmert_tf import LxmertConfig, LxmertPretrainer, LxmertTextPreprocessor
from lxmert_tf.data.batches import example_batches, read_records
from lxmert_tf.data.masking_rates import MaskingRates
from lxmert_tf.data.pretraining_batches import pretraining_batches
from lxmert_tf.models.special_pieces import SPECIAL_PIECES
from tests import golden
from tests.lxmert_tf.samples import easy_vqa_scenes, write_records

RATES = MaskingRates()


class Data:
    """Forty real images with their questions."""

    def __init__(self, folder):
        scenes = easy_vqa_scenes(40)
        sentences = [sentence for scene in scenes for sentence in scene.sentences]
        words = sorted({word for s in sentences for word in s.text.rstrip("?").split()})
        self.answers = sorted({answer for s in sentences for answer, _ in s.answers})
        self.preprocessor = LxmertTextPreprocessor([*SPECIAL_PIECES, *words, "?"])
        records = read_records([write_records(folder / "scenes.tfrecord", scenes)])
        self.examples = example_batches(records, 64, max_regions=8).take(2).cache()

    def batches(self, seed=0, epoch=0, rates=RATES):
        batches = pretraining_batches(
            self.examples, self.preprocessor, self.answers, rates, seed, epoch
        )
        return list(batches)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return Data(tmp_path_factory.mktemp("records"))


def assert_same(one, other):
    tf.nest.map_structure(np.testing.assert_array_equal, one, other)


def test_a_run_sees_the_same_again_and_another_epoch_something_else(data):
    first = data.batches(epoch=1)
    assert_same(first, data.batches(epoch=1))
    for other in (data.batches(epoch=2), data.batches(seed=1, epoch=1)):
        assert not np.array_equal(first[0][0]["token_ids"], other[0][0]["token_ids"])


def test_with_all_rates_zero_the_batches_are_the_records(data):
    nothing = MaskingRates(words=0.0, regions=0.0, swapped=0.0)
    for (inputs, targets), batch in zip(data.batches(rates=nothing), data.examples, strict=True):
        text = data.preprocessor(batch["text"])
        np.testing.assert_array_equal(inputs["token_ids"], text["token_ids"])
        np.testing.assert_array_equal(inputs["region_features"], batch["region_features"])
        assert (targets["masked_lm_labels"].numpy() == -1).all()
        assert (targets["matched_labels"].numpy() == 1).all()
        truths = [data.answers.index(row[0].decode()) for row in batch["answers"].to_list()]
        assert targets["answer_labels"].numpy().tolist() == truths


def test_a_swapped_sentence_is_of_the_batch_and_has_no_answer(data):
    always = MaskingRates(words=0.0, swapped=1.0)
    for (inputs, targets), batch in zip(data.batches(rates=always), data.examples, strict=True):
        of_image = {}
        words = data.preprocessor(batch["text"])["token_ids"].numpy()
        for image, row in zip(batch["image_id"].numpy(), words):
            of_image.setdefault(row.tobytes(), set()).add(image)
        for image, row in zip(batch["image_id"].numpy(), inputs["token_ids"].numpy()):
            assert of_image[row.tobytes()] - {image}
        assert (targets["matched_labels"].numpy() == 0).all()
        assert (targets["answer_labels"].numpy() == -1).all()


def test_absent_regions_have_no_label(data):
    for inputs, targets in data.batches():
        absent = inputs["region_mask"].numpy() == 0
        assert absent.any()
        for name in ("object_labels", "attribute_labels"):
            assert (targets[name].numpy()[absent] == -1).all()
            assert (targets[name].numpy()[~absent] >= 0).all()
        assert (targets["region_feature_mask"].numpy()[absent] == 0).all()


@pytest.mark.slow
def test_every_loss_falls_in_a_few_steps(data):
    config = dataclasses.replace(
        LxmertConfig.from_dict(golden.TINY),
        vocab_size=len(data.preprocessor.vocabulary),
        region_feature_size=256,
        num_attributes=12,
        num_answers=len(data.answers),
        initializer_range=0.1,
    )
    keras.utils.set_random_seed(0)
    model = LxmertPretrainer(config)
    model.compile(keras.optimizers.Adam(0.01))
    batches = tf.data.Dataset.from_tensors(data.batches()[0])
    history = [model.fit(batches, verbose=0).history for _ in range(30)]
    for name in ("masked_lm", "matched", "objects", "attributes", "region_features", "answers"):
        first, last = (history[i][f"{name}_loss"][0] for i in (0, -1))
        assert last < first, f"{name}: {first} to {last}"
