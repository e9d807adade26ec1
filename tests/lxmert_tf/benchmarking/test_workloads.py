"""Batches of the benchmark: lengths, ids, masking, and counted operations."""

import numpy as np
import pytest

from lxmert_tf.benchmarking import flops
from lxmert_tf.benchmarking.settings import LENGTHS, MAX_LENGTH, QUESTIONS, Setting
from lxmert_tf.benchmarking.workloads import (
    REGIONS,
    draw_batches,
    make_workload,
    questions,
    vocabulary,
)
from lxmert_tf.models.config import LxmertConfig
from lxmert_tf.models.text_preprocessor import LxmertTextPreprocessor

CONFIG = LxmertConfig(vocab_size=100, region_feature_size=8, num_answers=7)


def test_lengths_follow_the_dataset():
    assert sum(QUESTIONS.values()) == 38_575
    assert all(max(lengths) <= MAX_LENGTH for lengths in LENGTHS.values())
    [batch] = draw_batches("answer", CONFIG, "questions", batch_size=2000, count=1)
    mean = sum(length * count for length, count in QUESTIONS.items()) / 38_575
    assert batch.lengths.mean() == pytest.approx(mean, abs=0.1)


def test_the_preprocessor_gives_the_ids_of_the_batch():
    [batch] = draw_batches("answer", CONFIG, "questions", 6, 1)
    made = LxmertTextPreprocessor(vocabulary(CONFIG), MAX_LENGTH, True)(questions(batch))
    for name in ("token_ids", "segment_ids", "padding_mask"):
        np.testing.assert_array_equal(made[name], batch.inputs[name])


def test_several_questions_share_an_image():
    [batch] = draw_batches("answer", CONFIG, "captions", 3, 1, questions_per_image=5)
    assert batch.inputs["token_ids"].shape == (15, 19)
    assert batch.inputs["region_features"].shape == (3, REGIONS, 8)


def test_words_and_regions_are_masked_at_the_published_rate():
    batch = draw_batches("pretrain", CONFIG, "fixed20", 64, 1)[0]
    masked = batch.targets["masked_lm_labels"] >= 0
    # [CLS] and [SEP] are never masked.
    assert not masked[:, [0, 19]].any()
    assert masked[:, 1:19].mean() == pytest.approx(0.15, abs=0.03)
    assert batch.targets["region_feature_mask"].mean() == pytest.approx(0.15, abs=0.03)
    assert set(batch.targets["answer_labels"][batch.targets["matched_labels"] == 0]) == {-1}


def test_draws_are_reproducible():
    first, second = (draw_batches("pretrain", CONFIG, "questions", 3, 2) for _ in range(2))
    for one, other in zip(first, second):
        for mine, its in ((one.inputs, other.inputs), (one.targets, other.targets)):
            assert all(np.array_equal(mine[name], its[name]) for name in mine)


@pytest.mark.parametrize("plain", [False, True])
def test_an_image_is_encoded_once_for_all_its_questions_unless_plain(plain):
    config = LxmertConfig(
        **{"vocab_size": 40, "hidden_size": 8, "num_attention_heads": 2, "intermediate_size": 16},
        **{"language_layers": 1, "relationship_layers": 1, "cross_layers": 1, "num_answers": 5},
        **{"region_feature_size": 8},
    )
    setting = Setting("answer", "tiny", "float32", "fixed20", 2, 3, 1, plain)
    workload = make_workload(setting, config)
    workload.step(0)
    workload.requests[0]()
    shape = flops.BatchShape(examples=6, words=6 * 20, longest=20, regions=REGIONS)
    counted = (
        flops.encode_image_flops(config, 6 if plain else 2, REGIONS)
        + flops.encode_text_flops(config, shape)
        + flops.relate_pooled_flops(config, shape)
        + flops.answer_head_flops(config, 6)
    )
    assert workload.examples == [6]
    assert workload.flops == [counted.total()]
