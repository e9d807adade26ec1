"""What the training sentences decide: the vocabulary, the answer table, the number of steps."""

import collections
import dataclasses
from collections.abc import Sequence

import tensorflow as tf

from lxmert_tf.data.answer_table import read_answer_table
from lxmert_tf.data.batches import read_records, read_sentences
from lxmert_tf.data.schema import decode_regions, parse_scenes
from lxmert_tf.data.sidecars import check_sentence_count
from lxmert_tf.errors import InputError
from lxmert_tf.models.presets import PresetDescription, describe_preset
from lxmert_tf.models.text_preprocessor import build_vocabulary
from lxmert_tf.text_file import read_lines
from lxmert_tf.training.config import TrainingConfig


@dataclasses.dataclass(frozen=True)
class DatasetInfo:
    """What the training sentences decide.

    Args:
        vocabulary: word pieces; none if training starts from a preset, which has its own.
        answers: the answer table; empty if no sentence has an answer.
        sentences: how many there are.
    """

    vocabulary: list[str]
    answers: list[str]
    sentences: int


def read_dataset_info(files: Sequence[str], config: TrainingConfig) -> DatasetInfo:
    """Reads the vocabulary and the answers that `config` names, or makes them of the data.

    Raises:
        InputError: the files hold no sentence, or another number than was ingested; or a file that
            `config` names cannot be read.
    """
    counts: collections.Counter[str] = collections.Counter()
    texts: set[bytes] = set()
    makes_vocabulary = not config.vocabulary and not config.init_from
    sentences = 0
    for block in read_sentences(files):
        words = block["text"].numpy().tolist()
        sentences += len(words)
        if makes_vocabulary:
            texts.update(words)
        counts.update(answer.decode() for answer in block["answers"].flat_values.numpy().tolist())
    if not sentences:
        raise InputError(f"{files[0]} (of {len(files)}): no sentences to train on")
    check_sentence_count(files, sentences)
    vocabulary = read_lines(config.vocabulary) if config.vocabulary else []
    if makes_vocabulary:
        # Each sentence once and in an order of its own, so that the order of files plays no part.
        distinct = tf.data.Dataset.from_tensor_slices(sorted(texts))
        vocabulary = build_vocabulary(distinct, config.vocabulary_size)
    # The commonest first; equals by name.
    answers = sorted(counts, key=lambda answer: (-counts[answer], answer))
    if config.answers:
        answers = read_answer_table(config.answers)
    return DatasetInfo(vocabulary, answers, sentences)


def read_feature_size(files: Sequence[str], images_per_scene: int = 1) -> int:
    """The width F of the region features."""
    block = next(iter(read_records(files).batch(1)))
    scenes = parse_scenes(block)
    return int(
        decode_regions(scenes, images_per_scene=images_per_scene)["region_features"].shape[-1]
    )


def starting_preset(preset, feature_size: int) -> PresetDescription:
    """Describes a preset that is to be trained on regions of `feature_size` features.

    Raises:
        InputError: it is none, it has no words, or its regions have another width.
    """
    source = describe_preset(preset)
    if source.vocabulary is None:
        raise InputError(f"{preset}: has no vocab.txt; import it with --vocabulary")
    if source.config.region_feature_size != feature_size:
        raise InputError(
            f"{preset}: its regions have {source.config.region_feature_size} features, "
            f"those of the records {feature_size}"
        )
    return source
