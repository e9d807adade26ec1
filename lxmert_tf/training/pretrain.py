"""Pre-training on images and sentences (paper section 3)."""

import dataclasses
from collections.abc import Sequence
from typing import Any

from lxmert_tf.data.pretraining_batches import pretraining_batches
from lxmert_tf.errors import InputError
from lxmert_tf.models.config import LxmertConfig
from lxmert_tf.models.presets import PresetDescription, describe_preset
from lxmert_tf.models.pretrainer import LxmertPretrainer
from lxmert_tf.training.config import PretrainingConfig
from lxmert_tf.training.optimization import lamb
from lxmert_tf.training.trainer import Recipe, train


def pretrain(
    train_files: Sequence[str],
    validation_files: Sequence[str],
    config: PretrainingConfig,
    model_config: LxmertConfig | None = None,
    extractor: dict[str, Any] | None = None,
    **run,
) -> LxmertPretrainer:
    """Pre-train a model on all devices.

    A preset of an `LxmertPretrainer` gives everything, vocabulary and answers included; a preset
    of another model gives its backbone and vocabulary.

    Args:
        train_files: TFRecord files of scenes of one image.
        validation_files: TFRecord files of scenes; may be empty.
        config: How to train.
        model_config: Sizes of a model that starts from scratch; the published ones by default.
        extractor: Configuration of the region extractor that made the features.
        **run: `directory`, `resume`, and `log_directory`, as for `train`.

    Returns:
        The model with its vocabulary and answers.

    Raises:
        InputError: See `train`.
        GateError: The loss became NaN or infinite.

    Example:
        model = pretrain(find_records("build/records/train"), [], PretrainingConfig())
    """
    recipe = PretrainingRecipe(config, model_config, extractor)
    return train(recipe, train_files, validation_files, **run)


class PretrainingRecipe(Recipe):
    """The five pre-training tasks, with weights that may change from stage to stage."""

    name = "pretraining"
    config: PretrainingConfig
    model_class = LxmertPretrainer

    def needs_answers(self):
        return not (self.config.init_from and _has_answers(describe_preset(self.config.init_from)))

    def check(self, info):
        trained = any(self.config.weights_of(stage)["answers"] for stage in self.config.stages)
        if trained and self.needs_answers() and not info.answers:
            raise InputError(
                "no training sentence has an answer, and the configuration names no answer table; "
                "switch the task off with loss_weights: {answers: 0}"
            )

    def load_model(self, source, info, **kwargs):
        if not _has_answers(source):
            kwargs["answers"] = info.answers or None
            kwargs["config"] = dataclasses.replace(
                source.config, num_answers=max(1, len(info.answers))
            )
        return LxmertPretrainer.from_preset(self.config.init_from, **kwargs)

    def make_optimizer(self, schedule):
        if self.config.optimizer == "lamb":
            config = self.config
            return lamb(schedule, config.weight_decay, config.clip_norm, config.beta_2)
        return super().make_optimizer(schedule)

    def compile(self, model, optimizer, stage):
        embeddings = model.backbone.language_embeddings
        embeddings.freeze_first_rows = self.config.freeze_first_rows
        model.compile(
            optimizer,
            loss_weights=self.config.weights_of(stage),
            accumulation_steps=self.config.accumulation_steps,
        )

    def make_batches(self, examples, preprocessor, answers, epoch):
        return pretraining_batches(
            examples, preprocessor, answers, self.config.masking, self.config.seed, epoch
        )


def _has_answers(source: PresetDescription) -> bool:
    return source.model == LxmertPretrainer.__name__ and source.answers is not None
