"""Trains a model to answer questions or to judge statements, from a preset or from scratch."""

import contextlib
import dataclasses
import math
from collections.abc import Sequence
from typing import Any

from rich.console import Console
from tensorflow import keras

from lxmert_tf.converters.answer_transfer import AnswerTransfer, answer_model_from_preset
from lxmert_tf.data.batches import answer_batches, naming_damaged_files, statement_batches
from lxmert_tf.errors import InputError
from lxmert_tf.models.answer_classifier import LxmertAnswerClassifier
from lxmert_tf.models.config import LxmertConfig
from lxmert_tf.models.pair_classifier import LxmertPairClassifier
from lxmert_tf.models.soft_answers import SoftAccuracy, SoftAnswerLoss
from lxmert_tf.training.config import FinetuningConfig
from lxmert_tf.training.dataset_info import (
    DatasetInfo,
    read_dataset_info,
    read_feature_size,
    starting_preset,
)
from lxmert_tf.training.optimization import BertAdamW, WarmupLinearDecay
from lxmert_tf.training.run_directory import RunDirectory, run_settings
from lxmert_tf.training.strategy import is_chief, training_strategy
from lxmert_tf.training.trainer import Stage, pair_data, run_training

FinetunedModel = LxmertAnswerClassifier | LxmertPairClassifier


def finetune(
    train_files: Sequence[str],
    validation_files: Sequence[str],
    config: FinetuningConfig,
    model_config: LxmertConfig | None = None,
    extractor: dict[str, Any] | None = None,
    directory=None,
    resume: bool = False,
    log_directory=None,
) -> tuple[FinetunedModel, AnswerTransfer | None]:
    """Fine-tunes on all devices; from scratch if there is no preset.

    Args:
        train_files, validation_files: TFRecords of scenes; the latter may be none.
        config: what and how to train. Of the preset that it starts from, the backbone and the words
            are taken, and of an answer head the rows of the answers that it knows.
        model_config: sizes, for training from scratch; those that the data decides (words,
            answers, width of the region features) are taken from the data.
        extractor: the config of what made the regions; kept with the model.
        directory: of the run: checkpoints, log, and at the end the preset. None leaves nothing.
        resume: whether to go on with the run that is there, if there is one.
        log_directory: for the log where there is no `directory`.

    Returns:
        the model, with its vocabulary and answers; and which answers the preset knew, if it has an
        answer head.

    Raises:
        InputError: a file is damaged or holds nothing to train on, the preset does not fit the
            data, or there is a run already.
        GateError: the loss became NaN or infinite.
    """
    config.check_validation(validation_files)
    strategy = training_strategy(config.strategy)
    keras.utils.set_random_seed(config.seed)
    with contextlib.ExitStack() as stack:
        stack.enter_context(naming_damaged_files([*train_files, *validation_files]))
        words = read_dataset_info(train_files, config)
        if config.task == "answers" and not words.answers:
            raise InputError(f"{train_files[0]} (of {len(train_files)}): no question has an answer")
        steps = math.ceil(words.sentences / config.batch_size)
        with strategy.scope():
            model, transfer = _model(config, model_config, words, train_files, extractor)
            if transfer:
                _tell(transfer)
            model.dropout_seed = config.seed
            schedule = WarmupLinearDecay(
                config.peak_learning_rate, steps * config.epochs, config.warmup
            )
            optimizer = BertAdamW(schedule, decay=config.weight_decay, clip_norm=config.clip_norm)
            loss, metric = _loss_and_metric(config)
            model.compile(optimizer=optimizer, loss=loss, metrics=[metric])
        run = None
        if directory:
            settings = run_settings("finetuning", config, model, words)
            run = RunDirectory(directory, settings, resume, writes=is_chief(strategy))
            stack.enter_context(run)
            log_directory = run.path
        stages = [Stage(config.epochs, lambda: None)]
        data = pair_data(
            model,
            config,
            train_files,
            validation_files,
            steps,
            lambda pairs, preprocessor, epoch: _batches(model, config, pairs, preprocessor),
        )
        run_training(model, optimizer, schedule, stages, data, config, run, log_directory)
        if run:
            run.save_preset(model)
    return model, transfer


def _model(config, model_config, words: DatasetInfo, files, extractor):
    pairs = config.task == "statements"
    cls = LxmertPairClassifier if pairs else LxmertAnswerClassifier
    feature_size = read_feature_size(files, cls.images_per_scene)
    if config.init_from is None:
        sizes = dataclasses.replace(
            model_config or LxmertConfig(),
            vocab_size=len(words.vocabulary),
            region_feature_size=feature_size,
            **({} if pairs else {"num_answers": len(words.answers)}),
        )
        about = {"vocabulary": words.vocabulary, "extractor": extractor, "dtype": config.precision}
        return cls(sizes, **about, **({} if pairs else {"answers": words.answers})), None
    source = starting_preset(config.init_from, feature_size)
    about = {"extractor": source.extractor or extractor, "dtype": config.precision}
    if pairs:
        return LxmertPairClassifier.from_preset(config.init_from, answers=None, **about), None
    return answer_model_from_preset(config.init_from, words.answers, **about)


def _tell(transfer: AnswerTransfer) -> None:
    count = transfer.found + len(transfer.missing)
    text = f"{transfer.found:,} of {count:,} answers are known to the preset"
    if transfer.missing:
        text += f"; the others start at zero: {', '.join(transfer.missing[:5])}"
    if len(transfer.missing) > 5:
        text += " ..."
    Console(highlight=False).print(text, markup=False, soft_wrap=True)


def _loss_and_metric(config: FinetuningConfig):
    if config.task == "statements":
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        return loss, keras.metrics.SparseCategoricalAccuracy(name="accuracy")
    return SoftAnswerLoss(), SoftAccuracy()


def _batches(model: FinetunedModel, config: FinetuningConfig, pairs, preprocessor):
    if config.task == "statements":
        return statement_batches(pairs, preprocessor)
    return answer_batches(pairs, preprocessor, model.answers)
