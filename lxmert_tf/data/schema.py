"""The record of a scene: a tf.Example. Only this module knows its features.

- One value per image: `image/*`, `regions/count`, `regions/feature_size`, `regions/features`
  (bytes, little-endian, dtype in `regions/feature_dtype`).
- One value per region, over all images: `regions/boxes` (four values), `regions/object_ids`, ...
- One value per sentence: `sentences/*`, `answers/count`.
- One value per answer, over all sentences: `answers/text`, `answers/score`.
"""

from collections.abc import Iterable, Sequence

import numpy as np
import tensorflow as tf

from lxmert_tf.data.scene import Scene, SceneImage, Sentence
from lxmert_tf.errors import InputError
from lxmert_tf.regions.extractor import Regions

IMAGE_ID = "image/id"
IMAGE_HEIGHT = "image/height"
IMAGE_WIDTH = "image/width"
REGION_COUNT = "regions/count"
FEATURE_SIZE = "regions/feature_size"
FEATURES = "regions/features"
FEATURE_DTYPE = "regions/feature_dtype"
BOXES = "regions/boxes"
OBJECT_IDS = "regions/object_ids"
OBJECT_CONFIDENCES = "regions/object_confidences"
ATTRIBUTE_IDS = "regions/attribute_ids"
ATTRIBUTE_CONFIDENCES = "regions/attribute_confidences"
SENTENCE_ID = "sentences/id"
SENTENCE_TEXT = "sentences/text"
SENTENCE_SOURCE = "sentences/source"
QUESTION_TYPE = "sentences/question_type"
ANSWER_TYPE = "sentences/answer_type"
ANSWER_COUNT = "answers/count"
ANSWER_TEXT = "answers/text"
ANSWER_SCORE = "answers/score"

DTYPES = {
    IMAGE_ID: tf.string,
    IMAGE_HEIGHT: tf.int64,
    IMAGE_WIDTH: tf.int64,
    REGION_COUNT: tf.int64,
    FEATURE_SIZE: tf.int64,
    FEATURES: tf.string,
    FEATURE_DTYPE: tf.string,
    BOXES: tf.float32,
    OBJECT_IDS: tf.int64,
    OBJECT_CONFIDENCES: tf.float32,
    ATTRIBUTE_IDS: tf.int64,
    ATTRIBUTE_CONFIDENCES: tf.float32,
    SENTENCE_ID: tf.string,
    SENTENCE_TEXT: tf.string,
    SENTENCE_SOURCE: tf.string,
    QUESTION_TYPE: tf.string,
    ANSWER_TYPE: tf.string,
    ANSWER_COUNT: tf.int64,
    ANSWER_TEXT: tf.string,
    ANSWER_SCORE: tf.float32,
}
# All but the feature blobs: the features that data validation and statistics look at.
DESCRIPTIVE = tuple(name for name in DTYPES if name != FEATURES)
SENTENCE_FEATURES = tuple(name for name in DTYPES if name.startswith(("sentences/", "answers/")))

# Sets, because they are looked up for every value and comparing dtypes is slow.
_BYTES = frozenset(name for name, dtype in DTYPES.items() if dtype == tf.string)
_INTEGERS = frozenset(name for name, dtype in DTYPES.items() if dtype == tf.int64)

_REGION_LABELS = {
    "object_ids": OBJECT_IDS,
    "object_confidences": OBJECT_CONFIDENCES,
    "attribute_ids": ATTRIBUTE_IDS,
    "attribute_confidences": ATTRIBUTE_CONFIDENCES,
}
_SENTENCE_TEXTS = {
    "id": SENTENCE_ID,
    "text": SENTENCE_TEXT,
    "source": SENTENCE_SOURCE,
    "question_type": QUESTION_TYPE,
    "answer_type": ANSWER_TYPE,
}


def encode_scene(scene: Scene) -> bytes:
    """Serialize a scene; the same scene gives the same bytes.

    Args:
        scene: The scene.

    Returns:
        A serialized tf.Example.

    Raises:
        ValueError: Only some of the images have labels, or features are neither float16 nor
            float32.
    """
    features = {
        IMAGE_ID: [image.id for image in scene.images],
        IMAGE_HEIGHT: [image.height for image in scene.images],
        IMAGE_WIDTH: [image.width for image in scene.images],
        REGION_COUNT: [len(image.regions) for image in scene.images],
        FEATURE_SIZE: [image.regions.features.shape[1] for image in scene.images],
        FEATURES: [_little_endian(image.regions.features).tobytes() for image in scene.images],
        FEATURE_DTYPE: [image.regions.features.dtype.name for image in scene.images],
        BOXES: np.concatenate([image.regions.boxes.ravel() for image in scene.images]),
    }
    for attribute, name in _REGION_LABELS.items():
        values = [getattr(image.regions, attribute) for image in scene.images]
        given = [value is not None for value in values]
        if all(given):
            features[name] = np.concatenate(values)
        elif any(given):
            raise ValueError(f"only some images of the scene have {attribute}")
    example = tf.train.Example()
    for name, content in {**features, **_sentence_features(scene.sentences)}.items():
        _fill(example.features.feature[name], name, content)
    return example.SerializeToString(deterministic=True)


def replace_sentences(serialized: bytes, sentences: Sequence[Sentence]) -> bytes:
    """Replace the sentences of a serialized scene without decoding its images.

    Args:
        serialized: From `encode_scene`.
        sentences: The new sentences.

    Returns:
        What `encode_scene` returns for the scene with the new sentences.
    """
    example = tf.train.Example.FromString(serialized)
    for name, values in _sentence_features(sentences).items():
        example.features.feature[name].Clear()
        _fill(example.features.feature[name], name, values)
    return example.SerializeToString(deterministic=True)


def decode_scene(serialized: bytes) -> Scene:
    """Decode a serialized scene to Python objects; the inverse of `encode_scene`.

    Args:
        serialized: A record.

    Returns:
        The scene.

    Raises:
        InputError: The bytes are not a scene, or its features do not fit each other.
    """
    example = tf.train.Example()
    try:
        example.ParseFromString(serialized)
        values = {name: _values(example.features.feature[name], DTYPES[name]) for name in DTYPES}
        _check_lengths(values)
        return Scene(tuple(_images(values)), tuple(_sentences(values)))
    except Exception as error:
        # protobuf's DecodeError, and what NumPy raises for wrong lengths.
        raise InputError(f"the record is not a scene: {error}") from error


def parse_scenes(serialized, features: Iterable[str] = DTYPES) -> dict[str, tf.RaggedTensor]:
    """Parse serialized scenes in TensorFlow.

    Args:
        serialized: string [N].
        features: The features to parse.

    Returns:
        A dict from feature to ragged tensor [N, (values)].
    """
    spec = {name: tf.io.RaggedFeature(DTYPES[name], row_splits_dtype=tf.int64) for name in features}
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


def _little_endian(array: np.ndarray) -> np.ndarray:
    if array.dtype not in (np.float16, np.float32):
        raise ValueError(f"features are {array.dtype}; a record holds float16 or float32")
    return np.ascontiguousarray(array, array.dtype.newbyteorder("<"))


def _sentence_features(sentences: Sequence[Sentence]) -> dict[str, list]:
    return {
        **{
            name: [getattr(sentence, attribute) for sentence in sentences]
            for attribute, name in _SENTENCE_TEXTS.items()
        },
        ANSWER_COUNT: [len(sentence.answers) for sentence in sentences],
        ANSWER_TEXT: [text for sentence in sentences for text, _ in sentence.answers],
        ANSWER_SCORE: [score for sentence in sentences for _, score in sentence.answers],
    }


def _fill(feature, name: str, values) -> None:
    # protobuf is fastest with lists of Python numbers.
    values = values.tolist() if isinstance(values, np.ndarray) else values
    if name in _BYTES:
        encoded = [v if isinstance(v, bytes) else v.encode("utf-8") for v in values]
        feature.bytes_list.value.extend(encoded)
    elif name in _INTEGERS:
        feature.int64_list.value.extend(values)
    else:
        feature.float_list.value.extend(values)


def _values(feature, dtype) -> list:
    if dtype == tf.string:
        return list(feature.bytes_list.value)
    if dtype == tf.int64:
        return list(feature.int64_list.value)
    return list(feature.float_list.value)


def _check_lengths(values: dict[str, list]) -> None:
    regions, answers = sum(values[REGION_COUNT]), sum(values[ANSWER_COUNT])
    expected = {
        name: len(values[SENTENCE_ID]) for name in (*_SENTENCE_TEXTS.values(), ANSWER_COUNT)
    }
    for name in (IMAGE_HEIGHT, IMAGE_WIDTH, REGION_COUNT, FEATURE_SIZE, FEATURES, FEATURE_DTYPE):
        expected[name] = len(values[IMAGE_ID])
    expected |= {BOXES: 4 * regions, ANSWER_TEXT: answers, ANSWER_SCORE: answers}
    # Not every extractor gives labels.
    expected |= {name: regions for name in _REGION_LABELS.values() if values[name]}
    if not values[IMAGE_ID]:
        raise ValueError("there is no image")
    for name, length in expected.items():
        if len(values[name]) != length:
            raise ValueError(f"{name} has {len(values[name])} values instead of {length}")


def _images(values: dict[str, list]):
    start = 0
    boxes = np.array(values[BOXES], np.float32).reshape(-1, 4)
    for i, image_id in enumerate(values[IMAGE_ID]):
        count, size = values[REGION_COUNT][i], values[FEATURE_SIZE][i]
        dtype = np.dtype(values[FEATURE_DTYPE][i].decode()).newbyteorder("<")
        if dtype not in (np.float16, np.float32):
            raise ValueError(f"features are {dtype}; a record holds float16 or float32")
        features = np.frombuffer(values[FEATURES][i], dtype).reshape(count, size)
        labels = {}
        for attribute, name in _REGION_LABELS.items():
            if values[name]:
                kind = np.int64 if DTYPES[name] == tf.int64 else np.float32
                labels[attribute] = np.array(values[name][start : start + count], kind)
        regions = Regions(features=features, boxes=boxes[start : start + count], **labels)
        yield SceneImage(
            image_id.decode(), values[IMAGE_HEIGHT][i], values[IMAGE_WIDTH][i], regions
        )
        start += count


def _sentences(values: dict[str, list]):
    start = 0
    for i in range(len(values[SENTENCE_ID])):
        stop = start + values[ANSWER_COUNT][i]
        texts = [text.decode() for text in values[ANSWER_TEXT][start:stop]]
        strings = {key: values[name][i].decode() for key, name in _SENTENCE_TEXTS.items()}
        answers = tuple(zip(texts, values[ANSWER_SCORE][start:stop], strict=True))
        if len(answers) != values[ANSWER_COUNT][i]:
            raise ValueError("answers/count does not fit answers/text")
        yield Sentence(**strings, answers=answers)
        start = stop
