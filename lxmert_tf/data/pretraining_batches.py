"""Batches for pre-training: masked words and regions, swapped sentences, and sampled answers."""

from collections.abc import Sequence

import tensorflow as tf

from lxmert_tf.data.answer_table import AnswerTable
from lxmert_tf.data.batches import BATCHES_AHEAD, BATCHES_IN_PARALLEL
from lxmert_tf.data.masking import draw_answers, mask_regions, mask_words, swap_sentences
from lxmert_tf.data.masking_rates import MaskingRates
from lxmert_tf.data.stateless_random import RngKeys
from lxmert_tf.models.text_preprocessor import LxmertTextPreprocessor

# Targets that the records hold already.
_REGION_LABELS = (
    "object_labels",
    "object_confidences",
    "attribute_labels",
    "attribute_confidences",
)


@tf.autograph.experimental.do_not_convert
def pretraining_batches(
    examples: tf.data.Dataset,
    preprocessor: LxmertTextPreprocessor,
    answers: Sequence[str],
    rates: MaskingRates,
    seed: int,
    epoch,
) -> tf.data.Dataset:
    """Make batches for `fit` of `LxmertPretrainer`.

    The random numbers of an example depend on seed, epoch and its ID; the region or sentence that
    it is given also depends on the other examples of the batch.

    Args:
        examples: From `example_batches`, one image per scene.
        preprocessor: Tokenizes the sentences.
        answers: The answer table, in the order of the logits.
        rates: How often regions, words and sentences are hidden or swapped.
        seed: The seed of the run.
        epoch: The number of this pass over the data, an integer or an integer scalar tensor.

    Returns:
        A dataset of (inputs of `LxmertPretrainer`, targets of `pretraining_losses`).
    """
    table = AnswerTable(tuple(answers))
    vocabulary = preprocessor.vocabulary
    special_ids = [preprocessor.start_id, preprocessor.end_id, preprocessor.pad_id]
    mask_id = vocabulary.index("[MASK]")

    def make(batch):
        keys = RngKeys(seed, epoch, batch["id"])
        text = preprocessor(batch["text"])
        token_ids, padding_mask, matched_labels = swap_sentences(
            text["token_ids"], text["padding_mask"], batch["image_id"], keys, rates
        )
        hidden_ids, masked_lm_labels = mask_words(
            token_ids, padding_mask, special_ids, mask_id, len(vocabulary), keys, rates
        )
        hidden_features, region_feature_mask = mask_regions(
            batch["region_features"], batch["region_mask"], batch["image_id"], keys, rates
        )
        inputs = {
            "token_ids": hidden_ids,
            "segment_ids": text["segment_ids"],
            "padding_mask": padding_mask,
            "region_features": hidden_features,
            "region_boxes": batch["region_boxes"],
            "region_mask": batch["region_mask"],
        }
        targets = {
            "masked_lm_labels": masked_lm_labels,
            "matched_labels": matched_labels,
            "region_feature_targets": batch["region_features"],
            "region_feature_mask": region_feature_mask,
            "answer_labels": draw_answers(
                table.ids(batch["answers"]), batch["scores"], matched_labels, keys
            ),
            **{name: batch[name] for name in _REGION_LABELS},
        }
        return inputs, targets

    return examples.map(make, BATCHES_IN_PARALLEL).prefetch(BATCHES_AHEAD)
