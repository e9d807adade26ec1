"""What the pre-training tasks hide and swap, as the release does (paper section 3.2).

Functions on a batch: they draw by example (see `stateless`), and take what they need of others, a
region or a sentence, out of the same batch.
"""

import dataclasses

import tensorflow as tf

from lxmert_tf.data.stateless_random import keys, uniform
from lxmert_tf.models.pretrainer_losses import IGNORED


@dataclasses.dataclass(frozen=True)
class RngKeys:
    """Whose random numbers: a seed, an epoch and the ids of the batch's examples, string [B]."""

    seed: int
    epoch: tf.Tensor | int
    example_ids: tf.Tensor

    def uniform(self, purpose: str, shape) -> tf.Tensor:
        """Numbers in [0, 1), float32 [B, *shape]."""
        return uniform(keys(self.seed, self.epoch, self.example_ids, purpose), shape)


def mask_words(token_ids, padding_mask, special_ids, mask_id: int, vocab_size: int, draw, rates):
    """Hides word pieces.

    Args:
        token_ids, padding_mask: int32 [B, T].
        special_ids: ids that are never hidden: [CLS], [SEP] and the like.
        mask_id: the id of [MASK].
        vocab_size: random pieces are any of these.
        draw: a `RngKeys`.
        rates: a `MaskingRates`.

    Returns:
        the new `token_ids`, and `masked_lm_labels` int32 [B, T]: the piece to predict, or -1.
    """
    chance = draw.uniform("words", [tf.shape(token_ids)[1], 3])
    special = tf.reduce_any(tf.equal(token_ids[..., tf.newaxis], tf.constant(special_ids)), axis=-1)
    free = tf.logical_and(tf.cast(padding_mask, tf.bool), tf.logical_not(special))
    chosen = tf.logical_and(free, chance[..., 0] < rates.words)
    erased = tf.logical_and(chosen, chance[..., 1] < rates.erased)
    changed = tf.logical_and(chosen, chance[..., 1] < rates.erased + rates.replaced)
    random_ids = tf.cast(chance[..., 2] * vocab_size, token_ids.dtype)
    hidden = tf.where(changed, random_ids, token_ids)
    hidden = tf.where(erased, tf.cast(mask_id, token_ids.dtype), hidden)
    return hidden, tf.where(chosen, token_ids, IGNORED)


def mask_regions(region_features, region_mask, image_ids, draw, rates):
    """Hides regions.

    Args:
        region_features: float32 [B, R, F].
        region_mask: int [B, R], 1 = region.
        image_ids: string [B]; a region is replaced by one of another image of the batch. Where
            the batch has no other image, it is erased.
        draw: a `RngKeys`.
        rates: a `MaskingRates`.

    Returns:
        the new `region_features`, and `region_feature_mask` float32 [B, R]: 1 for those to predict.
    """
    regions = tf.shape(region_features)[1]
    chance = draw.uniform("regions", [regions, 4])
    there = tf.cast(region_mask, tf.bool)
    chosen = tf.logical_and(there, chance[..., 0] < rates.regions)
    donor, has_donor = _other_images(image_ids, chance[..., 2])
    count = tf.reduce_sum(tf.cast(there, tf.float32), axis=1)
    region = tf.cast(chance[..., 3] * tf.gather(count, donor), tf.int32)
    replaced = tf.logical_and(chosen, chance[..., 1] >= rates.erased)
    kept = tf.logical_and(replaced, chance[..., 1] >= rates.erased + rates.replaced)
    replaced = tf.logical_and(tf.logical_and(replaced, tf.logical_not(kept)), has_donor)
    erased = tf.logical_and(chosen, tf.logical_not(tf.logical_or(kept, replaced)))
    foreign = tf.gather_nd(region_features, tf.stack([donor, region], axis=-1))
    hidden = tf.where(replaced[..., tf.newaxis], foreign, region_features)
    hidden = tf.where(erased[..., tf.newaxis], 0.0, hidden)
    return hidden, tf.cast(chosen, tf.float32)


def swap_sentences(token_ids, padding_mask, image_ids, draw, rates):
    """Gives a share of the images a sentence of another image.

    Args:
        token_ids, padding_mask: int32 [B, T].
        image_ids: string [B]. A sentence is never swapped for one of the same image; where the
            batch has no other image, it stays.
        draw: a `RngKeys`.
        rates: a `MaskingRates`.

    Returns:
        `token_ids` and `padding_mask` of the sentences to be shown, and `matched_labels` int32
        [B]: 1 where the sentence is still the image's own.
    """
    chance = draw.uniform("swap", [2])
    donor, has_donor = _other_images(image_ids, chance[:, 1:])
    swapped = tf.logical_and(chance[:, 0] < rates.swapped, has_donor[:, 0])
    rows = tf.where(swapped, donor[:, 0], tf.range(tf.shape(token_ids)[0]))
    matched = tf.cast(tf.logical_not(swapped), tf.int32)
    return tf.gather(token_ids, rows), tf.gather(padding_mask, rows), matched


def draw_answers(answer_ids: tf.RaggedTensor, scores: tf.RaggedTensor, matched_labels, draw):
    """Draws one answer a sentence, in proportion to its score.

    Args:
        answer_ids: int64 ragged [B, (a)]; -1 for an answer that is not in the table.
        scores: float32 ragged [B, (a)].
        matched_labels: int32 [B]; a swapped sentence has no answer.
        draw: a `RngKeys`.

    Returns:
        `answer_labels` int32 [B]: the answer's id, or -1 where there is none to learn.
    """
    ids = answer_ids.to_tensor(IGNORED)
    weights = tf.where(ids >= 0, scores.to_tensor(0.0), 0.0)
    sums = tf.cumsum(weights, axis=1)
    total = tf.reduce_sum(weights, axis=1, keepdims=True)
    point = draw.uniform("answer", [1]) * total
    # The first answer whose share reaches past the point; those of weight zero never do.
    place = tf.reduce_sum(tf.cast(sums <= point, tf.int32), axis=1)
    place = tf.minimum(place, tf.maximum(tf.shape(ids)[1] - 1, 0))
    learnt = tf.logical_and(total[:, 0] > 0, tf.equal(matched_labels, 1))
    padded = tf.pad(ids, [[0, 0], [0, 1]], constant_values=IGNORED)
    chosen = tf.gather(padded, place, batch_dims=1)
    return tf.where(learnt, tf.cast(chosen, tf.int32), IGNORED)


def _other_images(image_ids, chance):
    """Rows of other images: int32 [B, ...] like `chance` [B, ...], and whether there is one."""
    others = tf.not_equal(image_ids[:, tf.newaxis], image_ids[tf.newaxis, :])
    count = tf.reduce_sum(tf.cast(others, tf.int32), axis=1)
    # For each row the others first, in their order: the k-th of them is in column k.
    order = tf.argsort(tf.cast(others, tf.int32), axis=1, direction="DESCENDING", stable=True)
    k = tf.cast(chance * tf.cast(count, tf.float32)[:, tf.newaxis], tf.int32)
    has_other = tf.broadcast_to(count[:, tf.newaxis] > 0, tf.shape(k))
    return tf.gather(order, k, batch_dims=1), has_other
