"""TFRecords of scenes to batches of (image, sentence) pairs, in tf.data's own ops."""

import collections
import contextlib
import dataclasses
import functools
import glob
import os
import re
from collections.abc import Callable, Sequence
from typing import Any

import tensorflow as tf

from lxmert_tf.data import schema
from lxmert_tf.data.batch_order import batch_parts
from lxmert_tf.errors import InputError

# Scenes that are parsed together; their sentences are shuffled among each other. More means a
# better shuffle and more memory (36 x 2048 float32 regions take 0.3 MB per image). With larger
# batches there are as many as a batch has sentences.
SCENES_PER_WINDOW = 64
# Windows that are parsed, batches that are made, and batches that wait, at the same time. AUTOTUNE
# would fill half of the machine's memory with them.
WINDOWS_AT_ONCE = 2
BATCHES_AT_ONCE = 4
BATCHES_AHEAD = 2
# Serialized scenes from which a shuffled window is drawn.
SHUFFLED_SCENES = 1024
# Keeps the epochs of neighbouring seeds apart.
EPOCHS_PER_SEED = 1 << 20


def find_records(*patterns) -> list[str]:
    """The files that patterns (or folders, for `*.tfrecord*` and TFX's `*` in them) name, sorted.

    Raises:
        InputError: a pattern names no file.
    """
    found = []
    for pattern in patterns:
        # Python's glob leaves hidden files alone, which are unfinished ones; it knows disks only.
        find = tf.io.gfile.glob if "://" in str(pattern) else glob.glob
        folder = tf.io.gfile.isdir(str(pattern))
        names = find(os.path.join(pattern, "*tfrecord*") if folder else str(pattern))
        if not names:
            raise InputError(f"{pattern}: no record file is named so")
        found += names
    return sorted(set(found))


def read_records(files: Sequence[str]) -> tf.data.Dataset:
    """Serialized scenes, file after file; gzipped where the name ends in .gz."""
    compressed = {name.endswith(".gz") for name in files}
    if len(compressed) > 1:
        raise InputError("some of the record files are gzipped and some are not; read one kind")
    return tf.data.TFRecordDataset(
        list(files), compression_type="GZIP" if True in compressed else ""
    )


@dataclasses.dataclass(frozen=True)
class AnswerTable:
    """Answers by their number, and soft targets over them.

    Args:
        answers: in the order of the logits.

    Raises:
        InputError: an answer stands twice.
    """

    answers: tuple[str, ...]

    def __post_init__(self):
        double = [a for a, count in collections.Counter(self.answers).items() if count > 1]
        if double:
            raise InputError(f"the answer {double[0]!r} stands more than once in the answer table")

    def ids(self, texts: tf.RaggedTensor) -> tf.RaggedTensor:
        """The number of each answer, int64 like `texts`; -1 for those that are not in the table."""
        table = tf.lookup.StaticHashTable(
            tf.lookup.KeyValueTensorInitializer(
                tf.constant(self.answers), tf.range(len(self.answers), dtype=tf.int64)
            ),
            default_value=-1,
        )
        return texts.with_flat_values(table.lookup(texts.flat_values))

    def targets(self, texts: tf.RaggedTensor, scores: tf.RaggedTensor) -> tf.Tensor:
        """Soft scores float32 [S, A] of ragged answers [S, (a)]; unknown ones drop out."""
        ids = self.ids(texts).flat_values
        known = ids >= 0
        where = tf.boolean_mask(tf.stack([texts.value_rowids(), ids], axis=1), known)
        zeros = tf.zeros([texts.nrows(), len(self.answers)])
        return tf.tensor_scatter_nd_max(zeros, where, tf.boolean_mask(scores.flat_values, known))


# Nothing in these data sets is for AutoGraph, which takes seconds to rewrite what they call.
@tf.autograph.experimental.do_not_convert
def pair_batches(
    records: tf.data.Dataset,
    batch_size: int,
    max_regions: int,
    seed: int | None = None,
    epoch=0,
    images_per_scene: int = 1,
    bucket_by_length: bool = False,
) -> tf.data.Dataset:
    """Batches of (image, sentence) pairs; every sentence once, an image's features parsed once.

    Memory holds the images of a few windows and a few batches, however many sentences an image has.

    Args:
        records: serialized scenes, grouped or flat.
        batch_size: sentences per batch; the last batch may have fewer.
        max_regions: R; images with fewer regions are padded, one with more is an error.
        seed: shuffles; the same seed and epoch give the same order. None keeps that of the records.
        epoch: of this pass over the data, an integer or an integer scalar tensor.
        images_per_scene: how many each scene must have.
        bucket_by_length: whether sentences of similar length come together, as far as those of one
            window go. The number of batches and their sizes stay the same.

    Returns:
        dicts of `region_features` [B, R, F], `region_boxes` [B, R, 4], `region_mask` [B, R],
        `object_labels`, `object_confidences`, `attribute_labels`, `attribute_confidences` [B, R],
        `image_id`, `text`, `id`, `question_type`, `answer_type` [B], and ragged `answers` and
        `scores` [B, (a)]. With two images a scene, regions and `image_id` have an axis of 2 behind
        the first, and there are no objects and attributes.
    """
    if seed is not None:
        # One number of both: which order an epoch has must not hang on how many came before it.
        seed = tf.cast(seed, tf.int64) * EPOCHS_PER_SEED + tf.cast(epoch, tf.int64)
        records = _shuffled_records(records, seed)
    parse = functools.partial(_window, max_regions=max_regions, images_per_scene=images_per_scene)
    windows = records.batch(max(SCENES_PER_WINDOW, batch_size)).map(parse, WINDOWS_AT_ONCE)

    def parts(window, before, number):
        # By seed and numbers alone: threads have no part in the order.
        lengths = _lengths(window["sentences"]["text"])
        rows = batch_parts(lengths, before, batch_size, number, seed, bucket_by_length)
        # Each part holds the window's tensors themselves, which copies nothing.
        return tf.data.Dataset.from_tensor_slices(rows).map(lambda part: (window, part))

    whole_or_part = _counted(windows).flat_map(parts).map(_pairs, BATCHES_AT_ONCE)
    # Hands a whole batch on as it is; only one that two windows share is copied once more.
    return whole_or_part.rebatch(batch_size)


def _shuffled_records(records: tf.data.Dataset, seed: tf.Tensor) -> tf.data.Dataset:
    def shuffled(seed):
        # TensorFlow mixes its global seed into the order. This function's graph has one of its own.
        tf.random.set_seed(1)
        return records.shuffle(SHUFFLED_SCENES, seed=seed, reshuffle_each_iteration=False)

    return tf.data.Dataset.from_tensors(seed).flat_map(shuffled)


def _window(block, max_regions: int, images_per_scene: int) -> dict[str, Any]:
    """Of serialized scenes the images, the sentences, and which scene a sentence belongs to."""
    scenes = schema.parse_scenes(block)
    answers, scores = schema.sentence_answers(scenes)
    return {
        "images": _images(scenes, max_regions, images_per_scene),
        "scene_of": scenes[schema.SENTENCE_TEXT].value_rowids(),
        "sentences": {
            "text": scenes[schema.SENTENCE_TEXT].flat_values,
            "id": scenes[schema.SENTENCE_ID].flat_values,
            "question_type": scenes[schema.QUESTION_TYPE].flat_values,
            "answer_type": scenes[schema.ANSWER_TYPE].flat_values,
            "answers": answers,
            "scores": scores,
        },
    }


def _counted(windows: tf.data.Dataset) -> tf.data.Dataset:
    """Windows with the number of sentences before each, and their own number."""

    def count(state, window):
        before, number = state
        after = before + tf.size(window["scene_of"], tf.int64)
        return (after, number + 1), (window, before, number)

    zero = tf.constant(0, tf.int64)
    return windows.scan((zero, zero), count)


def _lengths(texts: tf.Tensor) -> tf.Tensor:
    """About how many word pieces sentences have, in a unit of its own.

    Short words are a piece each and long ones several, so that words and their letters count.
    """
    words = tf.cast(tf.strings.split(texts).row_lengths(), tf.int32)
    return 6 * words + tf.strings.length(texts)


def _pairs(window, rows: tf.Tensor) -> dict[str, tf.Tensor]:
    scenes = tf.gather(window["scene_of"], rows)
    return {
        **{name: tf.gather(value, scenes) for name, value in window["images"].items()},
        **{name: tf.gather(value, rows) for name, value in window["sentences"].items()},
    }


def _images(scenes, max_regions: int, images_per_scene: int) -> dict[str, tf.Tensor]:
    regions = schema.decode_regions(scenes, max_regions, images_per_scene)
    ids = scenes[schema.IMAGE_ID].flat_values
    if images_per_scene > 1:
        return {**regions, "image_id": tf.reshape(ids, tf.shape(regions["region_mask"])[:2])}
    # What was detected is for pre-training, which sees one image at a time.
    return {**regions, **schema.decode_region_labels(scenes, max_regions), "image_id": ids}


@tf.autograph.experimental.do_not_convert
def answer_batches(
    pairs: tf.data.Dataset, preprocessor: Callable, answers: Sequence[str]
) -> tf.data.Dataset:
    """Makes (inputs, targets) for `fit` out of `pair_batches`: model inputs, soft scores [B, A]."""
    table = AnswerTable(tuple(answers))

    def make(pair):
        inputs = {**preprocessor(pair["text"]), **region_inputs(pair)}
        return inputs, table.targets(pair["answers"], pair["scores"])

    return pairs.map(make, BATCHES_AT_ONCE).prefetch(BATCHES_AHEAD)


@tf.autograph.experimental.do_not_convert
def statement_batches(pairs: tf.data.Dataset, preprocessor: Callable) -> tf.data.Dataset:
    """Makes (inputs, labels) for `fit` out of `pair_batches` with two images a scene.

    Args:
        pairs: batches of (two images, sentence).
        preprocessor: tokenizes.

    Returns:
        pairs of the inputs of `LxmertPairClassifier` and what `statement_labels` gives.
    """

    def make(pair):
        inputs = {**preprocessor(pair["text"]), **region_inputs(pair)}
        return inputs, statement_labels(pair)

    return pairs.map(make, BATCHES_AT_ONCE).prefetch(BATCHES_AHEAD)


def statement_labels(pair: dict[str, tf.Tensor]) -> tf.Tensor:
    """The labels int32 [B] of a batch of `pair_batches`: 1 for "True", 0 for "False", in any case.

    Raises:
        InvalidArgumentError: when run, naming the id of a sentence whose answer is neither.
    """
    answers = pair["answers"]
    only = tf.strings.lower(answers.to_tensor("", shape=[None, 1])[:, 0])
    true, false = tf.equal(only, "true"), tf.equal(only, "false")
    known = tf.equal(answers.row_lengths(), 1) & (true | false)
    first_unknown = tf.strings.reduce_join(tf.boolean_mask(pair["id"], ~known)[:1])
    message = ["the sentence ", first_unknown, " must have one answer, True or False"]
    check = tf.debugging.Assert(tf.reduce_all(known), [tf.strings.join(message)])
    with tf.control_dependencies([check]):
        return tf.cast(true, tf.int32)


def region_inputs(pair: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
    """Of a batch of `pair_batches` what the models read of the images."""
    return {name: pair[name] for name in ("region_features", "region_boxes", "region_mask")}


@tf.autograph.experimental.do_not_convert
def read_sentences(files: Sequence[str]) -> tf.data.Dataset:
    """The words alone: ragged `answers` [S, (a)] and `text` [S] of blocks of scenes, in order."""

    def words(block):
        scenes = schema.parse_scenes(block)
        answers, _ = schema.sentence_answers(scenes)
        return {"text": scenes[schema.SENTENCE_TEXT].flat_values, "answers": answers}

    return read_records(files).batch(SCENES_PER_WINDOW).map(words, WINDOWS_AT_ONCE)


@contextlib.contextmanager
def naming_damaged_files(files: Sequence[str]):
    """Turns an error of reading `files` into an InputError that names the damaged one."""
    try:
        yield
    except (tf.errors.DataLossError, tf.errors.InvalidArgumentError) as error:
        # Which file it was costs another reading, so it is asked only now.
        for name in files:
            try:
                for _ in read_records([name]):
                    pass
            except tf.errors.OpError as cause:
                raise InputError(f"{name}: damaged or cut short: {_reason(cause)}") from error
        raise InputError(f"{files[0]} (of {len(files)}): {_reason(error)}") from error


def _reason(error: tf.errors.OpError) -> str:
    # The message proper; behind it TensorFlow says which node of which graph raised it.
    text = re.split(r"\n|\[Op:|; Data loss: ", error.message.split("}} ")[-1])[0].strip()
    return re.sub(r"^assertion failed: \[(.*)\]$", r"\1", text)
