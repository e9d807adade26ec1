"""Records to batches of pairs: every sentence once, in an order that a seed decides."""

import collections
import gzip
import itertools
import pathlib

import numpy as np
import pytest
import tensorflow as tf

from lxmert_tf import LxmertTextPreprocessor
from lxmert_tf.data.answer_table import AnswerTable
from lxmert_tf.data.batches import (
    answer_batches,
    example_batches,
    find_records,
    naming_damaged_files,
    read_records,
    read_sentences,
)
from lxmert_tf.data.schema import encode_scene
from lxmert_tf.errors import InputError
from lxmert_tf.models.text_preprocessor import SPECIAL_PIECES
from tests.lxmert_tf.samples import easy_vqa_scenes, one_line

# More than a block of scenes that are parsed together, and no multiple of one.
SCENES = easy_vqa_scenes(70)
SENTENCES = [sentence for scene in SCENES for sentence in scene.sentences]
MAX_REGIONS = 8


def write(path: pathlib.Path, scenes, compression="") -> str:
    with tf.io.TFRecordWriter(str(path), compression) as writer:
        for scene in scenes:
            writer.write(encode_scene(scene))
    return str(path)


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    directory = tmp_path_factory.mktemp("records")
    flat = [single for scene in SCENES for single in scene.flat()]
    return {
        "grouped": write(directory / "grouped.tfrecord", SCENES),
        "flat": write(directory / "flat.tfrecord", flat),
        "gzipped": write(directory / "grouped.tfrecord.gz", SCENES, "GZIP"),
    }


def ids(batches) -> list[str]:
    return [name.decode() for batch in batches for name in batch["id"].numpy()]


@pytest.mark.parametrize("layout", ["grouped", "flat", "gzipped"])
def test_every_sentence_comes_once_with_its_picture_and_answers(files, layout):
    regions = {s.id: scene.images[0].regions for scene in SCENES for s in scene.sentences}
    said = {sentence.id: sentence for sentence in SENTENCES}
    seen = collections.Counter()
    sizes = []
    for batch in example_batches(read_records([files[layout]]), 32, MAX_REGIONS):
        rows = {name: value.numpy() for name, value in batch.items() if name != "answers"}
        sizes.append(len(rows["id"]))
        for i, name in enumerate(rows["id"]):
            sentence, expected = said[name.decode()], regions[name.decode()]
            seen[sentence.id] += 1
            assert rows["text"][i].decode() == sentence.text
            assert rows["answer_type"][i].decode() == sentence.answer_type
            answers, scores = batch["answers"][i].numpy(), batch["scores"][i].numpy()
            assert [(a.decode(), s) for a, s in zip(answers, scores)] == list(sentence.answers)
            count = len(expected)
            assert rows["region_mask"][i].tolist() == [1] * count + [0] * (MAX_REGIONS - count)
            np.testing.assert_array_equal(rows["region_features"][i, :count], expected.features)
            np.testing.assert_array_equal(rows["region_boxes"][i, :count], expected.boxes)
    assert seen == collections.Counter(said.keys())
    # The remainder is a batch too.
    assert sizes == [32] * (len(SENTENCES) // 32) + [len(SENTENCES) % 32]


def test_without_a_seed_the_order_is_the_files(files):
    expected = [sentence.id for sentence in SENTENCES]
    assert ids(example_batches(read_records([files["grouped"]]), 32, MAX_REGIONS)) == expected
    assert ids(example_batches(read_records([files["flat"]]), 50, MAX_REGIONS)) == expected


@pytest.mark.parametrize("layout", ["grouped", "flat"])
def test_a_seed_gives_another_order_each_epoch_and_the_same_each_run(files, layout):
    def epochs(seed):
        records = read_records([files[layout]])
        return [ids(example_batches(records, 32, MAX_REGIONS, seed, epoch)) for epoch in range(2)]

    first, second = epochs(seed=1)
    expected = sorted(sentence.id for sentence in SENTENCES)
    assert sorted(first) == sorted(second) == expected
    assert first != second
    assert epochs(seed=1) == [first, second]
    # Neither does an epoch hang on those before it, nor on being a tensor.
    records = read_records([files[layout]])
    stream = tf.data.Dataset.range(1, 2).flat_map(
        lambda epoch: example_batches(records, 32, MAX_REGIONS, 1, epoch)
    )
    assert ids(stream) == second
    assert epochs(seed=2)[0] not in (first, second)
    # The questions about one picture do not come one after the other.
    picture = {s.id: scene.images[0].id for scene in SCENES for s in scene.sentences}
    neighbours = [picture[a] == picture[b] for a, b in itertools.pairwise(first)]
    assert np.mean(neighbours) < 0.1


def test_blocks_end_where_files_do_not(files, tmp_path):
    parts = [write(tmp_path / f"part-{i}.tfrecord", SCENES[i::3]) for i in range(3)]
    read = ids(example_batches(read_records(parts), 64, MAX_REGIONS))
    assert sorted(read) == sorted(sentence.id for sentence in SENTENCES)


def test_an_image_with_too_many_regions_ends_the_reading(files):
    with pytest.raises(InputError) as raised:
        with naming_damaged_files([files["grouped"]]):
            ids(example_batches(read_records([files["grouped"]]), 32, max_regions=3))
    assert "an image has more regions than max_regions = 3" in one_line(raised)
    assert files["grouped"] in one_line(raised)


def ragged(rows, dtype):
    return tf.RaggedTensor.from_row_lengths(
        tf.constant([value for row in rows for value in row], dtype), [len(row) for row in rows]
    )


def test_targets_are_soft_scores_at_the_answers_places():
    targets = AnswerTable(("yes", "no", "red")).targets(
        ragged([["no", "red"], ["purple"], [], ["yes", "unheard", "yes"]], tf.string),
        ragged([[1.0, 0.3], [1.0], [], [0.6, 1.0, 0.9]], tf.float32),
    )
    assert targets.dtype == tf.float32
    # An answer outside the table has no place; of one that is given twice the higher score holds.
    expected = [[0, 1, 0.3], [0, 0, 0], [0, 0, 0], [0.9, 0, 0]]
    np.testing.assert_array_equal(targets, np.float32(expected))


def test_an_answer_that_stands_twice_is_refused():
    with pytest.raises(InputError) as raised:
        AnswerTable(("yes", "no", "yes"))
    assert "duplicate answer 'yes'" in one_line(raised)


def test_answer_batches_are_what_fit_takes(files):
    vocabulary = [*SPECIAL_PIECES, "what", "is", "the", "color", "of", "shape", "?"]
    answers = sorted({answer for sentence in SENTENCES for answer, _ in sentence.answers})
    pairs = example_batches(read_records([files["grouped"]]), 16, MAX_REGIONS)
    batches = answer_batches(pairs, LxmertTextPreprocessor(vocabulary, 9), answers)
    inputs, targets = next(iter(batches))
    assert {name: tuple(value.shape) for name, value in inputs.items()} == {
        "token_ids": (16, 9),
        "segment_ids": (16, 9),
        "padding_mask": (16, 9),
        "region_features": (16, MAX_REGIONS, 256),
        "region_boxes": (16, MAX_REGIONS, 4),
        "region_mask": (16, MAX_REGIONS),
    }
    expected = [sentence.answers[0][0] for sentence in SENTENCES[:16]]
    assert [answers[i] for i in targets.numpy().argmax(axis=1)] == expected
    assert targets.numpy().sum() == 16
    assert batches.element_spec[1].shape.as_list() == [None, len(answers)]


def test_the_words_alone_are_read_in_order(files):
    blocks = list(read_sentences([files["grouped"]]))
    texts = [text.decode() for block in blocks for text in block["text"].numpy()]
    assert texts == [sentence.text for sentence in SENTENCES]
    answers = [row[0].decode() for block in blocks for row in block["answers"].to_list()]
    assert answers == [sentence.answers[0][0] for sentence in SENTENCES]


def cut(data: bytes) -> bytes:
    return data[: len(data) // 2]


def flip(data: bytes) -> bytes:
    return data[:5000] + bytes([data[5000] ^ 1]) + data[5001:]


@pytest.mark.parametrize("layout", ["grouped", "gzipped"])
@pytest.mark.parametrize(
    "damage",
    [
        cut,
        flip,
        lambda data: data[:-20],
        lambda data: b"these are no records at all, but a text of some length",
    ],
    ids=["cut in half", "a flipped bit", "the last bytes gone", "a text"],
)
def test_a_damaged_file_is_named(files, tmp_path, layout, damage):
    data = pathlib.Path(files[layout]).read_bytes()
    suffix = ".gz" if layout == "gzipped" else ""
    good, bad = tmp_path / f"good.tfrecord{suffix}", tmp_path / f"bad.tfrecord{suffix}"
    write(good, SCENES[:2], "GZIP" if suffix else "")
    bad.write_bytes(damage(data))
    names = [str(good), str(bad)]
    with pytest.raises(InputError) as raised:
        with naming_damaged_files(names):
            ids(example_batches(read_records(names), 32, MAX_REGIONS))
    assert one_line(raised).startswith(f"{bad}: damaged or cut short: ")


@pytest.mark.parametrize("layout", ["grouped", "gzipped"])
def test_wherever_a_file_is_cut_nothing_wrong_is_read(files, tmp_path, layout):
    # TensorFlow takes a cut between two records, or in the 12 bytes before one, for the end.
    data = pathlib.Path(files[layout]).read_bytes()
    expected = [sentence.id for sentence in SENTENCES]
    path = tmp_path / pathlib.Path(files[layout]).name
    first = 12 + len(encode_scene(SCENES[0])) + 4
    for length in (0, 3, 13, first - 1, first, first + 1, len(data) - 1):
        path.write_bytes(data[:length])
        read = []
        try:
            with naming_damaged_files([str(path)]):
                for batch in example_batches(read_records([str(path)]), 32, MAX_REGIONS):
                    read += ids([batch])
        except InputError as error:
            assert str(error).startswith(f"{path}: damaged or cut short: ")
        assert read == expected[: len(read)]


def test_a_record_that_is_no_scene_is_an_input_error(files, tmp_path):
    path = tmp_path / "other.tfrecord"
    with tf.io.TFRecordWriter(str(path)) as writer:
        writer.write(b"no tf.Example")
    with pytest.raises(InputError) as raised:
        with naming_damaged_files([str(path)]):
            ids(example_batches(read_records([str(path)]), 32, MAX_REGIONS))
    assert str(path) in one_line(raised)


def test_errors_that_are_not_the_files_fault_pass():
    with pytest.raises(ZeroDivisionError):
        with naming_damaged_files(["absent"]):
            raise ZeroDivisionError


def test_gzipped_and_plain_files_are_not_read_together(files):
    with pytest.raises(InputError) as raised:
        read_records([files["grouped"], files["gzipped"]])
    assert "some of the record files are gzipped and some are not" in one_line(raised)


def test_a_plain_file_that_is_called_gz_is_refused(files, tmp_path):
    path = tmp_path / "plain.tfrecord.gz"
    path.write_bytes(pathlib.Path(files["grouped"]).read_bytes())
    with pytest.raises(InputError) as raised:
        with naming_damaged_files([str(path)]):
            ids(example_batches(read_records([str(path)]), 32, MAX_REGIONS))
    assert str(path) in one_line(raised)


def test_gzip_of_another_program_is_read(files, tmp_path):
    path = tmp_path / "recompressed.tfrecord.gz"
    path.write_bytes(gzip.compress(pathlib.Path(files["grouped"]).read_bytes()))
    read = ids(example_batches(read_records([str(path)]), 64, MAX_REGIONS))
    assert read == [sentence.id for sentence in SENTENCES]


def test_an_empty_file_has_no_pairs(tmp_path):
    (tmp_path / "empty.tfrecord").touch()
    names = [str(tmp_path / "empty.tfrecord")]
    assert ids(example_batches(read_records(names), 32, MAX_REGIONS)) == []


def test_records_are_found_by_pattern_and_folder(tmp_path):
    for name in ("b.tfrecord", "a.tfrecord.gz", "data_tfrecord-00000-of-00001.gz", "notes.txt"):
        (tmp_path / name).touch()
    found = [str(tmp_path / name) for name in sorted(
        ("b.tfrecord", "a.tfrecord.gz", "data_tfrecord-00000-of-00001.gz")
    )]  # fmt: skip
    assert find_records(tmp_path) == found
    # What two patterns name is read once.
    assert find_records(tmp_path, str(tmp_path / "b.*")) == found
    assert find_records(str(tmp_path / "*.txt")) == [str(tmp_path / "notes.txt")]
    for pattern in (tmp_path / "absent", tmp_path / "*.csv"):
        with pytest.raises(InputError) as raised:
            find_records(pattern)
        assert f"no files match {pattern}" in one_line(raised)
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="no files match"):
        find_records(tmp_path / "empty")
