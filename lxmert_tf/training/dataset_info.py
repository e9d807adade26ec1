"""Facts about the training data: number of sentences, vocabulary, and answer table."""

import collections
import dataclasses
import json
import pathlib
from collections.abc import Sequence

import tensorflow as tf

from lxmert_tf import storage
from lxmert_tf.data.answer_table import read_answer_table
from lxmert_tf.data.batches import read_records, read_sentences
from lxmert_tf.data.scene_tensors import decode_regions, parse_scenes
from lxmert_tf.data.sidecars import check_sentence_count, count_ingested_sentences
from lxmert_tf.errors import InputError
from lxmert_tf.models.presets import PresetDescription, describe_preset
from lxmert_tf.models.special_pieces import special_piece_ids
from lxmert_tf.text_file import read_lines, read_text, write_text
from lxmert_tf.training.config import TrainingConfig
from lxmert_tf.training.stages import group_by_split
from lxmert_tf.training.vocabulary import build_vocabulary, split_words

# In the directory of a run.
FILE_NAME = "dataset.json"


@dataclasses.dataclass(frozen=True)
class DatasetInfo:
    """Facts about the training data.

    Args:
        splits: Number of training sentences of each split; see `group_by_split`.
        vocabulary: Word pieces; empty where training starts from a preset, which has its own.
        answers: Answer table; empty if there are no answers, or none are needed.
    """

    splits: dict[str, int]
    vocabulary: list[str]
    answers: list[str]

    @property
    def sentences(self) -> int:
        """Number of all training sentences."""
        return sum(self.splits.values())

    def save(self, directory) -> None:
        """Write `dataset.json` into the directory of a run."""
        text = json.dumps(dataclasses.asdict(self), ensure_ascii=False) + "\n"
        write_text(pathlib.Path(directory) / FILE_NAME, text)


def kept_dataset_info(directory) -> DatasetInfo | None:
    """Read `dataset.json` from the directory of a run; return None if it is not there.

    Raises:
        InputError: An older version wrote it.
    """
    path = storage.join(directory, FILE_NAME)
    if not storage.exists(path):
        return None
    values = json.loads(read_text(path))
    if "splits" not in values:
        raise InputError(f"{path}: written by an older version; begin a run in another directory")
    return DatasetInfo(**values)


def read_dataset_info(
    files: Sequence[str], config: TrainingConfig, needs_answers: bool = True
) -> DatasetInfo:
    """Learn the vocabulary, the answers, and the number of sentences.

    The records are read through only if something cannot be learned otherwise: the vocabulary or
    the answers if no file or preset gives them, or the number of sentences if no
    `ingest-summary.json` lies beside the records. Even then region features are not parsed, so
    that the time is that of reading the files.

    Args:
        files: TFRecord files of scenes.
        config: May name a vocabulary, a preset, and an answer table.
        needs_answers: Whether answers are needed at all.

    Raises:
        InputError: The files hold no sentence, or another number than was ingested; or a file that
            `config` names cannot be read.
    """
    vocabulary, answers = [], []
    if config.vocabulary:
        vocabulary = read_lines(config.vocabulary)
        try:
            special_piece_ids(vocabulary)
        except InputError as error:
            raise InputError(f"{config.vocabulary}: {error}") from error
    if config.answers and needs_answers:
        answers = read_answer_table(config.answers)
    makes_vocabulary = not config.vocabulary and not config.init_from
    makes_answers = needs_answers and not config.answers

    groups = group_by_split(files)
    ingested = {name: count_ingested_sentences(group) for name, group in groups.items()}
    splits = {name: number for name, number in ingested.items() if number is not None}
    if len(splits) < len(groups) or makes_vocabulary or makes_answers:
        counts = _Counts()
        for name, group in groups.items():
            before = counts.sentences
            _count(group, makes_vocabulary, counts)
            splits[name] = counts.sentences - before
            check_sentence_count(group, splits[name])
        if makes_answers:
            # The most frequent first; equally frequent ones by name.
            answers = sorted(counts.answers, key=lambda answer: (-counts.answers[answer], answer))
        if makes_vocabulary and counts.sentences:
            vocabulary = build_vocabulary(counts.words, config.vocabulary_size)
    info = DatasetInfo(splits, vocabulary, answers)
    if not info.sentences:
        raise InputError(f"{files[0]} (of {len(files)}): no sentences to train on")
    return info


def check_all_records(files: Sequence[str]) -> None:
    """Count the sentences of all records and compare with the summaries beside them.

    Raises:
        InputError: The numbers differ.
    """
    counts = _Counts()
    _count(files, words=False, counts=counts)
    check_sentence_count(files, counts.sentences)


@dataclasses.dataclass
class _Counts:
    sentences: int = 0
    words: collections.Counter[str] = dataclasses.field(default_factory=collections.Counter)
    answers: collections.Counter[str] = dataclasses.field(default_factory=collections.Counter)


def _count(files: Sequence[str], words: bool, counts: _Counts) -> None:
    """Add the numbers of sentences, of each answer, and if wanted of each word."""

    # Counted per block in the graph: Python then adds up few numbers.
    @tf.autograph.experimental.do_not_convert
    def count_block(block):
        found = {"answers": block["answers"].flat_values}
        if words:
            found["words"] = split_words(block["text"]).flat_values
        counted = {name: tf.unique_with_counts(values) for name, values in found.items()}
        return tf.size(block["text"]), {name: (c.y, c.count) for name, c in counted.items()}

    for sentences, found in read_sentences(files).map(count_block, tf.data.AUTOTUNE):
        counts.sentences += int(sentences)
        for name, (values, numbers) in found.items():
            counter = getattr(counts, name)
            for value, number in zip(values.numpy().tolist(), numbers.numpy().tolist()):
                counter[value.decode()] += number


def read_feature_size(files: Sequence[str], images_per_scene: int = 1) -> int:
    """Return the width F of the region features of the first record."""
    block = next(iter(read_records(files).batch(1)))
    regions = decode_regions(parse_scenes(block), images_per_scene=images_per_scene)
    return int(regions["region_features"].shape[-1])


def describe_starting_preset(preset, feature_size: int) -> PresetDescription:
    """Describe a preset to train on regions of `feature_size` features.

    Raises:
        InputError: It is not a preset, it has no vocabulary, or its regions have another width.
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
