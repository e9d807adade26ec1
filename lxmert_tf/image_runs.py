"""Images that repeat in a batch, as where several questions about one follow each other."""

import tensorflow as tf


def image_runs(*images) -> tuple[tf.Tensor, tf.Tensor]:
    """Finds where runs of equal images begin.

    Args:
        *images: [B, ...], what is known of each image; equal images agree in all of it.

    Returns:
        the place of each run's first image, int64 [M], and of each image the number of its run,
        int32 [B].
    """
    images = [tf.convert_to_tensor(part) for part in images]
    differs = [
        tf.reduce_any(tf.not_equal(part[1:], part[:-1]), axis=list(range(1, part.shape.rank)))
        for part in images
    ]
    # Empty where the batch is.
    first = tf.ones([tf.minimum(tf.shape(images[0])[0], 1)], tf.bool)
    begins = tf.concat([first, tf.reduce_any(tf.stack(differs), axis=0)], axis=0)
    return tf.where(begins)[:, 0], tf.cumsum(tf.cast(begins, tf.int32)) - 1
