"""The record of a scene: a tf.Example. Only this module knows its features.

- One value per image: `image/*`, `regions/count`, `regions/feature_size`, `regions/features`
  (bytes, little-endian, dtype in `regions/feature_dtype`).
- One value per region, over all images: `regions/boxes` (four values), `regions/object_ids`, ...
- One value per sentence: `sentences/*`, `answers/count`.
- One value per answer, over all sentences: `answers/text`, `answers/score`.

`scene_tensors` reads records in TensorFlow. This module does without, so that workers of the
ingestion need not import it.
"""

from collections.abc import Mapping, Sequence

import numpy as np

from lxmert_tf.data.example_proto import (
    Feature,
    Values,
    decode_example,
    encode_example,
    replace_features,
)
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

# The kinds of a `Feature`.
KINDS = {
    IMAGE_ID: "bytes",
    IMAGE_HEIGHT: "int64",
    IMAGE_WIDTH: "int64",
    REGION_COUNT: "int64",
    FEATURE_SIZE: "int64",
    FEATURES: "bytes",
    FEATURE_DTYPE: "bytes",
    BOXES: "float",
    OBJECT_IDS: "int64",
    OBJECT_CONFIDENCES: "float",
    ATTRIBUTE_IDS: "int64",
    ATTRIBUTE_CONFIDENCES: "float",
    SENTENCE_ID: "bytes",
    SENTENCE_TEXT: "bytes",
    SENTENCE_SOURCE: "bytes",
    QUESTION_TYPE: "bytes",
    ANSWER_TYPE: "bytes",
    ANSWER_COUNT: "int64",
    ANSWER_TEXT: "bytes",
    ANSWER_SCORE: "float",
}
# All but the feature blobs: the features that data validation and statistics look at.
DESCRIPTIVE = tuple(name for name in KINDS if name != FEATURES)
SENTENCE_FEATURES = tuple(name for name in KINDS if name.startswith(("sentences/", "answers/")))

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
    features = {**_image_features(scene.images), **_sentence_features(scene.sentences)}
    return encode_example(_features(features))


def encode_images(images: Sequence[SceneImage]) -> bytes:
    """Serialize the images of a scene, without sentences.

    Args:
        images: The images.

    Returns:
        A serialized tf.train.Example, which `replace_sentences` completes.

    Raises:
        ValueError: As for `encode_scene`.
    """
    return encode_example(_features(_image_features(images)))


def replace_sentences(serialized: bytes, sentences: Sequence[Sentence]) -> bytes:
    """Replace the sentences of a serialized scene without decoding its images.

    Args:
        serialized: From `encode_scene` or `encode_images`.
        sentences: The new sentences.

    Returns:
        What `encode_scene` returns for the scene with the new sentences.
    """
    return replace_features(serialized, _features(_sentence_features(sentences)))


def decode_scene(serialized: bytes) -> Scene:
    """Decode a serialized scene to Python objects; the inverse of `encode_scene`.

    Args:
        serialized: A record.

    Returns:
        The scene.

    Raises:
        InputError: The bytes are not a scene, or its features do not fit each other.
    """
    try:
        features = decode_example(serialized)
        values = {name: _values(features.get(name), kind) for name, kind in KINDS.items()}
        _check_lengths(values)
        return Scene(tuple(_images(values)), tuple(_sentences(values)))
    except (ValueError, TypeError) as error:
        # Also what NumPy raises for wrong lengths and types.
        raise InputError(f"the record is not a scene: {error}") from error


def _little_endian(array: np.ndarray) -> memoryview:
    """Return the bytes of features, without a copy where they are stored like that."""
    if array.dtype not in (np.float16, np.float32):
        raise ValueError(f"features are {array.dtype}; a record holds float16 or float32")
    array = np.ascontiguousarray(array, array.dtype.newbyteorder("<"))
    return array.reshape(-1).view(np.uint8).data


def _image_features(images: Sequence[SceneImage]) -> dict[str, Values]:
    features: dict[str, Values] = {
        IMAGE_ID: [image.id for image in images],
        IMAGE_HEIGHT: [image.height for image in images],
        IMAGE_WIDTH: [image.width for image in images],
        REGION_COUNT: [len(image.regions) for image in images],
        FEATURE_SIZE: [image.regions.features.shape[1] for image in images],
        FEATURES: [_little_endian(image.regions.features) for image in images],
        FEATURE_DTYPE: [image.regions.features.dtype.name for image in images],
        BOXES: np.concatenate([image.regions.boxes.ravel() for image in images]),
    }
    for attribute, name in _REGION_LABELS.items():
        values = [getattr(image.regions, attribute) for image in images]
        given = [value is not None for value in values]
        if all(given):
            features[name] = np.concatenate(values)
        elif any(given):
            raise ValueError(f"only some images of the scene have {attribute}")
    return features


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


def _features(values: Mapping[str, Values]) -> dict[str, Feature]:
    return {name: _feature(KINDS[name], content) for name, content in values.items()}


def _feature(kind: str, values: Values) -> Feature:
    if kind == "bytes":
        values = [v.encode("utf-8") if isinstance(v, str) else v for v in values]
    return Feature(kind, values)


def _values(feature: Feature | None, kind: str) -> list:
    return list(feature.values) if feature is not None and feature.kind == kind else []


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
                kind = np.int64 if KINDS[name] == "int64" else np.float32
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
