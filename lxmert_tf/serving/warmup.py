"""Warm-up requests, so that users do not wait for the one-time work of TensorFlow's first calls."""

import itertools
import pathlib
from collections.abc import Iterator

import numpy as np
import tensorflow as tf
from tensorflow.core.framework.tensor_pb2 import TensorProto

from lxmert_tf.data import schema
from lxmert_tf.data.scene import Scene, SceneImage, Sentence
from lxmert_tf.models.answer_classifier import LxmertAnswerClassifier
from lxmert_tf.models.pair_classifier import LxmertPairClassifier
from lxmert_tf.regions.extractor import Regions
from lxmert_tf.serving.layout import EXTRA

# File name in assets.extra, fixed by TensorFlow Serving.
WARMUP = "tf_serving_warmup_requests"
# Regions per image, as published.
REGIONS = 36
QUESTIONS = ("what color is it?", "how many people are to the left of the small red car?")

# Signature and inputs by name.
Request = tuple[str, dict[str, TensorProto]]


def warmup_requests(feature_size: int, hidden_size: int) -> Iterator[Request]:
    """Yield a few requests for each signature of an answer classifier.

    Args:
        feature_size: F of the region features.
        hidden_size: H of the states.
    """
    for questions in (QUESTIONS[:1], QUESTIONS):
        regions = _region_inputs([len(questions)], feature_size)
        yield "serving_default", {"question": tf.make_tensor_proto(list(questions)), **regions}
        yield "encode_image", regions
    state = _constant(0.5, [1, REGIONS, hidden_size])
    # One question each: if batching is enabled, TensorFlow Serving requires as many questions as
    # image states, and does not load a model whose warm-up fails.
    for question in QUESTIONS:
        text = {"question": tf.make_tensor_proto([question])}
        yield "answer_about_image", {**text, "image_state": state}
        yield "encode_question", text
    yield "answer_pairs", {"question_state": state, "image_state": state}
    yield from _example_requests(feature_size, images=1)


def picture_warmup_requests() -> Iterator[Request]:
    """Yield a request for each signature that takes pictures."""
    # A picture this wide stays small when the detector enlarges it. It is high enough for regions
    # in the flavor "caffe", which drops those of less than 16 pixels.
    pixels = np.arange(32 * 128 * 3).reshape([32, 128, 3]) * 37 % 256
    picture = tf.io.encode_png(tf.constant(pixels, tf.uint8)).numpy()
    question = {"question": tf.make_tensor_proto([QUESTIONS[0]])}
    yield "answer_image", {"image": tf.make_tensor_proto([picture]), **question}
    # The signatures share the detector, which takes seconds for a picture. An empty file, which is
    # refused before it, prepares the rest.
    no_picture = {"image": tf.make_tensor_proto([b""])}
    yield "answer_about_picture", {**no_picture, **question}
    yield "encode_picture", no_picture


def pair_warmup_requests(feature_size: int) -> Iterator[Request]:
    """Yield a few requests for each signature of a pair classifier.

    Args:
        feature_size: F of the region features.
    """
    for statements in (QUESTIONS[:1], QUESTIONS):
        regions = _region_inputs([len(statements), 2], feature_size)
        yield "serving_default", {"question": tf.make_tensor_proto(list(statements)), **regions}
    yield from _example_requests(feature_size, images=2)


def write_warmup(
    directory,
    model: LxmertAnswerClassifier | LxmertPairClassifier,
    takes_pictures: bool = False,
) -> None:
    """Write warm-up requests into a SavedModel, where TensorFlow Serving reads them.

    Needs the package tensorflow-serving-api (extra `grpc`).

    Args:
        directory: The SavedModel.
        model: The model it was exported from.
        takes_pictures: Whether it was exported with a detector.
    """
    from tensorflow_serving.apis import predict_pb2, prediction_log_pb2

    extra = pathlib.Path(directory) / EXTRA
    extra.mkdir(exist_ok=True)
    feature_size = model.config.region_feature_size
    requests = (
        pair_warmup_requests(feature_size)
        if isinstance(model, LxmertPairClassifier)
        else warmup_requests(feature_size, model.config.hidden_size)
    )
    if takes_pictures:
        requests = itertools.chain(requests, picture_warmup_requests())
    with tf.io.TFRecordWriter(str(extra / WARMUP)) as writer:
        for signature, inputs in requests:
            request = predict_pb2.PredictRequest(inputs=inputs)
            request.model_spec.signature_name = signature
            log = prediction_log_pb2.PredictLog(request=request)
            writer.write(prediction_log_pb2.PredictionLog(predict_log=log).SerializeToString())


def _region_inputs(batch: list[int], feature_size: int) -> dict[str, TensorProto]:
    return {
        "region_features": _constant(0.5, [*batch, REGIONS, feature_size]),
        "region_boxes": _constant(0.5, [*batch, REGIONS, 4]),
        "region_count": tf.make_tensor_proto(np.full(batch, REGIONS, np.int32)),
    }


def _constant(value: float, shape: list[int]) -> TensorProto:
    # The message holds the value once for the whole shape, which keeps the file small.
    return tf.make_tensor_proto(value, tf.float32, shape)


def _example_requests(feature_size: int, images: int) -> Iterator[Request]:
    for dtype in (np.float16, np.float32):
        example = _flat_scene(feature_size, images, dtype)
        yield "serve_examples", {"examples": tf.make_tensor_proto([example])}


def _flat_scene(feature_size: int, images: int, dtype) -> bytes:
    regions = Regions(
        features=np.full([REGIONS, feature_size], 0.5, dtype),
        boxes=np.full([REGIONS, 4], 0.5, np.float32),
    )
    image = SceneImage("warm-up", height=1, width=1, regions=regions)
    sentence = Sentence("warm-up", QUESTIONS[0])
    return schema.encode_scene(Scene((image,) * images, (sentence,)))
