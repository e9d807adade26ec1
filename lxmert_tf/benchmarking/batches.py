"""Batches of random numbers in the shapes of a task; the same seed gives the same."""

import dataclasses

import numpy as np
import tensorflow as tf

from lxmert_tf.benchmarking.sentence_lengths import MAX_LENGTH, draw_lengths
from lxmert_tf.config import LxmertConfig
from lxmert_tf.data.masking import Draw, mask_regions, mask_words
from lxmert_tf.data.masking_rates import MaskingRates
from lxmert_tf.tasks.pretraining_losses import IGNORED
from lxmert_tf.text import SPECIAL_PIECES

REGIONS = 36
SEED = 0
_PAD, _CLS, _SEP, _MASK = map(SPECIAL_PIECES.index, ("[PAD]", "[CLS]", "[SEP]", "[MASK]"))
_FIRST_PIECE = len(SPECIAL_PIECES)

Arrays = dict[str, np.ndarray]


@dataclasses.dataclass(frozen=True)
class Batch:
    """One batch.

    Args:
        inputs: of the model, as `LxmertBackbone` takes them, padded to the longest sentence. With
            several sentences per image there are as many times more rows of text.
        targets: of `LxmertPretrainer` by name, or `scores` of `LxmertAnswerClassifier`.
    """

    inputs: Arrays
    targets: Arrays

    @property
    def lengths(self) -> np.ndarray:
        """Word pieces of each sentence, int [B]."""
        return self.inputs["padding_mask"].sum(axis=1)


def draw_batches(
    task: str,
    config: LxmertConfig,
    lengths: str,
    batch_size: int,
    count: int,
    questions_per_image: int = 1,
) -> list[Batch]:
    """Draws batches for a task.

    Args:
        task: "answer", "finetune" or "pretrain".
        config: sizes.
        lengths: of the sentences, a key of `LENGTHS`.
        batch_size: images per batch.
        count: how many batches.
        questions_per_image: of "answer"; those of one image stand together.
    """
    random = np.random.default_rng(SEED)
    sentences = batch_size * questions_per_image
    drawn = draw_lengths(lengths, sentences * count, random).reshape(count, sentences)
    make = {"answer": _questions, "finetune": _scored_questions, "pretrain": _pretraining_batch}
    return [make[task](config, part, batch_size, random) for part in drawn]


def vocabulary(config: LxmertConfig) -> list[str]:
    """Word pieces, such that each but the special ones is a word of its own."""
    return [*SPECIAL_PIECES, *(f"w{i}" for i in range(_FIRST_PIECE, config.vocab_size))]


def questions(batch: Batch) -> list[str]:
    """Texts that a preprocessor with `vocabulary` turns into the batch's ids."""
    return [
        " ".join(f"w{piece}" for piece in ids[1 : length - 1])
        for ids, length in zip(batch.inputs["token_ids"], batch.lengths)
    ]


def padded(values: np.ndarray, fill: int = 0) -> np.ndarray:
    """[B, T] as [B, `MAX_LENGTH`]."""
    missing = MAX_LENGTH - values.shape[1]
    return np.pad(values, [(0, 0), (0, missing)], constant_values=fill)


def _inputs(config: LxmertConfig, lengths: np.ndarray, images: int, random) -> Arrays:
    sentences, longest = len(lengths), lengths.max()
    token_ids = random.integers(_FIRST_PIECE, config.vocab_size, [sentences, longest], np.int32)
    mask = np.arange(longest) < lengths[:, np.newaxis]
    token_ids[:, 0] = _CLS
    token_ids[np.arange(sentences), lengths - 1] = _SEP
    corners = np.sort(random.random([images, REGIONS, 2, 2], np.float32), axis=2)
    features = random.standard_normal([images, REGIONS, config.region_feature_size], np.float32)
    return {
        "token_ids": np.where(mask, token_ids, _PAD),
        "segment_ids": np.zeros_like(token_ids),
        "padding_mask": mask.astype(np.int32),
        "region_features": features,
        "region_boxes": corners.reshape(images, REGIONS, 4),
        "region_mask": np.ones([images, REGIONS], np.int32),
    }


def _questions(config: LxmertConfig, lengths: np.ndarray, images: int, random) -> Batch:
    return Batch(_inputs(config, lengths, images, random), {})


def _scored_questions(config: LxmertConfig, lengths: np.ndarray, images: int, random) -> Batch:
    scores = np.zeros([images, config.num_answers], np.float32)
    right = random.integers(0, config.num_answers, [2, images])
    for answers, score in zip(right, (0.3, 1.0)):
        scores[np.arange(images), answers] = score
    return Batch(_inputs(config, lengths, images, random), {"scores": scores})


def _pretraining_batch(config: LxmertConfig, lengths: np.ndarray, size: int, random) -> Batch:
    inputs, rates = _inputs(config, lengths, size, random), MaskingRates()
    ids = tf.strings.as_string(random.integers(0, 2**62, size))
    draw = Draw(SEED, 0, ids)
    features, specials = inputs["region_features"], [_PAD, _CLS, _SEP]
    hidden_words, word_labels = mask_words(
        inputs["token_ids"], inputs["padding_mask"], specials, _MASK, config.vocab_size, draw, rates
    )
    hidden_regions, region_mask = mask_regions(features, inputs["region_mask"], ids, draw, rates)
    matched = random.integers(0, 2, size, np.int32)
    answers = random.integers(0, config.num_answers, size, np.int32)
    targets = {
        "masked_lm_labels": word_labels.numpy(),
        "matched_labels": matched,
        "region_feature_targets": features,
        "region_feature_mask": region_mask.numpy(),
        "object_labels": random.integers(0, config.num_objects, [size, REGIONS], np.int32),
        "object_confidences": random.random([size, REGIONS], np.float32),
        "attribute_labels": random.integers(0, config.num_attributes, [size, REGIONS], np.int32),
        "attribute_confidences": random.random([size, REGIONS], np.float32),
        "answer_labels": np.where(matched == 1, answers, IGNORED),
    }
    hidden = {"token_ids": hidden_words.numpy(), "region_features": hidden_regions.numpy()}
    return Batch({**inputs, **hidden}, targets)
