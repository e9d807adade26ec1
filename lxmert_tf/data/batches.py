"""Batches of examples from TFRecords of scenes, built with tf.data's own ops.

An example is a sentence with its image, or with its two images for NLVR2. The steps:

    files -> serialized scenes -> windows of parsed scenes -> examples -> (inputs, targets)
"""

import contextlib
import functools
import os
import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import tensorflow as tf

from lxmert_tf import storage
from lxmert_tf.data import scene_tensors, schema
from lxmert_tf.data.answer_table import AnswerTable
from lxmert_tf.data.record_lengths import check_lengths
from lxmert_tf.errors import InputError
from lxmert_tf.local_copy import RecordCopies
from lxmert_tf.stored_folder import check_finished

# Scenes that are parsed together; with a larger batch size as many as a batch has examples.
SCENES_PER_WINDOW = 64
# To shuffle, as many as fit into this memory: 81 with 36 x 2048 float32 features per image.
# Sentences are shuffled within a window, and 26 about each of 64 images would be 26 batches about
# the same images.
SHUFFLED_WINDOW_BYTES = 24_000_000
LARGEST_WINDOW = 4096
# Windows parsed in parallel, batches made in parallel, and batches made ahead. AUTOTUNE would fill
# half of the machine's memory with them.
WINDOWS_IN_PARALLEL = 2
BATCHES_IN_PARALLEL = 4
BATCHES_AHEAD = 2
# Record files at URLs that are copied at the same time, while an earlier one is read.
COPIES_IN_PARALLEL = 2
# Serialized scenes among which those of a window are drawn.
SHUFFLE_BUFFER = 1024
# Keeps the epochs of consecutive seeds apart.
EPOCHS_PER_SEED = 1 << 20

# What random numbers of a window, or of a batch, are for; keeps them apart.
_SENTENCE_ORDER, _BATCH_ORDER, _POSITION = range(3)

# How TensorFlow's message about such a record begins.
_NOT_AN_EXAMPLE = "Could not parse example input"


def find_records(*patterns) -> list[str]:
    """Find record files.

    Args:
        *patterns: Paths, URLs, glob patterns of either, or directories, which stand for
            `*tfrecord*` in them. Hidden files are left out, and of files that a pattern matches,
            those beside record files, such as `ingest-summary.json`.

    Returns:
        The names of the files, sorted, each once.

    Raises:
        InputError: No files match a pattern, a folder at a URL is unfinished, or the storage of a
            URL cannot be asked.
    """
    found: set[str] = set()
    for pattern in map(str, patterns):
        # Hidden files are unfinished ones.
        is_folder = storage.is_directory(pattern)
        names = storage.match(storage.join(pattern, "*tfrecord*") if is_folder else pattern)
        if not names:
            raise InputError(f"no files match {pattern}")
        records = [name for name in names if "tfrecord" in os.path.basename(name)]
        found.update(records or names)
    for folder in sorted({storage.parent(name) for name in found if storage.is_url(name)}):
        check_finished(folder)
    return sorted(found)


def read_records(files: Sequence[str]) -> tf.data.Dataset:
    """Read serialized scenes, one file after the other.

    Files at URLs are copied to the disk while earlier ones are read; see `RecordCopies`.

    Args:
        files: Paths and URLs of TFRecord files, gzipped if the names end in .gz.

    Returns:
        A dataset of scalar strings.

    Raises:
        InputError: Only some of the files are gzipped.
    """
    compressed = {name.endswith(".gz") for name in files}
    if len(compressed) > 1:
        raise InputError("some of the record files are gzipped and some are not; read one kind")
    compression = "GZIP" if True in compressed else ""
    if compression and not any(map(storage.is_url, files)):
        return tf.data.TFRecordDataset(list(files), compression)
    return _read_one_by_one(list(files), compression)


# Nothing in these datasets needs AutoGraph, which takes seconds to rewrite what they call.
@tf.autograph.experimental.do_not_convert
def example_batches(
    records: tf.data.Dataset,
    batch_size: int,
    max_regions: int,
    seed: int | None = None,
    epoch=0,
    images_per_scene: int = 1,
    bucket_by_length: bool = False,
    feature_size: int | None = None,
) -> tf.data.Dataset:
    """Batch the examples of scenes; every sentence comes once.

    The features of an image are parsed once, however many sentences it has, so memory holds the
    images of a few windows and a few batches.

    Args:
        records: Serialized scenes, grouped or flat.
        batch_size: Examples per batch, B; the last batch may have fewer.
        max_regions: R; images with fewer regions are padded, one with more is an error.
        seed: Shuffles; the same seed and epoch give the same order. None keeps the records' order.
        epoch: The number of this pass over the data, an integer or an integer scalar tensor.
        images_per_scene: How many images each scene must have.
        bucket_by_length: Whether sentences of similar length come together, within each window.
            The number of batches and their sizes stay the same.
        feature_size: F, the width of the features. If it is given, examples are shuffled among as
            many images as fit into `SHUFFLED_WINDOW_BYTES`.

    Returns:
        A dataset of dicts of `region_features` [B, R, F], `region_boxes` [B, R, 4], `region_mask`
        [B, R], `object_labels`, `object_confidences`, `attribute_labels`, `attribute_confidences`
        [B, R], `image_id` [B], `image_size` (height, width) [B, 2], `text`, `id`, `source`,
        `question_type`, `answer_type` [B], and ragged `answers` and `scores` [B, (a)]. With two
        images per scene, regions, `image_id`, and `image_size` have an axis of 2 after the first,
        and there are no objects and attributes.

    Example:
        >>> records = read_records(find_records("build/demo/records/train"))
        >>> batches = example_batches(records, batch_size=32, max_regions=8, seed=0)
    """
    if seed is not None:
        # One number for both: the order of an epoch must not depend on how many came before it.
        seed = tf.cast(seed, tf.int64) * EPOCHS_PER_SEED + tf.cast(epoch, tf.int64)
        records = _shuffle_records(records, seed)
    parse = functools.partial(
        _parse_window, max_regions=max_regions, images_per_scene=images_per_scene
    )
    window = SCENES_PER_WINDOW
    if feature_size is not None:
        scene_bytes = 4 * images_per_scene * max_regions * (feature_size + 4)
        window = max(window, min(SHUFFLED_WINDOW_BYTES // scene_bytes, LARGEST_WINDOW))
    windows = records.batch(max(window, batch_size)).map(parse, WINDOWS_IN_PARALLEL)

    def split(window, before, number):
        # The order depends on seed and numbers alone, not on threads.
        lengths = _approximate_lengths(window["sentences"]["text"])
        parts = split_window(lengths, before, batch_size, number, seed, bucket_by_length)
        # Each part holds the window's tensors themselves, which copies nothing.
        return tf.data.Dataset.from_tensor_slices(parts).map(lambda rows: (window, rows))

    parts = _number_windows(windows).flat_map(split).map(_gather_examples, BATCHES_IN_PARALLEL)
    # Passes a whole batch on as it is; only a batch that two windows share is copied once more.
    return parts.rebatch(batch_size)


def split_window(
    lengths: tf.Tensor, before, batch_size: int, window=0, seed=None, bucket_by_length: bool = False
) -> tf.RaggedTensor:
    """Order the sentences of a window and split them where batches end.

    All batches but the last of the data have `batch_size` sentences, so a batch may begin in one
    window and end in the next. With buckets, the sentences of such a batch have similar lengths
    too: both windows take them from the same relative position in their sentences sorted by length.
    That position is drawn for each batch.

    Args:
        lengths: int [N], the lengths of the window's sentences in any unit.
        before: int64 scalar, the number of sentences in the windows before.
        batch_size: Sentences per batch.
        window: The window's number, an integer scalar.
        seed: int64 scalar that shuffles sentences and batches. None keeps the order of the
            sentences, or with buckets sorts them by length.
        bucket_by_length: Whether sentences of similar length come together.

    Returns:
        Ragged int32 [parts, (rows)], a permutation of 0..N-1. The parts are the rest of the batch
        that an earlier window began, whole batches, and the beginning of the next batch.
    """
    before = tf.cast(before, tf.int64)
    count = tf.size(lengths)
    first = tf.minimum(tf.cast(-before % batch_size, tf.int32), count)
    whole, last = (count - first) // batch_size, (count - first) % batch_size
    rows = tf.range(count)
    if seed is not None:
        key = _random_key(seed, window, _SENTENCE_ORDER)
        rows = tf.random.experimental.stateless_shuffle(rows, key)
    if bucket_by_length:
        rows = tf.gather(rows, tf.argsort(tf.gather(lengths, rows), stable=True))
        begun = before // batch_size
        next_begun = (before + tf.cast(count, tf.int64)) // batch_size
        ending, rows = _take(rows, first, _relative_position(seed, begun))
        starting, rows = _take(rows, last, _relative_position(seed, next_begun))
        batches = tf.reshape(rows, [whole, batch_size])
        if seed is not None:
            key = _random_key(seed, window, _BATCH_ORDER)
            batches = tf.random.experimental.stateless_shuffle(batches, key)
        rows = tf.concat([ending, tf.reshape(batches, [-1]), starting], axis=0)
    sizes = tf.concat([[first], tf.fill([whole], batch_size), [last]], axis=0)
    return tf.RaggedTensor.from_row_lengths(rows, tf.boolean_mask(sizes, sizes > 0))


@tf.autograph.experimental.do_not_convert
def answer_batches(
    examples: tf.data.Dataset, preprocessor: Callable, answers: Sequence[str]
) -> tf.data.Dataset:
    """Make batches for `fit` of an answer classifier.

    Args:
        examples: From `example_batches`, one image per scene.
        preprocessor: A `LxmertTextPreprocessor`.
        answers: The answer table, in the order of the logits.

    Returns:
        A dataset of (inputs of `LxmertAnswerClassifier`, soft scores float32 [B, A]).
    """
    table = AnswerTable(tuple(answers))

    def make(batch):
        inputs = {**preprocessor(batch["text"]), **region_inputs(batch)}
        return inputs, table.targets(batch["answers"], batch["scores"])

    return examples.map(make, BATCHES_IN_PARALLEL).prefetch(BATCHES_AHEAD)


@tf.autograph.experimental.do_not_convert
def statement_batches(examples: tf.data.Dataset, preprocessor: Callable) -> tf.data.Dataset:
    """Make batches for `fit` of a pair classifier.

    Args:
        examples: From `example_batches`, two images per scene.
        preprocessor: A `LxmertTextPreprocessor`.

    Returns:
        A dataset of (inputs of `LxmertPairClassifier`, labels of `statement_labels`).
    """

    def make(batch):
        inputs = {**preprocessor(batch["text"]), **region_inputs(batch)}
        return inputs, statement_labels(batch)

    return examples.map(make, BATCHES_IN_PARALLEL).prefetch(BATCHES_AHEAD)


def statement_labels(batch: dict[str, Any]) -> tf.Tensor:
    """Return the labels of statements: 1 for the answer "True", 0 for "False", in any case.

    Args:
        batch: From `example_batches`.

    Returns:
        int32 [B].

    Raises:
        InvalidArgumentError: At run time, if an answer is neither; names the sentence's ID.
    """
    answers = batch["answers"]
    only = tf.strings.lower(answers.to_tensor("", shape=[None, 1])[:, 0])
    true, false = tf.equal(only, "true"), tf.equal(only, "false")
    known = tf.equal(answers.row_lengths(), 1) & (true | false)
    first_unknown = tf.strings.reduce_join(tf.boolean_mask(batch["id"], ~known)[:1])
    message = ["the sentence ", first_unknown, " must have one answer, True or False"]
    check = tf.debugging.Assert(tf.reduce_all(known), [tf.strings.join(message)])
    with tf.control_dependencies([check]):
        return tf.cast(true, tf.int32)


def region_inputs(batch: dict[str, Any]) -> dict[str, tf.Tensor]:
    """Return what the models read of the images in a batch of `example_batches`."""
    return {name: batch[name] for name in ("region_features", "region_boxes", "region_mask")}


def consecutive_images(image_ids: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Find runs of examples about the same image, so that each image is encoded once.

    Args:
        image_ids: string [B], `image_id` of a batch.

    Returns:
        The position of each run's first example, int64 [M], and the number of each example's run,
        int32 [B].
    """
    # An empty batch has no runs.
    first = tf.ones_like(image_ids[:1], tf.bool)
    begins = tf.concat([first, tf.not_equal(image_ids[1:], image_ids[:-1])], axis=0)
    return tf.where(begins)[:, 0], tf.cumsum(tf.cast(begins, tf.int32)) - 1


@tf.autograph.experimental.do_not_convert
def read_sentences(files: Sequence[str]) -> tf.data.Dataset:
    """Read the sentences of scenes without their images.

    Args:
        files: TFRecord files, as for `read_records`.

    Returns:
        A dataset of dicts of `text` [S] and ragged `answers` [S, (a)] for blocks of scenes, in the
        records' order.
    """

    def parse(block):
        scenes = scene_tensors.parse_scenes(block, schema.SENTENCE_FEATURES)
        answers, _ = scene_tensors.sentence_answers(scenes)
        return {"text": scenes[schema.SENTENCE_TEXT].flat_values, "answers": answers}

    return read_records(files).batch(SCENES_PER_WINDOW).map(parse, WINDOWS_IN_PARALLEL)


@contextlib.contextmanager
def naming_damaged_files(files: Sequence[str]) -> Iterator[None]:
    """Turn TensorFlow's errors into an InputError that names the damaged file.

    Args:
        files: The record files that the block reads.

    Raises:
        InputError: The block fails because a file is damaged or a record does not fit.
    """
    try:
        yield
    except (tf.errors.DataLossError, tf.errors.InvalidArgumentError, UnicodeDecodeError) as error:
        # TensorFlow's message quotes bytes of the record, which need not be text.
        if isinstance(error, UnicodeDecodeError) and _NOT_AN_EXAMPLE.encode() not in error.object:
            raise
        # Finding the file takes another pass over the data, so it is done only now.
        for name in files:
            if not name.endswith(".gz") and not storage.is_url(name):
                check_lengths(name)
            try:
                for _ in read_records([name]):
                    pass
            except tf.errors.OpError as cause:
                raise InputError(f"{name}: damaged or cut short: {_reason(cause)}") from error
        raise InputError(f"{files[0]} (of {len(files)}): {_reason(error)}") from error


@tf.autograph.experimental.do_not_convert
def _read_one_by_one(files: list[str], compression: str) -> tf.data.Dataset:
    copies = RecordCopies()

    def fetch(name: bytes) -> bytes:
        path = name.decode()
        if storage.is_url(path):
            path = copies.fetch(path)
        if not compression:
            # Not for all files at once, because their pages are then read twice from the disk.
            check_lengths(path)
        return path.encode()

    def release(path: bytes) -> bool:
        copies.release(path.decode())
        return False

    def read(path: tf.Tensor) -> tf.data.Dataset:
        # Comes after the last record, and adds none.
        end = tf.data.Dataset.from_tensors(path).filter(
            lambda name: tf.numpy_function(release, [name], tf.bool)
        )
        return tf.data.TFRecordDataset(path, compression).concatenate(end)

    names = tf.data.Dataset.from_tensor_slices(files)
    paths = names.map(
        lambda name: tf.ensure_shape(tf.numpy_function(fetch, [name], tf.string), []),
        COPIES_IN_PARALLEL,
        deterministic=True,
    )
    return paths.prefetch(COPIES_IN_PARALLEL).flat_map(read)


def _shuffle_records(records: tf.data.Dataset, seed: tf.Tensor) -> tf.data.Dataset:
    def shuffle(seed):
        # TensorFlow mixes its global seed into the order; this function's graph has its own.
        tf.random.set_seed(1)
        return records.shuffle(SHUFFLE_BUFFER, seed=seed, reshuffle_each_iteration=False)

    return tf.data.Dataset.from_tensors(seed).flat_map(shuffle)


def _parse_window(block, max_regions: int, images_per_scene: int) -> dict[str, Any]:
    """Parse serialized scenes into images, sentences, and the scene of each sentence."""
    scenes = scene_tensors.parse_scenes(block)
    answers, scores = scene_tensors.sentence_answers(scenes)
    return {
        "images": _parse_images(scenes, max_regions, images_per_scene),
        "scene_of": scenes[schema.SENTENCE_TEXT].value_rowids(),
        "sentences": {
            "text": scenes[schema.SENTENCE_TEXT].flat_values,
            "id": scenes[schema.SENTENCE_ID].flat_values,
            "source": scenes[schema.SENTENCE_SOURCE].flat_values,
            "question_type": scenes[schema.QUESTION_TYPE].flat_values,
            "answer_type": scenes[schema.ANSWER_TYPE].flat_values,
            "answers": answers,
            "scores": scores,
        },
    }


def _parse_images(scenes, max_regions: int, images_per_scene: int) -> dict[str, tf.Tensor]:
    regions = scene_tensors.decode_regions(scenes, max_regions, images_per_scene)
    ids = scenes[schema.IMAGE_ID].flat_values
    sizes = tf.stack(
        [scenes[name].flat_values for name in (schema.IMAGE_HEIGHT, schema.IMAGE_WIDTH)], axis=1
    )
    if images_per_scene > 1:
        images = tf.shape(regions["region_mask"])[:2]
        return {
            **regions,
            "image_id": tf.reshape(ids, images),
            "image_size": tf.reshape(sizes, [*tf.unstack(images), 2]),
        }
    # Only pre-training, which reads one image at a time, uses the labels.
    labels = scene_tensors.decode_region_labels(scenes, max_regions)
    return {**regions, **labels, "image_id": ids, "image_size": sizes}


def _number_windows(windows: tf.data.Dataset) -> tf.data.Dataset:
    """Add to each window the number of sentences before it, and its own number."""

    def count(state, window):
        before, number = state
        after = before + tf.size(window["scene_of"], tf.int64)
        return (after, number + 1), (window, before, number)

    zero = tf.constant(0, tf.int64)
    return windows.scan((zero, zero), count)


def _approximate_lengths(texts: tf.Tensor) -> tf.Tensor:
    """Estimate the number of word pieces in sentences, in an arbitrary unit.

    Short words are one piece each and long ones several, so both words and characters count.
    """
    words = tf.cast(tf.strings.split(texts).row_lengths(), tf.int32)
    return 6 * words + tf.strings.length(texts)


def _gather_examples(window, rows: tf.Tensor) -> dict[str, tf.Tensor]:
    scenes = tf.gather(window["scene_of"], rows)
    return {
        **{name: tf.gather(value, scenes) for name, value in window["images"].items()},
        **{name: tf.gather(value, rows) for name, value in window["sentences"].items()},
    }


def _take(rows, count, position) -> tuple[tf.Tensor, tf.Tensor]:
    """Take `count` consecutive rows at a relative position in 0..1; return them and the others."""
    start = tf.cast(position * tf.cast(tf.size(rows) - count, tf.float32), tf.int32)
    others = tf.concat([rows[:start], rows[start + count :]], axis=0)
    return rows[start : start + count], others


def _relative_position(seed, batch) -> tf.Tensor:
    if seed is None:
        return tf.constant(0.5)
    return tf.random.stateless_uniform([], _random_key(seed, batch, _POSITION))


def _random_key(seed, number, purpose: int) -> tf.Tensor:
    key = tf.stack([tf.cast(seed, tf.int64), tf.cast(number, tf.int64)])
    return tf.random.experimental.stateless_fold_in(key, purpose)


def _reason(error: tf.errors.OpError | UnicodeDecodeError) -> str:
    if isinstance(error, UnicodeDecodeError):
        message = bytes(error.object).decode("utf-8", "replace")
    else:
        message = error.message
    if _NOT_AN_EXAMPLE in message:
        return "a record is damaged, or not a tf.train.Example"
    # Only the message proper: TensorFlow adds which node of which graph raised it, before or after,
    # and the values that an assertion compares.
    assertion = re.search(r"assertion failed: \[([^\]]*)\]", message)
    if assertion:
        return assertion[1]
    text = message.split("}} ")[-1].removeprefix("Graph execution error:").strip()
    return re.split(r"\n|\[Op:|; Data loss: ", text)[0].strip()
