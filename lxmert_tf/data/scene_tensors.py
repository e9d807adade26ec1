"""Records of scenes in TensorFlow: as ragged tensors, and as inputs and targets of the models."""

from collections.abc import Iterable

import tensorflow as tf

from lxmert_tf.data.schema import (
    ANSWER_COUNT,
    ANSWER_SCORE,
    ANSWER_TEXT,
    ATTRIBUTE_CONFIDENCES,
    ATTRIBUTE_IDS,
    BOXES,
    FEATURE_DTYPE,
    FEATURE_SIZE,
    FEATURES,
    KINDS,
    OBJECT_CONFIDENCES,
    OBJECT_IDS,
    REGION_COUNT,
)

# By the kind of a feature.
_DTYPES = {"bytes": tf.string, "int64": tf.int64, "float": tf.float32}


def parse_scenes(serialized, features: Iterable[str] = KINDS) -> dict[str, tf.RaggedTensor]:
    """Parse serialized scenes in TensorFlow.

    Args:
        serialized: string [N].
        features: The features to parse.

    Returns:
        A dict from feature to ragged tensor [N, (values)].
    """
    spec = {
        name: tf.io.RaggedFeature(_DTYPES[KINDS[name]], row_splits_dtype=tf.int64)
        for name in features
    }
    return tf.io.parse_example(serialized, spec)


def decode_regions(
    scenes: dict[str, tf.RaggedTensor], max_regions: int | None = None, images_per_scene: int = 1
) -> dict[str, tf.Tensor]:
    """Make the image inputs of the models from parsed scenes.

    Args:
        scenes: From `parse_scenes`, N scenes.
        max_regions: R, the number of regions to pad to; None means the most that any image has.
        images_per_scene: I, the number of images that each scene must have.

    Returns:
        A dict of `region_features` float32 [N, R, F], `region_boxes` float32 [N, R, 4] and
        `region_mask` int32 [N, R]. If I is not 1, they have an axis of I after the first.

    Raises:
        InvalidArgumentError: At run time, if a scene has another number of images, an image has
            more than R regions, or `regions/count` does not fit the features or boxes.
    """
    number = "one image" if images_per_scene == 1 else f"{images_per_scene} images"
    number_check = tf.debugging.assert_equal(
        scenes[REGION_COUNT].row_lengths(),
        tf.constant(images_per_scene, tf.int64),
        message=f"this model reads scenes of {number}; a record has another number",
    )
    with tf.control_dependencies([number_check]):
        count = tf.identity(scenes[REGION_COUNT].flat_values)
    size = scenes[FEATURE_SIZE].flat_values[0]
    blobs = scenes[FEATURES].flat_values
    half = tf.equal(scenes[FEATURE_DTYPE].flat_values, "float16")
    width = tf.where(half, tf.constant(2, tf.int64), tf.constant(4, tf.int64))
    checks = [
        tf.debugging.assert_equal(
            tf.strings.length(blobs, unit="BYTE"),
            tf.cast(count * size * width, tf.int32),
            message="regions/count does not fit the length of regions/features",
        ),
        tf.debugging.assert_equal(
            scenes[BOXES].row_lengths(),
            4 * tf.reduce_sum(tf.reshape(count, [-1, images_per_scene]), axis=1),
            message="regions/count does not fit the length of regions/boxes",
        ),
    ]
    if max_regions is not None:
        largest = tf.reduce_max(tf.concat([[tf.constant(0, tf.int64)], count], axis=0))
        message = tf.strings.join(
            [
                "an image has ",
                tf.strings.as_string(largest),
                f" regions, more than max_regions = {max_regions}; set max_regions in the "
                "configuration, or --max-regions",
            ]
        )
        checks.append(tf.debugging.Assert(largest <= max_regions, [message]))
    with tf.control_dependencies(checks):
        most = tf.cast(tf.reduce_max(count), tf.int32) if max_regions is None else max_regions
        by_image = tf.RaggedTensor.from_row_lengths(scenes[BOXES].flat_values, 4 * count)
    values = most * tf.cast(size, tf.int32)
    features = tf.cond(
        tf.reduce_all(half),
        lambda: _decode(blobs, tf.float16, values),
        lambda: tf.where(
            half[:, tf.newaxis],
            _decode(tf.where(half, blobs, ""), tf.float16, values),
            _decode(tf.where(half, "", blobs), tf.float32, values),
        ),
    )
    boxes = by_image.to_tensor(shape=[None, None])
    boxes = tf.pad(boxes, [[0, 0], [0, tf.maximum(0, 4 * most - tf.shape(boxes)[1])]])
    # Not -1: reshape cannot infer it if no image has a region.
    images = tf.size(count)
    lead = [images] if images_per_scene == 1 else [images // images_per_scene, images_per_scene]
    return {
        "region_features": tf.reshape(features, [*lead, most, tf.cast(size, tf.int32)]),
        "region_boxes": tf.reshape(boxes[:, : 4 * most], [*lead, most, 4]),
        "region_mask": tf.reshape(tf.sequence_mask(count, most, tf.int32), [*lead, most]),
    }


def distinct_regions(scenes: dict[str, tf.RaggedTensor]) -> tuple[tf.Tensor, tf.Tensor]:
    """Find scenes with the same regions, so that they are encoded once.

    Args:
        scenes: From `parse_scenes`, N scenes.

    Returns:
        The position of the first of the scenes that have the same regions, int32 [M], and for each
        scene the index of its first one among these, int32 [N].
    """
    # The bits of boxes, because their values would be rounded as text.
    bits = tf.ragged.map_flat_values(tf.bitcast, scenes[BOXES], tf.int32)
    boxes = tf.ragged.map_flat_values(tf.strings.as_string, bits)
    parts = [
        tf.strings.reduce_join(part, axis=-1, separator=" ") for part in (scenes[FEATURES], boxes)
    ]
    different, index = tf.unique(tf.strings.join(parts, separator=" "))
    first = tf.math.unsorted_segment_min(tf.range(tf.size(index)), index, tf.size(different))
    return first, index


def decode_region_labels(
    scenes: dict[str, tf.RaggedTensor], max_regions: int
) -> dict[str, tf.Tensor]:
    """Make the region targets of pre-training from parsed scenes of one image each.

    Args:
        scenes: From `parse_scenes`, N scenes.
        max_regions: R, the number of regions to pad to.

    Returns:
        A dict of `object_labels`, `attribute_labels` int32 [N, R], -1 where there is no region or
        the extractor has no labels, and `object_confidences`, `attribute_confidences` float32
        [N, R].
    """
    labels = {}
    for kind, ids, confidences in (
        ("object", OBJECT_IDS, OBJECT_CONFIDENCES),
        ("attribute", ATTRIBUTE_IDS, ATTRIBUTE_CONFIDENCES),
    ):
        padded = scenes[ids].to_tensor(-1, shape=[None, max_regions])
        labels[f"{kind}_labels"] = tf.cast(padded, tf.int32)
        labels[f"{kind}_confidences"] = scenes[confidences].to_tensor(shape=[None, max_regions])
    return labels


def sentence_answers(scenes: dict[str, tf.RaggedTensor]) -> tuple[tf.RaggedTensor, tf.RaggedTensor]:
    """Group the answers of parsed scenes by sentence.

    Args:
        scenes: From `parse_scenes`, with S sentences in all.

    Returns:
        The answers, ragged string [S, (a)], and their scores, ragged float32 [S, (a)].
    """
    lengths = scenes[ANSWER_COUNT].flat_values
    texts, scores = scenes[ANSWER_TEXT].flat_values, scenes[ANSWER_SCORE].flat_values
    return (
        tf.RaggedTensor.from_row_lengths(texts, lengths),
        tf.RaggedTensor.from_row_lengths(scores, lengths),
    )


def _decode(blobs, dtype, values) -> tf.Tensor:
    # decode_raw with padding has no kernel for float16, so its bits are read as integers. It
    # rejects a length of zero, which images without regions have.
    length = tf.maximum(values, 1) * dtype.size
    bits = tf.uint16 if dtype == tf.float16 else dtype
    decoded = tf.io.decode_raw(blobs, bits, little_endian=True, fixed_length=length)
    return tf.cast(tf.bitcast(decoded, dtype), tf.float32)[:, :values]
