"""Questions put to an answer model as it is served."""

from collections.abc import Callable

import numpy as np
import tensorflow as tf

from lxmert_tf import flops
from lxmert_tf.benchmarking.batches import REGIONS, Batch, draw_batches, questions, vocabulary
from lxmert_tf.benchmarking.workload import Workload
from lxmert_tf.config import LxmertConfig
from lxmert_tf.serving.answer_module import AnswerModule
from lxmert_tf.tasks.answering import LxmertAnswerClassifier

REQUESTS = 50

Call = Callable[[], None]


def answering(
    config: LxmertConfig,
    policy: str,
    lengths: str,
    batch_size: int,
    batches: int,
    questions_per_image: int,
    plain: bool,
) -> Workload:
    """Answers batches of questions, and single ones.

    Args:
        config: sizes; the weights are random.
        policy: of Keras.
        lengths: of the questions, a key of `LENGTHS`.
        batch_size: images per batch.
        batches: how many.
        questions_per_image: if more than one, those about an image follow each other, so that it is
            encoded once, and a single request is one question about an image that is encoded
            already.
        plain: whether to compute what the answers do not depend on, too.
    """
    served = _served_functions(config, policy, plain)
    drawn = draw_batches("answer", config, lengths, batch_size, batches, questions_per_image)
    singles = draw_batches("answer", config, lengths, 1, REQUESTS)
    once = questions_per_image > 1
    calls = [_call(served, batch) for batch in drawn]
    return Workload(
        step=lambda number: calls[number](),
        examples=[len(batch.lengths) for batch in drawn],
        flops=[_flops(config, batch, plain) for batch in drawn],
        requests=[(_call_about_state if once else _call)(served, batch) for batch in singles],
    )


def _served_functions(config: LxmertConfig, policy: str, plain: bool) -> dict[str, Callable]:
    """The signatures of what `export_answer_model` writes."""
    model = LxmertAnswerClassifier(
        config,
        vocabulary=vocabulary(config),
        answers=[f"answer {i}" for i in range(config.num_answers)],
        dtype=policy,
    )
    model.shortcuts = not plain
    return AnswerModule(model).signatures()


def _call(served: dict[str, Callable], batch: Batch) -> Call:
    regions = _regions(batch)
    each = len(batch.lengths) // len(regions["region_count"])
    inputs = {
        "question": tf.constant(questions(batch)),
        **{name: tf.repeat(value, each, axis=0) for name, value in regions.items()},
    }
    return lambda: served["serving_default"](**inputs)["scores"].numpy()


def _call_about_state(served: dict[str, Callable], batch: Batch) -> Call:
    state = served["encode_image"](**_regions(batch))["image_state"]
    text = tf.constant(questions(batch))
    return lambda: served["answer_about_image"](question=text, image_state=state)["scores"].numpy()


def _regions(batch: Batch) -> dict[str, tf.Tensor]:
    return {
        "region_features": tf.constant(batch.inputs["region_features"]),
        "region_boxes": tf.constant(batch.inputs["region_boxes"]),
        "region_count": tf.reduce_sum(batch.inputs["region_mask"], axis=1),
    }


def _flops(config: LxmertConfig, batch: Batch, plain: bool) -> int:
    images = len(batch.lengths if plain else batch.inputs["region_mask"])
    encoded = flops.encode_image_flops(config, images, REGIONS)
    return (encoded + answer_flops(config, batch.lengths, plain)).total()


def answer_flops(config: LxmertConfig, lengths: np.ndarray, plain: bool) -> flops.Flops:
    """Operations of answering questions of these lengths when the images are encoded.

    Args:
        config: sizes.
        lengths: in word pieces, int [B].
        plain: whether padding goes through the model and the last layer computes every word. Its
            vision side TensorFlow leaves out by itself, since nothing reads it.
    """
    shape = batch_shape(lengths, plain)
    relate = flops.relate_words_flops if plain else flops.relate_first_word_flops
    return (
        flops.encode_text_flops(config, shape)
        + relate(config, shape)
        + flops.answer_head_flops(config, shape.examples)
    )


def batch_shape(lengths: np.ndarray, plain: bool) -> flops.BatchShape:
    """The shape of sentences of these lengths in one batch, with `REGIONS` regions each."""
    examples, longest = len(lengths), int(lengths.max())
    words = examples * longest if plain else int(lengths.sum())
    return flops.BatchShape(examples, words, longest, REGIONS)
