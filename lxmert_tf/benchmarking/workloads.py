"""Workloads of `lxmert benchmark`: answering, fine-tuning and pre-training on random batches."""

import dataclasses
from collections.abc import Callable, Sequence

import numpy as np
import tensorflow as tf

from lxmert_tf.benchmarking import flops
from lxmert_tf.benchmarking.settings import Setting, draw_lengths
from lxmert_tf.benchmarking.timing import Workload
from lxmert_tf.data.masking import RngKeys, mask_regions, mask_words
from lxmert_tf.data.masking_rates import MaskingRates
from lxmert_tf.models.answer_classifier import LxmertAnswerClassifier
from lxmert_tf.models.config import LxmertConfig
from lxmert_tf.models.pretrainer import LxmertPretrainer
from lxmert_tf.models.pretrainer_losses import IGNORED
from lxmert_tf.models.soft_answers import SoftAccuracy, SoftAnswerLoss
from lxmert_tf.models.special_pieces import SPECIAL_PIECES
from lxmert_tf.serving.signatures import AnswerModule
from lxmert_tf.training.optimization import BertAdamW

# Regions per image, as published.
REGIONS = 36
# Number of different batches; over four of them the mean sentence length is representative.
BATCHES = 4
# Number of single questions whose latency is measured.
REQUESTS = 50
SEED = 0
LEARNING_RATE = 1e-5
_PAD, _CLS, _SEP, _MASK = map(SPECIAL_PIECES.index, ("[PAD]", "[CLS]", "[SEP]", "[MASK]"))
_FIRST_PIECE = len(SPECIAL_PIECES)

Arrays = dict[str, np.ndarray]


def make_workload(setting: Setting, config: LxmertConfig) -> Workload:
    """Build a model with random weights and the workload of a setting.

    Args:
        setting: What to measure.
        config: Sizes of the model.
    """
    # Each batch is timed at least once.
    count = min(BATCHES, setting.steps)
    batches = draw_batches(
        setting.task,
        config,
        setting.lengths,
        setting.batch_size,
        count,
        setting.questions_per_image,
    )
    make = {"answer": _answering, "finetune": _finetuning, "pretrain": _pretraining}
    return make[setting.task](setting, config, batches)


@dataclasses.dataclass(frozen=True)
class Batch:
    """A batch of random examples.

    Args:
        inputs: Inputs of `LxmertBackbone`, padded to the longest sentence. With Q questions per
            image, text inputs have Q rows for each row of region inputs.
        targets: Targets of `LxmertPretrainer` by name, `scores` [B, A] of
            `LxmertAnswerClassifier`, or nothing.
    """

    inputs: Arrays
    targets: Arrays

    @property
    def lengths(self) -> np.ndarray:
        """Word pieces of each sentence, int [B]."""
        return self.inputs["padding_mask"].sum(axis=1)

    @property
    def images(self) -> int:
        """Number of images."""
        return len(self.inputs["region_mask"])


def draw_batches(
    task: str,
    config: LxmertConfig,
    lengths: str,
    batch_size: int,
    count: int,
    questions_per_image: int = 1,
) -> list[Batch]:
    """Draw random batches for a task; the same arguments give the same batches.

    Args:
        task: "answer", "finetune" or "pretrain".
        config: Sizes of the model.
        lengths: Distribution of sentence lengths, a key of `LENGTHS`.
        batch_size: Images per batch.
        count: Number of batches.
        questions_per_image: Questions about each image, in consecutive rows; for "answer" only.
    """
    random = np.random.default_rng(SEED)
    sentences = batch_size * questions_per_image
    drawn = draw_lengths(lengths, sentences * count, random).reshape(count, sentences)
    make = {"answer": _questions, "finetune": _scored_questions, "pretrain": _pretraining_batch}
    return [make[task](config, part, batch_size, random) for part in drawn]


def vocabulary(config: LxmertConfig) -> list[str]:
    """Return a vocabulary whose pieces are whole words, except for the special pieces."""
    return [*SPECIAL_PIECES, *(f"w{i}" for i in range(_FIRST_PIECE, config.vocab_size))]


def questions(batch: Batch) -> list[str]:
    """Return the texts that a preprocessor with `vocabulary` turns into the ids of a batch."""
    return [
        " ".join(f"w{piece}" for piece in ids[1 : length - 1])
        for ids, length in zip(batch.inputs["token_ids"], batch.lengths)
    ]


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


def _answering(setting: Setting, config: LxmertConfig, batches: Sequence[Batch]) -> Workload:
    """Return batches of questions, and single ones, for the functions of an exported model.

    With several questions per image, each image is encoded once, and a single request is a
    question about an image that is already encoded.
    """
    singles = draw_batches("answer", config, setting.lengths, 1, REQUESTS)
    served = _served_functions(setting, config)
    once = setting.questions_per_image > 1
    steps = [
        (_about_states if once and not setting.pads else _about_regions)(served, batch)
        for batch in batches
    ]
    return Workload(
        step=lambda number: steps[number](),
        examples=[len(batch.lengths) for batch in batches],
        flops=[_answering_flops(config, batch, setting.pads).total() for batch in batches],
        requests=[(_about_state if once else _about_regions)(served, batch) for batch in singles],
    )


def _served_functions(setting: Setting, config: LxmertConfig) -> dict[str, Callable]:
    """Return the signatures that `export_answer_model` writes."""
    model = LxmertAnswerClassifier(
        config,
        vocabulary=vocabulary(config),
        answers=[f"answer {i}" for i in range(config.num_answers)],
        dtype=setting.precision,
    )
    model.packing = not setting.pads
    if setting.xla:
        _compile_with_xla(model)
    return AnswerModule(model).signatures()


def _compile_with_xla(model: LxmertAnswerClassifier) -> None:
    """Make XLA compile everything except the tokenizer, which has strings."""
    for part in (model.encode_question, model.encode_image, model.answer_pairs):
        compiled = tf.function(part, jit_compile=True, autograph=False)
        # Not through Keras, which would track it.
        object.__setattr__(model, part.__name__, compiled)


def _about_regions(served: dict[str, Callable], batch: Batch) -> Callable[[], None]:
    """Return a call that answers all questions at once, each with the regions of its image."""
    each = len(batch.lengths) // batch.images
    inputs = {
        "question": tf.constant(questions(batch)),
        **{name: tf.repeat(value, each, axis=0) for name, value in _regions(batch).items()},
    }
    return lambda: served["serving_default"](**inputs)["scores"].numpy()


def _about_states(served: dict[str, Callable], batch: Batch) -> Callable[[], None]:
    """Return a call that encodes all images, then answers the questions image by image."""
    regions = _regions(batch)
    asked = tf.split(tf.constant(questions(batch)), batch.images)

    def answer():
        states = served["encode_image"](**regions)["image_state"]
        for number, text in enumerate(asked):
            state = states[number : number + 1]
            served["answer_about_image"](question=text, image_state=state)["scores"].numpy()

    return answer


def _about_state(served: dict[str, Callable], batch: Batch) -> Callable[[], None]:
    """Return a call that answers the questions about one image, which is encoded beforehand."""
    state = served["encode_image"](**_regions(batch))["image_state"]
    text = tf.constant(questions(batch))
    return lambda: served["answer_about_image"](question=text, image_state=state)["scores"].numpy()


def _regions(batch: Batch) -> dict[str, tf.Tensor]:
    return {
        "region_features": tf.constant(batch.inputs["region_features"]),
        "region_boxes": tf.constant(batch.inputs["region_boxes"]),
        "region_count": tf.reduce_sum(batch.inputs["region_mask"], axis=1),
    }


def _answering_flops(config: LxmertConfig, batch: Batch, plain: bool) -> flops.Flops:
    """Return the operations of answering, or of training's forward pass on, a batch.

    Args:
        config: Sizes of the model.
        batch: Questions, one or more for each image.
        plain: Whether padding is computed on, and an image is encoded for each of its questions.
    """
    each = len(batch.lengths) // batch.images
    if plain or each == 1:
        calls, encoded = [batch.lengths], len(batch.lengths)
    else:
        calls, encoded = np.split(batch.lengths, batch.images), batch.images
    total = flops.encode_image_flops(config, encoded, REGIONS)
    for lengths in calls:
        shape = _shape(lengths, plain)
        total += flops.encode_text_flops(config, shape)
        total += flops.relate_pooled_flops(config, shape)
        total += flops.answer_head_flops(config, shape.examples)
    return total


def _finetuning(setting: Setting, config: LxmertConfig, batches: Sequence[Batch]) -> Workload:
    """Return training steps of an answer model."""
    model = LxmertAnswerClassifier(config, dtype=_training_policy(setting))
    model.packing = not setting.pads
    optimizer, metrics = BertAdamW(LEARNING_RATE), [SoftAccuracy()]
    model.compile(optimizer, SoftAnswerLoss(), metrics, jit_compile=setting.xla)
    forward = [_answering_flops(config, batch, setting.pads) for batch in batches]
    return _training(model, [(batch.inputs, batch.targets["scores"]) for batch in batches], forward)


def _pretraining(setting: Setting, config: LxmertConfig, batches: Sequence[Batch]) -> Workload:
    """Return training steps on all pre-training tasks."""
    model = LxmertPretrainer(config, dtype=_training_policy(setting))
    model.packing = not setting.pads
    model.compile(BertAdamW(LEARNING_RATE), jit_compile=setting.xla)
    forward = [_pretraining_flops(config, batch, setting.pads) for batch in batches]
    return _training(model, [(batch.inputs, batch.targets) for batch in batches], forward)


def _training_policy(setting: Setting) -> str:
    return "mixed_bfloat16" if setting.precision == "bfloat16" else setting.precision


def _pretraining_flops(config: LxmertConfig, batch: Batch, plain: bool) -> flops.Flops:
    """Return the operations of a forward pass.

    Args:
        config: Sizes of the model.
        batch: A batch with targets.
        plain: Whether padding is computed on, and the heads see every word and region.
    """
    shape = _shape(batch.lengths, plain)
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


def _shape(lengths: np.ndarray, plain: bool) -> flops.BatchShape:
    examples, longest = len(lengths), int(lengths.max())
    words = examples * longest if plain else int(lengths.sum())
    return flops.BatchShape(examples, words, longest, REGIONS)


def _training(model, batches: Sequence[tuple], forward: Sequence[flops.Flops]) -> Workload:
    # One signature for all lengths, so that the step is traced once, as in training.
    signature = tf.nest.map_structure(
        lambda array: tf.TensorSpec(([None, None, *array.shape[2:]])[: array.ndim], array.dtype),
        batches[0],
    )
    dataset = tf.data.Dataset.from_generator(lambda: iter(batches), output_signature=signature)
    # Cached in memory, because benchmarks/reading.py measures reading.
    iterator = iter(dataset.cache().repeat().prefetch(1))
    train = model.make_train_function()

    def step(number: int) -> None:
        train(iterator)["loss"].numpy()

    return Workload(
        step=step,
        examples=[len(inputs["token_ids"]) for inputs, _ in batches],
        flops=[flops.TRAINING_FACTOR * counted.total() for counted in forward],
    )
