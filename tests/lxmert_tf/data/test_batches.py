"""Records become batches of examples: every sentence once, in an order that a seed decides."""

import dataclasses
import gzip
import itertools
import pathlib
import resource

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from lxmert_tf import LxmertTextPreprocessor
from lxmert_tf.data.batches import (
    answer_batches,
    consecutive_images,
    example_batches,
    find_records,
    naming_damaged_files,
    read_records,
    read_sentences,
    split_window,
    statement_batches,
    statement_labels,
)
from lxmert_tf.data.scene import Scene, SceneImage, Sentence
from lxmert_tf.data.schema import encode_scene
from lxmert_tf.errors import InputError
from lxmert_tf.models.special_pieces import SPECIAL_PIECES
from lxmert_tf.regions.extractor import Regions
from tests.lxmert_tf.samples import easy_vqa_scenes, one_line, pair_scenes, write_records

# More than a window, and no multiple of one.
SCENES = easy_vqa_scenes(70)
SENTENCES = {s.id: s for scene in SCENES for s in scene.sentences}
IMAGE_OF = {s.id: scene.images[0] for scene in SCENES for s in scene.sentences}
PAIR_SCENES = pair_scenes(66)
STATEMENTS = [s for scene in PAIR_SCENES for s in scene.sentences]
MAX_REGIONS = 8
PREPROCESSOR = LxmertTextPreprocessor(
    [*SPECIAL_PIECES, "what", "is", "the", "color", "of", "shape", "picture", "?"], 9
)


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    directory = tmp_path_factory.mktemp("records")
    flat = [single for scene in SCENES for single in scene.flat()]
    return {
        "grouped": write_records(directory / "grouped.tfrecord", SCENES),
        "flat": write_records(directory / "flat.tfrecord", flat),
        "gzipped": write_records(directory / "grouped.tfrecord.gz", SCENES, "GZIP"),
        "pairs": write_records(directory / "pairs.tfrecord", PAIR_SCENES),
    }


@pytest.fixture(scope="module")
def bucketed(files):
    """Shuffled, bucketed batches; built once, because that takes longer than reading them."""
    records = read_records([files["grouped"]])
    return example_batches(records, 32, MAX_REGIONS, seed=1, bucket_by_length=True)


@pytest.fixture(scope="module")
def read_file():
    """Yields the batches of a file; the dataset is built once for all files."""
    file = [""]
    names = tf.data.Dataset.from_generator(
        lambda: file, output_signature=tf.TensorSpec([], tf.string)
    )
    readers = {
        suffix: example_batches(
            names.flat_map(lambda name, kind=kind: tf.data.TFRecordDataset(name, kind)),
            32,
            MAX_REGIONS,
        )
        for suffix, kind in (("", ""), (".gz", "GZIP"))
    }

    def read(name):
        file[0] = str(name)
        return readers[".gz" if str(name).endswith(".gz") else ""]

    return read


def ids(batches) -> list[str]:
    return [name.decode() for batch in batches for name in batch["id"].numpy()]


@pytest.mark.parametrize(
    ("layout", "batch_size", "bucket_by_length"),
    [("grouped", 32, False), ("flat", 50, False), ("gzipped", 100, True), ("grouped", 1000, True)],
)
def test_every_sentence_comes_once_with_its_image_and_answers(
    files, layout, batch_size, bucket_by_length
):
    batches = list(
        example_batches(
            read_records([files[layout]]),
            batch_size,
            MAX_REGIONS,
            bucket_by_length=bucket_by_length,
        )
    )
    for batch in batches:
        answers, scores = batch["answers"].to_list(), batch["scores"].to_list()
        rows = {
            name: value.numpy() for name, value in batch.items() if isinstance(value, tf.Tensor)
        }
        for i, name in enumerate(rows["id"]):
            sentence, image = SENTENCES[name.decode()], IMAGE_OF[name.decode()]
            assert rows["image_id"][i].decode() == image.id
            assert rows["text"][i].decode() == sentence.text
            assert rows["answer_type"][i].decode() == sentence.answer_type
            given = [(a.decode(), s) for a, s in zip(answers[i], scores[i])]
            assert given == list(sentence.answers)
            count = len(image.regions)
            assert rows["region_mask"][i].tolist() == [1] * count + [0] * (MAX_REGIONS - count)
            features, boxes = rows["region_features"][i, :count], rows["region_boxes"][i, :count]
            np.testing.assert_array_equal(features, image.regions.features)
            np.testing.assert_array_equal(boxes, image.regions.boxes)
    read = ids(batches)
    assert sorted(read) == sorted(SENTENCES)
    # Without a seed and buckets the order is that of the file.
    assert (read == list(SENTENCES)) == (not bucket_by_length)
    # The remainder is a batch too.
    whole, rest = divmod(len(SENTENCES), batch_size)
    assert [len(batch["id"]) for batch in batches] == [batch_size] * whole + [rest] * (rest > 0)


@pytest.mark.parametrize("bucket_by_length", [False, True])
def test_order_depends_on_seed_and_epoch_alone(files, bucket_by_length):
    records = read_records([files["grouped"]])

    def batches(seed, epoch):
        return example_batches(
            records, 32, MAX_REGIONS, seed, epoch, bucket_by_length=bucket_by_length
        )

    epochs = tf.data.Dataset.range(2).flat_map(lambda epoch: batches(1, epoch))
    both = ids(epochs)
    first, second = both[: len(SENTENCES)], both[len(SENTENCES) :]
    assert sorted(first) == sorted(second) == sorted(SENTENCES)
    assert first != second
    # Another run that starts with the second epoch, with any number of threads.
    again = batches(1, 1)
    for threads in (1, 8):
        options = tf.data.Options()
        options.threading.private_threadpool_size = threads
        assert ids(again.with_options(options)) == second
    assert ids(batches(2, 0)) not in (first, second)
    # The questions about an image do not follow each other.
    same = [IMAGE_OF[a].id == IMAGE_OF[b].id for a, b in itertools.pairwise(first)]
    assert np.mean(same) < 0.1


def test_interrupted_epoch_continues_where_it_stopped(bucketed):
    whole = [ids([batch]) for batch in bucketed]
    for done in (1, 7, len(whole)):
        assert [ids([batch]) for batch in bucketed.skip(done)] == whole[done:]


def test_cached_or_saved_batches_are_the_same(bucketed, tmp_path):
    def content(dataset):
        # RaggedTensors as lists, the others as arrays.
        return [
            {
                name: value.to_list() if isinstance(value, tf.RaggedTensor) else value.numpy()
                for name, value in batch.items()
            }
            for batch in dataset
        ]

    expected = content(bucketed)
    cached = bucketed.cache(str(tmp_path / "cache"))
    list(cached)
    bucketed.save(str(tmp_path / "saved"))
    for other in (cached, tf.data.Dataset.load(str(tmp_path / "saved"))):
        read = content(other)
        assert len(read) == len(expected)
        for a, b in zip(read, expected):
            for name in b:
                np.testing.assert_equal(a[name], b[name])


def test_each_sentence_of_sharded_records_comes_to_one_worker(files):
    parts = []
    for worker in range(3):
        records = read_records([files["grouped"]]).shard(3, worker)
        parts.append(ids(example_batches(records, 32, MAX_REGIONS, 1, bucket_by_length=True)))
    assert all(parts)
    assert sorted(itertools.chain(*parts)) == sorted(SENTENCES)


def test_windows_continue_across_files(tmp_path):
    parts = [write_records(tmp_path / f"part-{i}.tfrecord", SCENES[i::3]) for i in range(3)]
    batches = example_batches(read_records(parts), 64, MAX_REGIONS)
    assert sorted(ids(batches)) == sorted(SENTENCES)


def test_with_small_features_sentences_are_shuffled_among_more_images(tmp_path):
    regions = Regions(np.ones([2, 8], np.float16), np.zeros([2, 4], np.float32))
    scenes = [
        Scene(
            (SceneImage(str(number), 4, 4, regions),),
            tuple(Sentence(f"{number}-{i}", "words") for i in range(20)),
        )
        for number in range(200)
    ]
    file = write_records(tmp_path / "small.tfrecord", scenes)

    def images_of_a_quarter(**options) -> int:
        batches = example_batches(read_records([file]), 40, 2, seed=1, **options).take(25)
        return len({image for batch in batches for image in batch["image_id"].numpy()})

    # 1,000 of 4,000 sentences.
    assert images_of_a_quarter(feature_size=8) > 190
    assert images_of_a_quarter() < 70


def test_memory_holds_images_not_their_copies_for_each_sentence(tmp_path):
    # 12,800 sentences with 128 KB of float32 features each: 1.6 GB if they were held at once.
    regions = Regions(np.ones([16, 2048], np.float16), np.zeros([16, 4], np.float32))
    scenes = [
        Scene(
            (SceneImage(str(number), 4, 4, regions),),
            tuple(Sentence(f"{number}-{i}", "so many words " * (i % 5)) for i in range(200)),
        )
        for number in range(64)
    ]
    file = write_records(tmp_path / "many.tfrecord", scenes)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    count = 0
    for batch in example_batches(read_records([file]), 32, 16, 1, bucket_by_length=True):
        count += len(batch["id"])
    assert count == 12_800
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert (peak - before) * 1024 < 500e6


def test_image_with_too_many_regions_is_an_error(files):
    with pytest.raises(InputError) as raised:
        with naming_damaged_files([files["grouped"]]):
            ids(example_batches(read_records([files["grouped"]]), 32, max_regions=3))
    assert "regions, more than max_regions = 3; set max_regions" in one_line(raised)
    assert files["grouped"] in one_line(raised)


def test_answer_batches_are_inputs_and_soft_scores(files):
    answers = sorted({answer for s in SENTENCES.values() for answer, _ in s.answers})
    examples = example_batches(read_records([files["grouped"]]), 16, MAX_REGIONS)
    batches = answer_batches(examples, PREPROCESSOR, answers)
    inputs, targets = next(iter(batches))
    assert {name: tuple(value.shape) for name, value in inputs.items()} == {
        "token_ids": (16, 9),
        "segment_ids": (16, 9),
        "padding_mask": (16, 9),
        "region_features": (16, MAX_REGIONS, 256),
        "region_boxes": (16, MAX_REGIONS, 4),
        "region_mask": (16, MAX_REGIONS),
    }
    expected = [s.answers[0][0] for s in list(SENTENCES.values())[:16]]
    assert [answers[i] for i in targets.numpy().argmax(axis=1)] == expected
    assert targets.numpy().sum() == 16
    assert batches.element_spec[1].shape.as_list() == [None, len(answers)]


def test_buckets_save_padding(files, bucketed):
    words = sorted({w for s in SENTENCES.values() for w in s.text.rstrip("?").split()})
    preprocessor = LxmertTextPreprocessor([*SPECIAL_PIECES, *words, "?"], 20, pad_to_longest=True)

    def padded_share(examples) -> float:
        batches = answer_batches(examples, preprocessor, ["yes"])
        masks = [inputs["padding_mask"].numpy() for inputs, _ in batches]
        return sum(mask.size for mask in masks) / sum(mask.sum() for mask in masks) - 1

    shuffled = example_batches(read_records([files["grouped"]]), 32, MAX_REGIONS, seed=1)
    assert padded_share(bucketed) < 0.6 * padded_share(shuffled)


@pytest.mark.parametrize(("seed", "bucket_by_length"), [(None, False), (3, True)])
def test_every_statement_comes_once_with_both_its_images(files, seed, bucket_by_length):
    scene_of = {s.id: scene for scene in PAIR_SCENES for s in scene.sentences}
    batches = list(
        example_batches(
            read_records([files["pairs"]]),
            32,
            MAX_REGIONS,
            seed,
            images_per_scene=2,
            bucket_by_length=bucket_by_length,
        )
    )
    for batch in batches:
        rows = {
            name: value.numpy() for name, value in batch.items() if isinstance(value, tf.Tensor)
        }
        assert not [name for name in batch if "object" in name or "attribute" in name]
        for i, name in enumerate(rows["id"]):
            scene = scene_of[name.decode()]
            image_ids = [image_id.decode() for image_id in rows["image_id"][i]]
            assert image_ids == [image.id for image in scene.images]
            for k, image in enumerate(scene.images):
                count = len(image.regions)
                assert rows["region_mask"][i, k].sum() == count
                features, boxes = rows["region_features"][i, k], rows["region_boxes"][i, k]
                np.testing.assert_array_equal(features[:count], image.regions.features)
                np.testing.assert_array_equal(boxes[:count], image.regions.boxes)
    expected = [sentence.id for sentence in STATEMENTS]
    assert sorted(ids(batches)) == sorted(expected)
    assert (ids(batches) == expected) == (seed is None)


def test_statement_batches_are_inputs_and_labels(files):
    examples = example_batches(read_records([files["pairs"]]), 32, MAX_REGIONS, images_per_scene=2)
    batches = statement_batches(examples, PREPROCESSOR)
    inputs, labels = next(iter(batches))
    assert {name: tuple(value.shape) for name, value in inputs.items()} == {
        "token_ids": (32, 9),
        "segment_ids": (32, 9),
        "padding_mask": (32, 9),
        "region_features": (32, 2, MAX_REGIONS, 256),
        "region_boxes": (32, 2, MAX_REGIONS, 4),
        "region_mask": (32, 2, MAX_REGIONS),
    }
    assert labels.dtype == tf.int32
    assert labels.numpy().tolist() == [int(s.answers[0][0] == "True") for s in STATEMENTS[:32]]
    shape = batches.element_spec[0]["region_features"].shape.as_list()
    assert shape[:3] == [None, 2, MAX_REGIONS]


def statements(*answers):
    names = tf.constant([f"s{i}" for i in range(len(answers))])
    return {"id": names, "answers": tf.ragged.constant(answers, dtype=tf.string)}


def test_labels_may_be_in_any_case():
    batch = statements(["True"], ["TRUE"], ["true"], ["False"], ["fAlSe"])
    assert statement_labels(batch).numpy().tolist() == [1, 1, 1, 0, 0]


@pytest.mark.parametrize("answers", [[], ["yes"], [""], ["True", "False"]])
def test_statement_that_is_neither_true_nor_false_is_named(answers):
    message = "the sentence s1 must have one answer, True or False"
    with pytest.raises(tf.errors.InvalidArgumentError, match=message):
        statement_labels(statements(["True"], answers))


def test_statement_without_a_label_is_an_error_of_its_file(tmp_path):
    scenes = list(PAIR_SCENES[:4])
    wrong = dataclasses.replace(scenes[2].sentences[1], answers=())
    scenes[2] = dataclasses.replace(scenes[2], sentences=(scenes[2].sentences[0], wrong))
    file = write_records(tmp_path / "pairs.tfrecord", scenes)
    examples = example_batches(read_records([file]), 32, MAX_REGIONS, images_per_scene=2)
    with pytest.raises(InputError) as raised:
        with naming_damaged_files([file]):
            list(statement_batches(examples, PREPROCESSOR))
    assert "the sentence pair-2-1 must have one answer, True or False" in one_line(raised)
    assert one_line(raised).startswith(file)
    # The examples themselves can be read without labels, as in the hidden test set.
    assert sum(len(batch["id"]) for batch in examples) == 6


@pytest.mark.parametrize(
    ("layout", "images_per_scene", "message"),
    [("grouped", 2, "scenes of 2 images"), ("pairs", 1, "scenes of one image")],
)
def test_scenes_with_another_number_of_images_are_an_error(
    files, layout, images_per_scene, message
):
    records = read_records([files[layout]])
    with pytest.raises(InputError) as raised:
        with naming_damaged_files([files[layout]]):
            list(example_batches(records, 4, MAX_REGIONS, images_per_scene=images_per_scene))
    assert message in one_line(raised) and files[layout] in one_line(raised)


def test_sentences_are_read_without_images(files):
    blocks = list(read_sentences([files["grouped"]]))
    texts = [text.decode() for block in blocks for text in block["text"].numpy()]
    assert texts == [sentence.text for sentence in SENTENCES.values()]
    answers = [row[0].decode() for block in blocks for row in block["answers"].to_list()]
    assert answers == [sentence.answers[0][0] for sentence in SENTENCES.values()]


@pytest.mark.parametrize(
    ("image_ids", "first", "run"),
    [
        ([], [], []),
        (["a"], [0], [0]),
        (["a", "a", "b", "a", "a", "c"], [0, 2, 3, 5], [0, 0, 1, 2, 2, 3]),
    ],
)
def test_runs_of_equal_image_ids_are_numbered(image_ids, first, run):
    found = consecutive_images(tf.constant(image_ids, tf.string))
    assert [values.numpy().tolist() for values in found] == [first, run]


# Windows and batches, without records.


def parts_of(windows, batch_size, seed, bucket_by_length=True) -> list[list[list[tuple[int, int]]]]:
    """The parts of each window, as (window, row) tuples."""
    seed = None if seed is None else tf.constant(seed, tf.int64)
    before, result = 0, []
    for number, lengths in enumerate(windows):
        parts = split_window(
            tf.constant(lengths, tf.int32), before, batch_size, number, seed, bucket_by_length
        )
        result.append([[(number, row) for row in part] for part in parts.to_list()])
        before += len(lengths)
    return result


@settings(max_examples=30, derandomize=True)
@given(
    windows=st.lists(st.lists(st.integers(1, 20), max_size=30), min_size=1, max_size=5),
    batch_size=st.integers(1, 12),
    seed=st.none() | st.integers(0, 2**40),
    bucket_by_length=st.booleans(),
)
def test_windows_are_split_where_batches_end(windows, batch_size, seed, bucket_by_length):
    parts = parts_of(windows, batch_size, seed, bucket_by_length)
    for number, (lengths, window) in enumerate(zip(windows, parts)):
        rows = sorted(row for part in window for row in part)
        assert rows == [(number, row) for row in range(len(lengths))]
    ends = np.cumsum([len(part) for window in parts for part in window])
    total = sum(map(len, windows))
    assert set(range(batch_size, total + 1, batch_size)) <= set(ends.tolist())
    assert parts == parts_of(windows, batch_size, seed, bucket_by_length)


def test_without_seed_and_buckets_windows_keep_their_order():
    parts = parts_of([[3, 1, 2], [5, 4]], 2, None, bucket_by_length=False)
    assert parts == [[[(0, 0), (0, 1)], [(0, 2)]], [[(1, 0)], [(1, 1)]]]


def test_batches_have_similar_lengths_also_where_windows_meet():
    random = np.random.default_rng(0)
    windows = [random.integers(1, 21, size).tolist() for size in (500, 333, 410)]
    spread = {}
    for bucket_by_length in (False, True):
        parts = parts_of(windows, 32, 7, bucket_by_length)
        order = [windows[w][row] for window in parts for part in window for w, row in part]
        batches = [order[i : i + 32] for i in range(0, len(order), 32)]
        spread[bucket_by_length] = [max(batch) - min(batch) for batch in batches]
    assert min(spread[False][:-1]) >= 15
    assert max(spread[True]) <= 4


def test_batches_of_a_window_are_not_sorted_by_length():
    lengths = list(range(320))
    first, second = (
        [part[0][1] // 32 for part in parts_of([lengths], 32, seed)[0]] for seed in (1, 2)
    )
    assert sorted(first) == sorted(second) == list(range(10))
    assert first != sorted(first) and first != second


def test_lengths_of_the_batch_that_windows_share_are_drawn():
    lengths = list(range(300))
    ends = [parts_of([lengths], 32, seed)[0][-1][0][1] for seed in range(12)]
    assert len(set(ends)) > 6
    assert min(ends) < 100 and max(ends) > 200


# Damaged and missing files.


def cut(data: bytes) -> bytes:
    return data[: len(data) // 2]


def flip(data: bytes) -> bytes:
    return data[:5000] + bytes([data[5000] ^ 1]) + data[5001:]


@pytest.mark.parametrize("layout", ["grouped", "gzipped"])
@pytest.mark.parametrize(
    "damage",
    [cut, flip, lambda data: data[:-20], lambda data: b"not a record, but a text of some length"],
    ids=["cut in half", "flipped bit", "last bytes gone", "text"],
)
def test_damaged_file_is_named(files, read_file, tmp_path, layout, damage):
    data = pathlib.Path(files[layout]).read_bytes()
    suffix = ".gz" if layout == "gzipped" else ""
    good, bad = tmp_path / f"good.tfrecord{suffix}", tmp_path / f"bad.tfrecord{suffix}"
    write_records(good, SCENES[:2], "GZIP" if suffix else "")
    bad.write_bytes(damage(data))
    with pytest.raises(InputError) as raised:
        with naming_damaged_files([str(good), str(bad)]):
            ids(read_file(bad))
    assert one_line(raised).startswith(f"{bad}: damaged or cut short: ")


@pytest.mark.parametrize("layout", ["grouped", "gzipped"])
def test_cut_file_gives_no_wrong_examples(files, read_file, tmp_path, layout):
    # TensorFlow takes a cut between two records, or in the 12 bytes before one, for the end.
    data = pathlib.Path(files[layout]).read_bytes()
    expected = list(SENTENCES)
    path = tmp_path / pathlib.Path(files[layout]).name
    first = 12 + len(encode_scene(SCENES[0])) + 4
    for length in (0, 3, 13, first - 1, first, first + 1, len(data) - 1):
        path.write_bytes(data[:length])
        read = []
        try:
            with naming_damaged_files([str(path)]):
                for batch in read_file(path):
                    read += ids([batch])
        except InputError as error:
            assert str(error).startswith(f"{path}: damaged or cut short: ")
        assert read == expected[: len(read)]


# TensorFlow quotes the record in its message, which then is no text.
@pytest.mark.parametrize("record", [b"no tf.Example", b"\xcc\xcc"])
def test_record_that_is_not_a_scene_is_an_error_of_its_file(read_file, tmp_path, record):
    path = tmp_path / "other.tfrecord"
    with tf.io.TFRecordWriter(str(path)) as writer:
        writer.write(record)
    with pytest.raises(InputError) as raised:
        with naming_damaged_files([str(path)]):
            ids(read_file(path))
    assert str(path) in one_line(raised)
    assert "a record is damaged, or not a tf.train.Example" in one_line(raised)


@pytest.mark.parametrize(
    "error", [ZeroDivisionError(), UnicodeDecodeError("utf-8", b"\xcc", 0, 1, "of another file")]
)
def test_other_errors_pass(error):
    with pytest.raises(type(error)):
        with naming_damaged_files(["absent"]):
            raise error


def test_gzipped_and_plain_files_are_not_read_together(files):
    with pytest.raises(InputError) as raised:
        read_records([files["grouped"], files["gzipped"]])
    assert "some of the record files are gzipped and some are not" in one_line(raised)


def test_plain_file_named_gz_is_an_error(files, read_file, tmp_path):
    path = tmp_path / "plain.tfrecord.gz"
    path.write_bytes(pathlib.Path(files["grouped"]).read_bytes())
    with pytest.raises(InputError) as raised:
        with naming_damaged_files([str(path)]):
            ids(read_file(path))
    assert str(path) in one_line(raised)


def test_gzip_of_another_program_is_read(files, tmp_path):
    path = tmp_path / "recompressed.tfrecord.gz"
    path.write_bytes(gzip.compress(pathlib.Path(files["grouped"]).read_bytes()))
    assert sum(1 for _ in read_records([str(path)])) == len(SCENES)


def test_empty_file_has_no_examples(read_file, tmp_path):
    (tmp_path / "empty.tfrecord").touch()
    assert ids(read_file(tmp_path / "empty.tfrecord")) == []


def test_records_are_found_by_pattern_and_directory(tmp_path):
    records = ("a.tfrecord.gz", "b.tfrecord", "data_tfrecord-00000-of-00001.gz")
    for name in (*records, "notes.txt"):
        (tmp_path / name).touch()
    found = [str(tmp_path / name) for name in records]
    assert find_records(tmp_path) == found
    # A summary beside the records is none.
    assert find_records(str(tmp_path / "*")) == found
    # A file that matches two patterns is read once.
    assert find_records(tmp_path, str(tmp_path / "b.*")) == found
    assert find_records(str(tmp_path / "*.txt")) == [str(tmp_path / "notes.txt")]
    (tmp_path / "empty").mkdir()
    for pattern in (tmp_path / "absent", tmp_path / "*.csv", tmp_path / "empty"):
        with pytest.raises(InputError) as raised:
            find_records(pattern)
        assert f"no files match {pattern}" in one_line(raised)
