"""What a run reads of files of records: pairs of image and sentence, as the batches of its task."""

from collections.abc import Callable, Sequence

import tensorflow as tf

from lxmert_tf.data.reading import pair_batches, read_records
from lxmert_tf.presets import PresetModel
from lxmert_tf.text import LxmertTextPreprocessor
from lxmert_tf.training.config import TrainingConfig
from lxmert_tf.training.run import Data


def pair_data(
    model: PresetModel,
    config: TrainingConfig,
    train_files: Sequence[str],
    validation_files: Sequence[str],
    steps: int,
    to_batches: Callable[[tf.data.Dataset, LxmertTextPreprocessor, tf.Tensor], tf.data.Dataset],
) -> Data:
    """The batches of every epoch, in an order of its own, and those to evaluate on.

    Args:
        model: with its vocabulary.
        config: sizes of batches and sentences, and the seed.
        train_files, validation_files: TFRecords of scenes; the latter may be none.
        steps: batches per epoch.
        to_batches: makes a task's batches of the pairs (`pair_batches`) of an epoch, whose number
            it is given; of the validation files always of epoch 0, so that epochs can be compared.
    """
    preprocessor = LxmertTextPreprocessor(model.vocabulary, config.max_length, pad_to_longest=True)

    def batches(files, seed, epoch):
        pairs = pair_batches(
            read_records(files),
            config.batch_size,
            config.max_regions,
            seed,
            epoch,
            images_per_scene=model.images_per_scene,
            bucket_by_length=config.bucket_by_length,
        )
        return to_batches(pairs, preprocessor, epoch)

    return Data(
        lambda epoch: batches(train_files, config.seed, epoch),
        steps,
        batches(validation_files, None, 0) if validation_files else None,
    )
