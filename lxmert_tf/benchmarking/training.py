"""Training steps as Keras runs them."""

from collections.abc import Sequence

import tensorflow as tf

from lxmert_tf import flops
from lxmert_tf.benchmarking.answering import answer_flops, batch_shape
from lxmert_tf.benchmarking.batches import REGIONS, Batch, draw_batches
from lxmert_tf.benchmarking.workload import Workload
from lxmert_tf.config import LxmertConfig
from lxmert_tf.tasks.answering import LxmertAnswerClassifier
from lxmert_tf.tasks.pretraining import LxmertPretrainer
from lxmert_tf.tasks.pretraining_losses import IGNORED
from lxmert_tf.tasks.soft_answers import SoftAccuracy, SoftAnswerLoss
from lxmert_tf.training.optimizer import BertAdamW

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
    model.shortcuts = not plain
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
    model.shortcuts = not plain
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
