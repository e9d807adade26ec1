"""Trains an answer model on records: words and answers, model, Keras `fit`."""

import collections
import dataclasses
import math
import sys
from collections.abc import Sequence
from typing import Any

import tensorflow as tf
from tensorflow import keras

from lxmert_tf.config import LxmertConfig
from lxmert_tf.data.reading import (
    answer_batches,
    naming_damaged_files,
    pair_batches,
    read_records,
    read_sentences,
)
from lxmert_tf.data.schema import decode_regions, parse_scenes
from lxmert_tf.errors import InputError
from lxmert_tf.tasks.answering import LxmertAnswerClassifier
from lxmert_tf.tasks.soft_answers import SoftAccuracy, SoftAnswerLoss
from lxmert_tf.text import LxmertTextPreprocessor, build_vocabulary
from lxmert_tf.text_file import read_lines
from lxmert_tf.training.config import AnsweringConfig
from lxmert_tf.training.optimizer import BertAdamW
from lxmert_tf.training.schedule import WarmupLinearDecay
from lxmert_tf.training.strategy import mirrored_strategy


def train_answer_model(
    train_files: Sequence[str],
    validation_files: Sequence[str],
    model_config: LxmertConfig,
    task: AnsweringConfig,
    extractor: dict[str, Any] | None = None,
    log_directory: str | None = None,
) -> LxmertAnswerClassifier:
    """Trains from scratch under MirroredStrategy.

    Args:
        train_files, validation_files: TFRecords of scenes.
        model_config: sizes; those that the data decides (words, answers, width of the region
            features) are taken from the data.
        task: how to train.
        extractor: the config of what made the regions; kept with the model.
        log_directory: for TensorBoard.

    Returns:
        the model, with its vocabulary and answers.

    Raises:
        InputError: a file is damaged or holds nothing to train on.
    """
    keras.utils.set_random_seed(task.seed)
    with naming_damaged_files([*train_files, *validation_files]):
        words = read_words(train_files, task)
        config = dataclasses.replace(
            model_config,
            vocab_size=len(words.vocabulary),
            num_answers=len(words.answers),
            region_feature_size=_feature_size(train_files),
        )
        steps = math.ceil(words.sentences / task.batch_size)
        with mirrored_strategy().scope():
            model = LxmertAnswerClassifier(
                config,
                vocabulary=words.vocabulary,
                answers=words.answers,
                extractor=extractor,
                dtype=task.precision,
            )
            model.compile(
                optimizer=BertAdamW(
                    WarmupLinearDecay(task.peak_learning_rate, steps * task.epochs, task.warmup),
                    decay=task.weight_decay,
                    clip_norm=task.clip_norm,
                ),
                loss=SoftAnswerLoss(),
                metrics=[SoftAccuracy()],
            )
        batches = _batches(model, train_files, task, task.seed)
        model.fit(
            # With the number of steps, the first epoch's progress bar knows the time left, too.
            batches.apply(tf.data.experimental.assert_cardinality(steps)),
            validation_data=_batches(model, validation_files, task, None),
            epochs=task.epochs,
            # A bar that redraws itself is for a terminal; a file gets a line per epoch.
            verbose=1 if sys.stdout.isatty() else 2,
            callbacks=[keras.callbacks.TensorBoard(log_directory)] if log_directory else [],
        )
    return model


@dataclasses.dataclass(frozen=True)
class Words:
    """What the training sentences decide.

    Args:
        vocabulary: word pieces.
        answers: the answer table.
        sentences: how many there are.
    """

    vocabulary: list[str]
    answers: list[str]
    sentences: int


def read_words(files: Sequence[str], task: AnsweringConfig) -> Words:
    """Reads the vocabulary and the answers that `task` names, or makes them of the data."""
    counts: collections.Counter[str] = collections.Counter()
    texts: collections.Counter[bytes] = collections.Counter()
    for block in read_sentences(files):
        texts.update(block["text"].numpy().tolist())
        counts.update(answer.decode() for answer in block["answers"].flat_values.numpy().tolist())
    if not texts or not counts:
        raise InputError(f"{files[0]} (of {len(files)}): no questions with answers to train on")
    if task.vocabulary:
        vocabulary = read_lines(task.vocabulary)
    else:
        # Each sentence once and in an order of its own, so that the order of files plays no part.
        sentences = tf.data.Dataset.from_tensor_slices(sorted(texts))
        vocabulary = build_vocabulary(sentences, task.vocabulary_size)
    # The commonest first; equals by name.
    answers = sorted(counts, key=lambda answer: (-counts[answer], answer))
    return Words(
        vocabulary, read_lines(task.answers) if task.answers else answers, sum(texts.values())
    )


def _feature_size(files: Sequence[str]) -> int:
    block = next(iter(read_records(files).batch(1)))
    return int(decode_regions(parse_scenes(block))["region_features"].shape[-1])


def _batches(model, files: Sequence[str], task: AnsweringConfig, seed: int | None):
    pairs = pair_batches(read_records(files), task.batch_size, task.max_regions, seed)
    preprocessor = LxmertTextPreprocessor(model.vocabulary, task.max_length, pad_to_longest=True)
    return answer_batches(pairs, preprocessor, model.answers)
