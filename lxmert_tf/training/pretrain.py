"""Pre-trains a model on records (paper section 3)."""

import contextlib
import dataclasses
import math
from collections.abc import Sequence
from typing import Any

from tensorflow import keras

from lxmert_tf.data.batches import naming_damaged_files
from lxmert_tf.data.pretraining_batches import pretraining_batches
from lxmert_tf.errors import InputError
from lxmert_tf.models.config import LxmertConfig
from lxmert_tf.models.pretrainer import LxmertPretrainer
from lxmert_tf.training.config import PretrainingConfig, StageConfig
from lxmert_tf.training.dataset_info import (
    DatasetInfo,
    read_dataset_info,
    read_feature_size,
    starting_preset,
)
from lxmert_tf.training.optimization import BertAdamW, WarmupLinearDecay, lamb
from lxmert_tf.training.run_directory import RunDirectory, run_settings
from lxmert_tf.training.strategy import is_chief, training_strategy
from lxmert_tf.training.trainer import Stage, pair_data, run_training


def pretrain(
    train_files: Sequence[str],
    validation_files: Sequence[str],
    config: PretrainingConfig,
    model_config: LxmertConfig | None = None,
    extractor: dict[str, Any] | None = None,
    directory=None,
    resume: bool = False,
    log_directory=None,
) -> LxmertPretrainer:
    """Pre-trains on all devices, from scratch or from a preset.

    Args:
        train_files, validation_files: TFRecords of scenes; the latter may be none.
        config: how to train. Of the preset that it starts from, an `LxmertPretrainer`, everything
            is taken, its words and answers too; of another model the backbone with its words.
        model_config: sizes, for training from scratch; those that the data decides (words,
            answers, width of the region features) are taken from the data.
        extractor: the config of what made the regions; kept with the model.
        directory: of the run: checkpoints, log, and at the end the preset. None leaves nothing.
        resume: whether to go on with the run that is there, if there is one.
        log_directory: for the log where there is no `directory`.

    Returns:
        the model.

    Raises:
        InputError: a file is damaged, the preset does not fit the data, or there is a run already.
        GateError: the loss became NaN or infinite.
    """
    config.check_validation(validation_files)
    strategy = training_strategy(config.strategy)
    keras.utils.set_random_seed(config.seed)
    with contextlib.ExitStack() as stack:
        stack.enter_context(naming_damaged_files([*train_files, *validation_files]))
        words = read_dataset_info(train_files, config)
        with strategy.scope():
            model = _model(config, model_config, words, train_files, extractor)
            model.dropout_seed = config.seed
            embeddings = model.backbone.language_encoder.embeddings
            embeddings.freeze_first_rows = config.freeze_first_rows
            steps = math.ceil(words.sentences / config.batch_size)
            schedule = WarmupLinearDecay(
                config.peak_learning_rate, steps * config.epochs, config.warmup
            )
            optimizer = _optimizer(config, schedule)
        run = None
        if directory:
            settings = run_settings("pretraining", config, model, words)
            run = RunDirectory(directory, settings, resume, writes=is_chief(strategy))
            stack.enter_context(run)
            log_directory = run.path

        def compile_for(stage: StageConfig) -> None:
            with strategy.scope():
                model.compile(
                    optimizer,
                    loss_weights=config.weights_of(stage),
                    accumulation_steps=config.accumulation_steps,
                )

        stages = [Stage(s.epochs, lambda s=s: compile_for(s)) for s in config.stages]
        data = pair_data(
            model,
            config,
            train_files,
            validation_files,
            steps,
            lambda pairs, preprocessor, epoch: pretraining_batches(
                pairs, preprocessor, model.answers or (), config.masking, config.seed, epoch
            ),
        )
        run_training(model, optimizer, schedule, stages, data, config, run, log_directory)
        if run:
            run.save_preset(model)
    return model


def _model(config, model_config, words: DatasetInfo, files, extractor) -> LxmertPretrainer:
    feature_size = read_feature_size(files)
    if config.init_from is None:
        model = LxmertPretrainer(
            dataclasses.replace(
                model_config or LxmertConfig(),
                vocab_size=len(words.vocabulary),
                region_feature_size=feature_size,
                num_answers=max(1, len(words.answers)),
            ),
            vocabulary=words.vocabulary,
            answers=words.answers or None,
            extractor=extractor,
            dtype=config.precision,
        )
    else:
        model = _model_from(config, words, feature_size, extractor)
    if model.answers is None and any(config.weights_of(s)["answers"] for s in config.stages):
        raise InputError(
            "no training sentence has an answer and no table is named; switch the task off with "
            "loss_weights: {answers: 0}"
        )
    return model


def _model_from(config, words: DatasetInfo, feature_size: int, extractor):
    source = starting_preset(config.init_from, feature_size)
    changes = {"extractor": source.extractor or extractor, "dtype": config.precision}
    keeps_answers = source.model == LxmertPretrainer.__name__ and source.answers is not None
    if not keeps_answers:
        changes["answers"] = words.answers or None
        changes["config"] = dataclasses.replace(
            source.config, num_answers=max(1, len(words.answers))
        )
    return LxmertPretrainer.from_preset(config.init_from, **changes)


def _optimizer(config: PretrainingConfig, schedule):
    if config.optimizer == "lamb":
        return lamb(schedule, config.weight_decay, config.clip_norm)
    return BertAdamW(schedule, decay=config.weight_decay, clip_norm=config.clip_norm)
