"""The training loop that pre-training and fine-tuning share."""

import abc
import contextlib
import dataclasses
import functools
from collections.abc import Callable, Sequence
from tempfile import TemporaryDirectory
from typing import Any

import tensorflow as tf
from tensorflow import keras

from lxmert_tf.data.batches import example_batches, naming_damaged_files, read_records
from lxmert_tf.errors import InputError
from lxmert_tf.models.config import LxmertConfig
from lxmert_tf.models.presets import PresetDescription
from lxmert_tf.models.task import TaskModel
from lxmert_tf.models.text_preprocessor import LxmertTextPreprocessor
from lxmert_tf.regions.picture_finder import PictureFinder
from lxmert_tf.terminal import make_console
from lxmert_tf.training.callbacks import (
    BestEpoch,
    SaveCheckpoints,
    TerminateOnNaN,
    TrainingLog,
    TrainingProgress,
)
from lxmert_tf.training.checkpointing import TrainingCheckpoints
from lxmert_tf.training.config import FinetuningConfig, PretrainingConfig, StageConfig
from lxmert_tf.training.dataset_info import (
    DatasetInfo,
    check_all_records,
    describe_starting_preset,
    kept_dataset_info,
    read_dataset_info,
    read_feature_size,
)
from lxmert_tf.training.optimization import BertAdamW, WarmupLinearDecay
from lxmert_tf.training.run_directory import RunDirectory, run_settings
from lxmert_tf.training.sample_answers import sample_drawer
from lxmert_tf.training.stages import StagePlan, plan_stages
from lxmert_tf.training.strategy import explaining_lost_workers, is_chief, training_strategy


class Recipe(abc.ABC):
    """The model, losses, and batches of one kind of training; `train` does everything else.

    Args:
        config: How to train.
        model_config: Sizes of a model that starts from scratch; the published ones by default.
            Sizes that the data determine (vocabulary, answers, feature width) are replaced.
        extractor: Configuration of the region extractor that made the features; saved with the
            model unless the starting preset has its own.
    """

    # The key of `config` in run.json.
    name: str
    model_class: type[TaskModel]

    def __init__(
        self,
        config: FinetuningConfig | PretrainingConfig,
        model_config: LxmertConfig | None = None,
        extractor: dict[str, Any] | None = None,
    ):
        self.config = config
        self.model_config = model_config or LxmertConfig()
        self.extractor = extractor

    def needs_answers(self) -> bool:
        """Return whether the model's answers come from `config.answers` or the training data."""
        return True

    def check(self, info: DatasetInfo) -> None:
        """Raise an `InputError` if answers are needed and there are none."""
        if self.needs_answers() and not info.answers:
            raise InputError("no training sentence has an answer")

    @abc.abstractmethod
    def load_model(self, source: PresetDescription, info: DatasetInfo, **kwargs) -> TaskModel:
        """Load the model from the preset `config.init_from`.

        Args:
            source: Description of that preset.
            info: Vocabulary and answers of the training data.
            **kwargs: `extractor` and `dtype`, for the model's constructor.
        """

    def make_optimizer(self, schedule: WarmupLinearDecay) -> keras.optimizers.Optimizer:
        """Make the optimizer of the whole run."""
        return BertAdamW(
            schedule,
            decay=self.config.weight_decay,
            clip_norm=self.config.clip_norm,
            beta_2=self.config.beta_2,
        )

    @abc.abstractmethod
    def compile(self, model: TaskModel, optimizer, stage: StageConfig) -> None:
        """Compile the model with the losses of one stage."""

    @abc.abstractmethod
    def make_batches(
        self,
        examples: tf.data.Dataset,
        preprocessor: LxmertTextPreprocessor,
        answers: Sequence[str],
        epoch: tf.Tensor,
    ) -> tf.data.Dataset:
        """Turn the batches of `example_batches` into (inputs, targets) for `fit`.

        Args:
            examples: Batches of sentences with their images.
            preprocessor: Tokenizer of the sentences.
            answers: The model's answer table.
            epoch: int64 scalar; always 0 for validation, so that epochs can be compared.
        """


def train(
    recipe: Recipe,
    train_files: Sequence[str],
    validation_files: Sequence[str] = (),
    directory=None,
    resume: bool = False,
    log_directory=None,
    pictures: PictureFinder | None = None,
) -> TaskModel:
    """Train a model from a preset, from scratch, or from the last checkpoint of a run.

    In this order: pick the distribution strategy and seed everything; learn the number of
    sentences, the vocabulary, and the answers; build the model and the optimizer in the strategy's
    scope; open the run directory and restore the newest checkpoint; build the input pipeline;
    assemble the callbacks; fit stage by stage; load the best epoch; save the preset.

    Everything random depends on the seed, the epoch, and the step alone, so a resumed run ends with
    the same weights as one that was never interrupted.

    Args:
        recipe: What to train and how.
        train_files: TFRecord files of scenes.
        validation_files: TFRecord files of scenes to evaluate on after each epoch.
        directory: Of the run, a path or URL, see `lxmert_tf.training.run_directory`; None writes
            nothing.
        resume: Continue the run in `directory`, if there is one.
        log_directory: For `log.jsonl` and TensorBoard where there is no `directory`.
        pictures: Finds the pictures of the validation data, a few of which TensorBoard shows with
            the answers of each epoch. Default: those of easy-VQA, and else boxes.

    Returns:
        The trained model with its vocabulary and answers.

    Raises:
        InputError: A file is damaged or holds nothing to train on, the preset does not fit the
            data, the directory holds a run already, a checkpoint cannot be read or written, or
            another worker ended.
        GateError: The loss became NaN or infinite.
    """
    config = recipe.config
    config.check_validation(validation_files)

    strategy = training_strategy(config.strategy)
    chief = is_chief(strategy)
    keras.utils.set_random_seed(config.seed)

    with contextlib.ExitStack() as stack:
        # Workers depend on each other as soon as they make weights, which the first one sends.
        stack.enter_context(explaining_lost_workers())
        stack.enter_context(naming_damaged_files([*train_files, *validation_files]))

        # Number of sentences, vocabulary, answers. A resumed run has kept them.
        info = kept_dataset_info(directory) if directory and resume else None
        info = info or read_dataset_info(train_files, config, recipe.needs_answers())
        recipe.check(info)
        stages = plan_stages(config.stages, train_files, info.splits, config.batch_size)
        total_steps = stages[-1].last_step

        with strategy.scope():
            model = _build_model(recipe, info, train_files)
            model.dropout_seed = config.seed
            schedule = WarmupLinearDecay(config.peak_learning_rate, total_steps, config.warmup)
            optimizer = recipe.make_optimizer(schedule)

        # Before the run's directory is made: a vocabulary may be refused.
        preprocessor = LxmertTextPreprocessor(
            model.vocabulary, config.max_length, pad_to_longest=True
        )

        run, checkpoints, first_step = None, None, 0
        if directory:
            settings = run_settings(recipe.name, config, model, info, train_files)
            run = stack.enter_context(RunDirectory(directory, settings, resume, writes=chief))
            run.save_dataset_info(info)
            log_directory = run.path
            checkpoints = TrainingCheckpoints(run.checkpoints, model, optimizer, config.checkpoints)
            first_step = _restore(checkpoints, stages)

        def batches(files: Sequence[str], epoch, seed: int | None) -> tf.data.Dataset:
            examples = example_batches(
                read_records(files),
                config.batch_size,
                config.max_regions,
                seed,
                epoch,
                images_per_scene=model.images_per_scene,
                bucket_by_length=config.bucket_by_length,
                feature_size=model.config.region_feature_size if seed is not None else None,
            )
            return recipe.make_batches(examples, preprocessor, model.answers or (), epoch)

        def train_batches(plan: StagePlan, epoch: tf.Tensor) -> tf.data.Dataset:
            # Without the assertion, missing records would shift all later epochs unnoticed.
            count = tf.data.experimental.assert_cardinality(plan.steps_per_epoch)
            return batches(plan.files, epoch, config.seed).apply(count)

        validation = None
        if validation_files:
            validation = _split_by_batches(batches(validation_files, 0, None))

        # Callbacks see the end of a step and of an epoch in this order. Checkpoints come last: a
        # resumed run repeats nothing that precedes its checkpoint.
        callbacks: list[keras.callbacks.Callback] = [TerminateOnNaN()]
        best = None
        if chief and config.best_by:
            folder = run.checkpoints if run else stack.enter_context(TemporaryDirectory())
            best = BestEpoch(folder, config.best_by, model, first_step, checkpoints)
            callbacks.append(best)
        if chief and log_directory:
            finder = pictures or PictureFinder()
            draw = sample_drawer(model, validation_files, config.max_regions, finder)
            log = TrainingLog(log_directory, schedule, first_step, draw_samples=draw)
            callbacks.append(log)
        if chief and run and checkpoints:
            every = config.checkpoint_steps
            is_last = functools.partial(is_last_of_epoch, stages)
            callbacks.append(SaveCheckpoints(checkpoints, every, is_last, run.push))
        if chief:
            callbacks.append(TrainingProgress(total_steps, config.epochs, config.batch_size))

        options = {"validation_data": validation, "callbacks": callbacks, "verbose": 0}
        with _explaining_missing_records(train_files):
            for plan in stages:
                first = max(first_step, plan.first_step)
                if first < plan.last_step:
                    with strategy.scope():
                        recipe.compile(model, optimizer, plan.stage)
                    _fit(model, functools.partial(train_batches, plan), plan, first, **options)

        if best:
            best.load()
        if run:
            run.save_preset(model)
    return model


def _build_model(recipe: Recipe, info: DatasetInfo, files: Sequence[str]) -> TaskModel:
    config = recipe.config
    cls: Any = recipe.model_class
    feature_size = read_feature_size(files, cls.images_per_scene)
    if config.init_from:
        source = describe_starting_preset(config.init_from, feature_size)
        extractor = source.extractor or recipe.extractor
        return recipe.load_model(source, info, extractor=extractor, dtype=config.precision)
    sizes = dataclasses.replace(
        recipe.model_config,
        vocab_size=len(info.vocabulary),
        region_feature_size=feature_size,
        num_answers=max(1, len(info.answers)),
    )
    return cls(
        sizes,
        vocabulary=info.vocabulary,
        answers=info.answers or None,
        extractor=recipe.extractor,
        dtype=config.precision,
    )


def _restore(checkpoints: TrainingCheckpoints, stages: Sequence[StagePlan]) -> int:
    """Restore the newest readable checkpoint; return its step, or 0 if there is none."""
    step, damaged = checkpoints.restore()
    console = make_console(stderr=True)
    for path in damaged:
        console.print(f"{path}: damaged checkpoint; using the one before it", soft_wrap=True)
    if step:
        plan = _stage_at(stages, step)
        epoch, done = plan.locate(step)
        console.print(
            f"resuming at step {step} (epoch {epoch + 1}, {done} of {plan.steps_per_epoch})"
        )
    return step


def _stage_at(stages: Sequence[StagePlan], step: int) -> StagePlan:
    """Return the stage that goes on after a step; the last one after its end."""
    return next((plan for plan in stages if step < plan.last_step), stages[-1])


def is_last_of_epoch(stages: Sequence[StagePlan], step: int) -> bool:
    """Return whether a step, counted from 1, ends an epoch."""
    _, done = _stage_at(stages, step).locate(step)
    return done == 0


def _fit(
    model: keras.Model,
    train_batches: Callable[[tf.Tensor], tf.data.Dataset],
    plan: StagePlan,
    first_step: int,
    **options,
) -> None:
    """Fit a compiled model from a step of a stage to its end."""
    epoch, done = plan.locate(first_step)
    if done:
        rest = _split_by_batches(train_batches(tf.constant(epoch, tf.int64)).skip(done))
        steps = plan.steps_per_epoch - done
        model.fit(rest, steps_per_epoch=steps, initial_epoch=epoch, epochs=epoch + 1, **options)
        epoch += 1
    if epoch < plan.last_epoch:
        # One dataset for all epochs, so that it is traced once.
        stream = tf.data.Dataset.range(epoch, plan.last_epoch).flat_map(train_batches)
        model.fit(
            _split_by_batches(stream),
            steps_per_epoch=plan.steps_per_epoch,
            initial_epoch=epoch,
            epochs=plan.last_epoch,
            **options,
        )


def _split_by_batches(dataset: tf.data.Dataset) -> tf.data.Dataset:
    """Give each worker of a multi-worker strategy its part of every batch.

    By default TensorFlow would give one worker all of the first epoch and another all of the
    second.
    """
    options = tf.data.Options()
    options.experimental_distribute.auto_shard_policy = tf.data.experimental.AutoShardPolicy.DATA
    return dataset.with_options(options)


@contextlib.contextmanager
def _explaining_missing_records(files: Sequence[str]):
    """Turn the failed assertion on an epoch's length into an InputError that names the cause."""
    try:
        yield
    except tf.errors.OpError as error:
        if "expected to contain" not in str(error):
            raise
        check_all_records(files)
        raise InputError(f"{files[0]} (of {len(files)}): records changed during the run") from error
