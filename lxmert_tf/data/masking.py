"""Masking and swapping for the pre-training tasks, as in the LXMERT release (paper section 3.1).

The functions work on one batch. Random numbers belong to the examples (see `RngKeys`). Regions and
sentences of other examples come from the same batch.
"""

from collections.abc import Sequence

import tensorflow as tf

from lxmert_tf.data.masking_rates import MaskingRates
from lxmert_tf.data.stateless_random import RngKeys
from lxmert_tf.models.pretrainer_losses import IGNORED


def mask_words(
    token_ids: tf.Tensor,
    padding_mask: tf.Tensor,
    special_ids: Sequence[int],
    mask_id: int,
    vocab_size: int,
    keys: RngKeys,
    rates: MaskingRates,
) -> tuple[tf.Tensor, tf.Tensor]:
    """Hide word pieces.

    Args:
        token_ids: int32 [B, T].
        padding_mask: int32 [B, T], 1 = word piece.
        special_ids: IDs that are never hidden, such as those of [CLS] and [SEP].
        mask_id: The ID of [MASK].
        vocab_size: The number of word pieces; random ones are drawn from all of them.
        keys: The random keys of the batch.
        rates: The masking rates.

    Returns:
        The new `token_ids`, and `masked_lm_labels` int32 [B, T], the piece to predict or -1.
    """
    chance = keys.uniform("words", [tf.shape(token_ids)[1], 3])
    special = tf.reduce_any(tf.equal(token_ids[..., tf.newaxis], tf.constant(special_ids)), axis=-1)
    free = tf.logical_and(tf.cast(padding_mask, tf.bool), tf.logical_not(special))
    chosen = tf.logical_and(free, chance[..., 0] < rates.words)
    erased = tf.logical_and(chosen, chance[..., 1] < rates.erased)
    changed = tf.logical_and(chosen, chance[..., 1] < rates.erased + rates.replaced)
    random_ids = tf.cast(chance[..., 2] * vocab_size, token_ids.dtype)
    hidden = tf.where(changed, random_ids, token_ids)
    hidden = tf.where(erased, tf.cast(mask_id, token_ids.dtype), hidden)
    return hidden, tf.where(chosen, token_ids, IGNORED)


def mask_regions(
    region_features: tf.Tensor,
    region_mask: tf.Tensor,
    image_ids: tf.Tensor,
    keys: RngKeys,
    rates: MaskingRates,
) -> tuple[tf.Tensor, tf.Tensor]:
    """Hide regions.

    Args:
        region_features: float32 [B, R, F].
        region_mask: int [B, R], 1 = region.
        image_ids: string [B]; a region is replaced by one of another image of the batch. If the
            batch has no other image, it is erased.
        keys: The random keys of the batch.
        rates: The masking rates.

    Returns:
        The new `region_features`, and `region_feature_mask` float32 [B, R], 1 for regions to
        predict.
    """
    regions = tf.shape(region_features)[1]
    chance = keys.uniform("regions", [regions, 4])
    present = tf.cast(region_mask, tf.bool)
    chosen = tf.logical_and(present, chance[..., 0] < rates.regions)
    donor, has_donor = _other_images(image_ids, chance[..., 2])
    count = tf.reduce_sum(tf.cast(present, tf.float32), axis=1)
    region = tf.cast(chance[..., 3] * tf.gather(count, donor), tf.int32)
    replaced = tf.logical_and(chosen, chance[..., 1] >= rates.erased)
    kept = tf.logical_and(replaced, chance[..., 1] >= rates.erased + rates.replaced)
    replaced = tf.logical_and(tf.logical_and(replaced, tf.logical_not(kept)), has_donor)
    erased = tf.logical_and(chosen, tf.logical_not(tf.logical_or(kept, replaced)))
    foreign = tf.gather_nd(region_features, tf.stack([donor, region], axis=-1))
    hidden = tf.where(replaced[..., tf.newaxis], foreign, region_features)
    hidden = tf.where(erased[..., tf.newaxis], 0.0, hidden)
    return hidden, tf.cast(chosen, tf.float32)


def swap_sentences(
    token_ids: tf.Tensor,
    padding_mask: tf.Tensor,
    image_ids: tf.Tensor,
    keys: RngKeys,
    rates: MaskingRates,
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """Replace some sentences by a sentence about another image.

    Args:
        token_ids: int32 [B, T].
        padding_mask: int32 [B, T], 1 = word piece.
        image_ids: string [B]. A sentence is never replaced by one about the same image; if the
            batch has no other image, it stays.
        keys: The random keys of the batch.
        rates: The masking rates.

    Returns:
        The new `token_ids` and `padding_mask`, and `matched_labels` int32 [B], 1 where the sentence
        stayed.
    """
    chance = keys.uniform("swap", [2])
    donor, has_donor = _other_images(image_ids, chance[:, 1:])
    swapped = tf.logical_and(chance[:, 0] < rates.swapped, has_donor[:, 0])
    rows = tf.where(swapped, donor[:, 0], tf.range(tf.shape(token_ids)[0]))
    matched = tf.cast(tf.logical_not(swapped), tf.int32)
    return tf.gather(token_ids, rows), tf.gather(padding_mask, rows), matched


def draw_answers(
    answer_ids: tf.RaggedTensor, scores: tf.RaggedTensor, matched_labels: tf.Tensor, keys: RngKeys
) -> tf.Tensor:
    """Draw one answer per sentence, with probabilities in proportion to the scores.

    Args:
        answer_ids: Ragged int64 [B, (a)]; -1 for an answer that is not in the table.
        scores: Ragged float32 [B, (a)].
        matched_labels: int32 [B], from `swap_sentences`; a swapped sentence has no answer.
        keys: The random keys of the batch.

    Returns:
        `answer_labels` int32 [B], the answer's ID or -1 if there is none to learn.
    """
    ids = answer_ids.to_tensor(IGNORED)
    weights = tf.where(ids >= 0, scores.to_tensor(0.0), 0.0)
    sums = tf.cumsum(weights, axis=1)
    total = tf.reduce_sum(weights, axis=1, keepdims=True)
    point = keys.uniform("answer", [1]) * total
    # The first answer whose cumulative weight exceeds the point; one of weight zero never does.
    index = tf.reduce_sum(tf.cast(sums <= point, tf.int32), axis=1)
    index = tf.minimum(index, tf.maximum(tf.shape(ids)[1] - 1, 0))
    learned = tf.logical_and(total[:, 0] > 0, tf.equal(matched_labels, 1))
    padded = tf.pad(ids, [[0, 0], [0, 1]], constant_values=IGNORED)
    chosen = tf.gather(padded, index, batch_dims=1)
    return tf.where(learned, tf.cast(chosen, tf.int32), IGNORED)


def _other_images(image_ids, chance):
    """Choose examples of other images.

    Returns:
        Rows of the batch, int32 [B, N] for `chance` [B, N], and whether there is one, bool [B, N].
    """
    others = tf.not_equal(image_ids[:, tf.newaxis], image_ids[tf.newaxis, :])
    count = tf.reduce_sum(tf.cast(others, tf.int32), axis=1)
    # Each row lists the examples of other images first, in order: the k-th is in column k.
    order = tf.argsort(tf.cast(others, tf.int32), axis=1, direction="DESCENDING", stable=True)
    k = tf.cast(chance * tf.cast(count, tf.float32)[:, tf.newaxis], tf.int32)
    has_other = tf.broadcast_to(count[:, tf.newaxis] > 0, tf.shape(k))
    return tf.gather(order, k, batch_dims=1), has_other
