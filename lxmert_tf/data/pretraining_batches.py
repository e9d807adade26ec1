"""Batches for pre-training: hidden words and regions, swapped sentences, drawn answers."""

from collections.abc import Sequence

import tensorflow as tf

from lxmert_tf.data.batches import BATCHES_AHEAD, BATCHES_AT_ONCE, AnswerTable
from lxmert_tf.data.masking import (
    RngKeys,
    draw_answers,
    mask_regions,
    mask_words,
    swap_sentences,
)
from lxmert_tf.data.masking_rates import MaskingRates
from lxmert_tf.models.text_preprocessor import LxmertTextPreprocessor


@tf.autograph.experimental.do_not_convert
def pretraining_batches(
    pairs: tf.data.Dataset,
    preprocessor: LxmertTextPreprocessor,
    answers: Sequence[str],
    rates: MaskingRates,
    seed: int,
    epoch,
) -> tf.data.Dataset:
    """Makes (inputs, targets) for `LxmertPretrainer` out of `pair_batches`.

    What is drawn for an example depends on seed, epoch and its id; whose region or sentence it is
    given also on the batch that it is in.

    Args:
        pairs: batches of (image, sentence) pairs.
        preprocessor: tokenizes.
        answers: the answer table, in the order of the logits.
        rates: how often what is hidden or swapped.
        seed: of the run.
        epoch: of this pass over the data, an integer or an integer scalar tensor.

    Returns:
        pairs of the model's inputs and the targets of `pretraining_losses`.
    """
    table = AnswerTable(tuple(answers))
    vocabulary = preprocessor.vocabulary
    specials = [preprocessor.start_id, preprocessor.end_id, preprocessor.pad_id]
    mask_id = vocabulary.index("[MASK]")

    def make(pair):
        draw = RngKeys(seed, epoch, pair["id"])
        text = preprocessor(pair["text"])
        image_ids, region_mask = pair["image_id"], pair["region_mask"]
        words, padding_mask, matched = swap_sentences(
            text["token_ids"], text["padding_mask"], image_ids, draw, rates
        )
        hidden_words, masked_lm_labels = mask_words(
            words, padding_mask, specials, mask_id, len(vocabulary), draw, rates
        )
        features = pair["region_features"]
        hidden_regions, region_feature_mask = mask_regions(
            features, region_mask, image_ids, draw, rates
        )
        inputs = {
            "token_ids": hidden_words,
            "segment_ids": text["segment_ids"],
            "padding_mask": padding_mask,
            "region_features": hidden_regions,
            "region_boxes": pair["region_boxes"],
            "region_mask": region_mask,
        }
        labels = (
            "object_labels",
            "object_confidences",
            "attribute_labels",
            "attribute_confidences",
        )
        targets = {
            "masked_lm_labels": masked_lm_labels,
            "matched_labels": matched,
            "region_feature_targets": features,
            "region_feature_mask": region_feature_mask,
            "answer_labels": draw_answers(
                table.ids(pair["answers"]), pair["scores"], matched, draw
            ),
            **{name: pair[name] for name in labels},
        }
        return inputs, targets

    return pairs.map(make, BATCHES_AT_ONCE).prefetch(BATCHES_AHEAD)
