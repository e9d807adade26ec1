"""Pictures as the detector takes them: resized, blue first, and without the means."""

from collections.abc import Callable, Sequence

import numpy as np
import tensorflow as tf

from lxmert_tf.detector.config import DetectorConfig

# Below three pixels the stem's map would be empty.
SMALLEST_SIDE = 3


def resized_size(height, width, config: DetectorConfig):
    """Return the size to which a picture is resized, and the scale of the flavor "caffe".

    Args:
        height: Rows of the picture.
        width: Columns of the picture.
        config: Rules of the detector.

    Returns:
        int32 [2], height and width, and a float64 scalar. The flavor "hf" resizes each axis by the
        ratio of its sizes, so its scales differ a little from the scalar.
    """
    sides = tf.cast(tf.stack([height, width]), tf.float64)
    shorter, longer = tf.reduce_min(sides), tf.reduce_max(sides)
    rules = config.rules
    scale = rules.shorter_side / shorter
    if config.flavor == "caffe":
        # Whole pixels are compared, and halves round to even numbers.
        scale = tf.where(
            tf.round(scale * longer) > rules.longest_side, rules.longest_side / longer, scale
        )
        resized = tf.round(sides * scale)
    else:
        fitted = tf.where(sides == shorter, tf.cast(rules.shorter_side, tf.float64), sides * scale)
        longer = tf.reduce_max(fitted)
        shrink = tf.where(longer > rules.longest_side, rules.longest_side / longer, 1.0)
        resized = tf.floor(fitted * shrink + 0.5)
        scale *= shrink
    return tf.maximum(tf.cast(resized, tf.int32), SMALLEST_SIDE), scale


def prepare_image(image, config: DetectorConfig):
    """Resize a picture and subtract the means.

    Args:
        image: uint8 [height, width, 3], RGB.
        config: Rules of the detector.

    Returns:
        float32 [height', width', 3], BGR, and its scales float32 [2], pixels of the resized picture
        per pixel of the original, y and x.
    """
    image = tf.convert_to_tensor(image)
    shape = tf.shape(image)
    size, scale = resized_size(shape[0], shape[1], config)
    scales = tf.cast(size, tf.float64) / tf.cast(shape[:2], tf.float64)
    if config.flavor == "caffe":
        scales = tf.stack([scale, scale])

    def without_means(pixels):
        return tf.cast(pixels, tf.float32)[..., ::-1] - tf.constant(config.pixel_means, tf.float32)

    steps = 1.0 / scales
    # Of the whole picture there are only bytes: one of 89 megapixels would be 1 GB of float32.
    rows = _resize_axis(image, size[0], steps[0], 0, without_means)
    return _resize_axis(rows, size[1], steps[1], 1), tf.cast(scales, tf.float32)


def prepare_images(images: Sequence[np.ndarray], config: DetectorConfig) -> dict:
    """Prepare a batch of pictures of any sizes for the detector.

    Args:
        images: uint8 [height, width, 3] each, RGB.
        config: Rules of the detector.

    Returns:
        `images` float32 [B, H, W, 3], padded right and below with zeros, `image_sizes` int32 [B, 2]
        and `scales` float32 [B, 2].
    """
    prepared, scales = zip(*(prepare_image(image, config) for image in images))
    sizes = tf.stack([tf.shape(pixels)[:2] for pixels in prepared])
    height, width = tf.unstack(tf.reduce_max(sizes, axis=0))
    padded = [tf.image.pad_to_bounding_box(pixels, 0, 0, height, width) for pixels in prepared]
    return {"images": tf.stack(padded), "image_sizes": sizes, "scales": tf.stack(scales)}


def _resize_axis(pixels, length, step, axis: int, convert: Callable = tf.identity):
    """Interpolate linearly between pixel centers, in steps of `step` pixels, along an axis.

    Args:
        pixels: [height, width, 3].
        length: Pixels along the axis afterwards.
        step: Pixels before per pixel afterwards.
        axis: 0 for rows, 1 for columns.
        convert: Applied to the pixels that are used, and returns float32.

    Returns:
        float32 [height', width', 3].
    """
    last = tf.shape(pixels)[axis] - 1
    # In float64, as OpenCV computes positions.
    places = (tf.range(length, dtype=tf.float64) + 0.5) * tf.cast(step, tf.float64) - 0.5
    places = tf.clip_by_value(places, 0.0, tf.cast(last, tf.float64))
    before = tf.cast(places, tf.int32)
    share = tf.cast(places - tf.cast(before, tf.float64), tf.float32)
    share = tf.reshape(share, [-1, *[1] * (2 - axis)])
    after = tf.minimum(before + 1, last)
    near, far = (convert(tf.gather(pixels, cells, axis=axis)) for cells in (before, after))
    return near * (1.0 - share) + far * share
