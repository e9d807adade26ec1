"""Fine-tuning on questions or statements, from a preset or from scratch (paper section 4.2)."""

from collections.abc import Sequence
from typing import Any

from tensorflow import keras

from lxmert_tf.converters.answer_transfer import AnswerTransfer, answer_model_from_preset
from lxmert_tf.data.batches import answer_batches, statement_batches
from lxmert_tf.models.answer_classifier import LxmertAnswerClassifier
from lxmert_tf.models.config import LxmertConfig
from lxmert_tf.models.pair_classifier import LxmertPairClassifier
from lxmert_tf.models.soft_answers import SoftAccuracy, SoftAnswerLoss
from lxmert_tf.terminal import make_console
from lxmert_tf.training.config import FinetuningConfig
from lxmert_tf.training.trainer import Recipe, train

FinetunedModel = LxmertAnswerClassifier | LxmertPairClassifier


def finetune(
    train_files: Sequence[str],
    validation_files: Sequence[str],
    config: FinetuningConfig,
    model_config: LxmertConfig | None = None,
    extractor: dict[str, Any] | None = None,
    **run,
) -> tuple[FinetunedModel, AnswerTransfer | None]:
    """Fine-tune a model on all devices.

    A preset to start from gives its backbone and vocabulary, and the rows of its answer head for
    the answers that it knows.

    Args:
        train_files: TFRecord files of scenes.
        validation_files: TFRecord files of scenes; may be empty.
        config: What to train and how.
        model_config: Sizes of a model that starts from scratch; the published ones by default.
        extractor: Configuration of the region extractor that made the features.
        **run: `directory`, `resume`, `log_directory`, and `pictures`, as for `train`.

    Returns:
        The model with its vocabulary and answers, and which answers the preset knew; None for a
        preset without an answer head, or without a preset.

    Raises:
        InputError: See `train`.
        GateError: The loss became NaN or infinite.

    Example:
        config = FinetuningConfig(init_from="build/pretraining/preset", epochs=4)
        model, _ = finetune(find_records("build/records/train"), [], config)
    """
    recipe = RECIPES[config.task](config, model_config, extractor)
    model = train(recipe, train_files, validation_files, **run)
    return model, recipe.transfer


class AnswerRecipe(Recipe):
    """Questions about an image (VQA, GQA): soft scores over a table of answers."""

    name = "finetuning"
    model_class = LxmertAnswerClassifier
    transfer: AnswerTransfer | None = None

    def load_model(self, source, info, **kwargs):
        model, self.transfer = answer_model_from_preset(
            self.config.init_from, info.answers, **kwargs
        )
        if self.transfer:
            _print_transfer(self.transfer)
        return model

    def compile(self, model, optimizer, stage):
        model.compile(optimizer, loss=SoftAnswerLoss(), metrics=[SoftAccuracy()])

    def make_batches(self, examples, preprocessor, answers, epoch):
        return answer_batches(examples, preprocessor, answers)


class StatementRecipe(Recipe):
    """Statements about two images (NLVR2), which are true or false."""

    name = "finetuning"
    model_class = LxmertPairClassifier
    transfer = None

    def needs_answers(self):
        return False

    def load_model(self, source, info, **kwargs):
        return LxmertPairClassifier.from_preset(self.config.init_from, answers=None, **kwargs)

    def compile(self, model, optimizer, stage):
        model.compile(
            optimizer,
            loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
            metrics=[keras.metrics.SparseCategoricalAccuracy(name="accuracy")],
        )

    def make_batches(self, examples, preprocessor, answers, epoch):
        return statement_batches(examples, preprocessor)


RECIPES: dict[str, type[AnswerRecipe | StatementRecipe]] = {
    "answers": AnswerRecipe,
    "statements": StatementRecipe,
}


def _print_transfer(transfer: AnswerTransfer) -> None:
    count = transfer.found + len(transfer.missing)
    text = f"the preset knows {transfer.found:,} of {count:,} answers"
    if transfer.missing:
        text += f"; the others start at zero: {', '.join(transfer.missing[:5])}"
    if len(transfer.missing) > 5:
        text += ", ..."
    make_console().print(text, soft_wrap=True)
