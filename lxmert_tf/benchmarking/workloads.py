"""What is measured: steps on a few batches, and what each costs."""

import dataclasses
import time
from collections.abc import Callable, Sequence

import numpy as np
import tensorflow as tf

from lxmert_tf.benchmarking import flops
from lxmert_tf.benchmarking.settings import MAX_LENGTH, draw_lengths
from lxmert_tf.benchmarking.timing import WARM_UP, MatrixProduct, StepTimes
from lxmert_tf.data.masking import RngKeys, mask_regions, mask_words
from lxmert_tf.data.masking_rates import MaskingRates
from lxmert_tf.models.answer_classifier import LxmertAnswerClassifier
from lxmert_tf.models.config import LxmertConfig
from lxmert_tf.models.pretrainer import LxmertPretrainer
from lxmert_tf.models.pretrainer_losses import IGNORED
from lxmert_tf.models.soft_answers import SoftAccuracy, SoftAnswerLoss
from lxmert_tf.models.text_preprocessor import SPECIAL_PIECES
from lxmert_tf.serving.signatures import AnswerModule
from lxmert_tf.training.optimization import BertAdamW


@dataclasses.dataclass(frozen=True)
class Workload:
    """Steps on batches in turn.

    Args:
        step: runs one step on the batch of a number and waits for its result. Called with 0, 1,
            ... and again from 0.
        examples: of each batch.
        flops: floating-point operations of a step on each batch.
        requests: single requests, whose latencies matter.
    """

    step: Callable[[int], None]
    examples: Sequence[int]
    flops: Sequence[int]
    requests: Sequence[Callable[[], None]] = ()


def time_steps(workload: Workload, steps: int, product: MatrixProduct) -> StepTimes:
    """Times steps, and `product` between them.

    Args:
        workload: what to run.
        steps: how many to time, at least one for each batch.
        product: of the same precision.
    """
    batches = len(workload.examples)
    warm_up = max(WARM_UP, batches)
    times = StepTimes(workload.examples)
    for number in range(warm_up + steps):
        product.time()
        start = time.perf_counter()
        workload.step(number % batches)
        if number >= warm_up:
            times.add(number % batches, time.perf_counter() - start)
    return times


def time_requests(workload: Workload) -> list[float]:
    """Seconds of each request, after all were made once."""
    for request in workload.requests:
        request()
    latencies = []
    for request in workload.requests:
        start = time.perf_counter()
        request()
        latencies.append(time.perf_counter() - start)
    return latencies


REGIONS = 36
SEED = 0
_PAD, _CLS, _SEP, _MASK = map(SPECIAL_PIECES.index, ("[PAD]", "[CLS]", "[SEP]", "[MASK]"))
_FIRST_PIECE = len(SPECIAL_PIECES)

Arrays = dict[str, np.ndarray]


@dataclasses.dataclass(frozen=True)
class Batch:
    """One batch.

    Args:
        inputs: of the model, as `LxmertBackbone` takes them, padded to the longest sentence. With
            several sentences per image there are as many times more rows of text.
        targets: of `LxmertPretrainer` by name, or `scores` of `LxmertAnswerClassifier`.
    """

    inputs: Arrays
    targets: Arrays

    @property
    def lengths(self) -> np.ndarray:
        """Word pieces of each sentence, int [B]."""
        return self.inputs["padding_mask"].sum(axis=1)


def draw_batches(
    task: str,
    config: LxmertConfig,
    lengths: str,
    batch_size: int,
    count: int,
    questions_per_image: int = 1,
) -> list[Batch]:
    """Draws batches for a task.

    Args:
        task: "answer", "finetune" or "pretrain".
        config: sizes.
        lengths: of the sentences, a key of `LENGTHS`.
        batch_size: images per batch.
        count: how many batches.
        questions_per_image: of "answer"; those of one image stand together.
    """
    random = np.random.default_rng(SEED)
    sentences = batch_size * questions_per_image
    drawn = draw_lengths(lengths, sentences * count, random).reshape(count, sentences)
    make = {"answer": _questions, "finetune": _scored_questions, "pretrain": _pretraining_batch}
    return [make[task](config, part, batch_size, random) for part in drawn]


def vocabulary(config: LxmertConfig) -> list[str]:
    """Word pieces, such that each but the special ones is a word of its own."""
    return [*SPECIAL_PIECES, *(f"w{i}" for i in range(_FIRST_PIECE, config.vocab_size))]


def questions(batch: Batch) -> list[str]:
    """Texts that a preprocessor with `vocabulary` turns into the batch's ids."""
    return [
        " ".join(f"w{piece}" for piece in ids[1 : length - 1])
        for ids, length in zip(batch.inputs["token_ids"], batch.lengths)
    ]


def padded(values: np.ndarray, fill: int = 0) -> np.ndarray:
    """[B, T] as [B, `MAX_LENGTH`]."""
    missing = MAX_LENGTH - values.shape[1]
    return np.pad(values, [(0, 0), (0, missing)], constant_values=fill)


def _inputs(config: LxmertConfig, lengths: np.ndarray, images: int, random) -> Arrays:
    sentences, longest = len(lengths), lengths.max()
    token_ids = random.integers(_FIRST_PIECE, config.vocab_size, [sentences, longest], np.int32)
    mask = np.arange(longest) < lengths[:, np.newaxis]
    token_ids[:, 0] = _CLS
    token_ids[np.arange(sentences), lengths - 1] = _SEP
    corners = np.sort(random.random([images, REGIONS, 2, 2], np.float32), axis=2)
    features = random.standard_normal([images, REGIONS, config.region_feature_size], np.float32)
    return {
        "token_ids": np.where(mask, token_ids, _PAD),
        "segment_ids": np.zeros_like(token_ids),
        "padding_mask": mask.astype(np.int32),
        "region_features": features,
        "region_boxes": corners.reshape(images, REGIONS, 4),
        "region_mask": np.ones([images, REGIONS], np.int32),
    }


def _questions(config: LxmertConfig, lengths: np.ndarray, images: int, random) -> Batch:
    return Batch(_inputs(config, lengths, images, random), {})


def _scored_questions(config: LxmertConfig, lengths: np.ndarray, images: int, random) -> Batch:
    scores = np.zeros([images, config.num_answers], np.float32)
    right = random.integers(0, config.num_answers, [2, images])
    for answers, score in zip(right, (0.3, 1.0)):
        scores[np.arange(images), answers] = score
    return Batch(_inputs(config, lengths, images, random), {"scores": scores})


def _pretraining_batch(config: LxmertConfig, lengths: np.ndarray, size: int, random) -> Batch:
    inputs, rates = _inputs(config, lengths, size, random), MaskingRates()
    ids = tf.strings.as_string(random.integers(0, 2**62, size))
    draw = RngKeys(SEED, 0, ids)
    features, specials = inputs["region_features"], [_PAD, _CLS, _SEP]
    hidden_words, word_labels = mask_words(
        inputs["token_ids"], inputs["padding_mask"], specials, _MASK, config.vocab_size, draw, rates
    )
    hidden_regions, region_mask = mask_regions(features, inputs["region_mask"], ids, draw, rates)
    matched = random.integers(0, 2, size, np.int32)
    answers = random.integers(0, config.num_answers, size, np.int32)
    targets = {
        "masked_lm_labels": word_labels.numpy(),
        "matched_labels": matched,
        "region_feature_targets": features,
        "region_feature_mask": region_mask.numpy(),
        "object_labels": random.integers(0, config.num_objects, [size, REGIONS], np.int32),
        "object_confidences": random.random([size, REGIONS], np.float32),
        "attribute_labels": random.integers(0, config.num_attributes, [size, REGIONS], np.int32),
        "attribute_confidences": random.random([size, REGIONS], np.float32),
        "answer_labels": np.where(matched == 1, answers, IGNORED),
    }
    hidden = {"token_ids": hidden_words.numpy(), "region_features": hidden_regions.numpy()}
    return Batch({**inputs, **hidden}, targets)


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
    model.packing = not plain
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


LEARNING_RATE = 1e-5


def finetuning(
    config: LxmertConfig, policy: str, lengths: str, batch_size: int, batches: int, plain: bool
) -> Workload:
    """Steps that train an answer model.

    Args:
        config: sizes; the weights are random.
        policy: of Keras.
        lengths: of the questions, a key of `LENGTHS`.
        batch_size: examples per batch.
        batches: how many.
        plain: whether to compute what the answers do not depend on, too.
    """
    drawn = draw_batches("finetune", config, lengths, batch_size, batches)
    model = LxmertAnswerClassifier(config, dtype=policy)
    model.packing = not plain
    model.compile(BertAdamW(LEARNING_RATE), SoftAnswerLoss(), [SoftAccuracy()])
    forward = [
        flops.encode_image_flops(config, batch_size, REGIONS)
        + answer_flops(config, batch.lengths, plain)
        for batch in drawn
    ]
    return _workload(model, [(batch.inputs, batch.targets["scores"]) for batch in drawn], forward)


def pretraining(
    config: LxmertConfig, policy: str, lengths: str, batch_size: int, batches: int, plain: bool
) -> Workload:
    """Steps on all pre-training tasks; arguments as of `finetuning`."""
    drawn = draw_batches("pretrain", config, lengths, batch_size, batches)
    model = LxmertPretrainer(config, dtype=policy)
    model.packing = not plain
    model.compile(BertAdamW(LEARNING_RATE))
    forward = [_pretraining_flops(config, batch, plain) for batch in drawn]
    return _workload(model, [(batch.inputs, batch.targets) for batch in drawn], forward)


def _pretraining_flops(config: LxmertConfig, batch: Batch, plain: bool) -> flops.Flops:
    """Of a forward pass; plain ones put every word and region through the heads."""
    shape = batch_shape(batch.lengths, plain)
    regions = shape.examples * shape.regions
    words, with_features = shape.words, regions
    if not plain:
        words = int((batch.targets["masked_lm_labels"] != IGNORED).sum())
        with_features = int(batch.targets["region_feature_mask"].sum())
    return (
        flops.encode_image_flops(config, shape.examples, shape.regions)
        + flops.encode_text_flops(config, shape)
        + flops.relate_flops(config, shape)
        + flops.answer_head_flops(config, shape.examples)
        + flops.masked_lm_head_flops(config, words)
        + flops.region_head_flops(config, regions, with_features)
        + flops.matched_head_flops(config, shape.examples)
    )


def _workload(model, batches: Sequence[tuple], forward: Sequence[flops.Flops]) -> Workload:
    # One signature for all lengths, so that the step is traced once, as in training.
    signature = tf.nest.map_structure(
        lambda array: tf.TensorSpec(([None, None, *array.shape[2:]])[: array.ndim], array.dtype),
        batches[0],
    )
    dataset = tf.data.Dataset.from_generator(lambda: iter(batches), output_signature=signature)
    # In memory after the first pass: reading is another benchmark's.
    batches_in_turn = iter(dataset.cache().repeat().prefetch(1))
    train = model.make_train_function()

    def step(number: int) -> None:
        train(batches_in_turn)["loss"].numpy()

    return Workload(
        step=step,
        examples=[len(inputs["token_ids"]) for inputs, _ in batches],
        flops=[flops.TRAINING_FACTOR * counted.total() for counted in forward],
    )
