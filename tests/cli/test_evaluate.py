"""`lxmert evaluate`: what it counts, and every kind of bad record file."""

import re
import shutil

import pytest
import tensorflow as tf

from lxmert_tf.data import schema
from lxmert_tf.data.batches import find_records, read_records

COUNT = "regions/count does not fit the length of regions/features"


@pytest.fixture
def records(tiny):
    return [record.numpy() for record in read_records(find_records(tiny.flat))]


def write(path, records):
    with tf.io.TFRecordWriter(str(path)) as writer:
        for record in records:
            writer.write(record)
    return path


def accuracy_of(stdout):
    """{question type: (questions, accuracy)} of the printed table."""
    rows = re.findall(r"│ (\w+) +│ +([\d,]+) +│ +([\d.]+%) +│", stdout)
    return {kind: (int(count), share) for kind, count, share in rows}


def test_accuracy_is_that_of_counting_by_hand(lxmert, tiny, records):
    outcome = lxmert("evaluate", "--model", tiny.preset, "--examples", tiny.flat)
    assert (outcome.status, outcome.stderr) == (0, "")
    signature = tf.saved_model.load(str(tiny.saved_model)).signatures["serve_examples"]
    answers = signature(examples=tf.constant(records))["answers"].numpy()[:, 0]
    right = {"all": []}
    for record, answer in zip(records, answers):
        [sentence] = schema.decode_scene(record).sentences
        score = dict(sentence.answers).get(answer.decode(), 0.0)
        right.setdefault(sentence.question_type, []).append(score)
        right["all"].append(score)
    expected = {kind: (len(s), f"{sum(s) / len(s):.2%}") for kind, s in right.items()}
    assert accuracy_of(outcome.stdout) == expected
    # Something must be right and something wrong, or this would hold of a constant.
    assert 0 < sum(right["all"]) < len(records)


def test_grouped_and_flat_records_give_the_same_table(lxmert, tiny):
    flat, grouped = (
        lxmert("evaluate", "--model", tiny.preset, "--examples", folder).stdout
        for folder in (tiny.flat, tiny.grouped)
    )
    assert accuracy_of(flat)
    assert accuracy_of(flat) == accuracy_of(grouped)


def test_truncated_record_file_is_named(refused, tiny, records, tmp_path):
    good = write(tmp_path / "a.tfrecord", records)
    cut = tmp_path / "b.tfrecord"
    cut.write_bytes(good.read_bytes()[:-10])
    line = refused("evaluate", "--model", tiny.preset, "--examples", good, cut)
    assert f"{cut}: damaged or cut short" in line


def test_flipped_byte_in_a_record_file_is_found(refused, tiny, records, tmp_path):
    path = write(tmp_path / "a.tfrecord", records)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    line = refused("evaluate", "--model", tiny.preset, "--examples", path)
    assert f"{path}: damaged or cut short" in line


def test_missing_record_file_is_refused(refused, tiny, tmp_path):
    line = refused("evaluate", "--model", tiny.preset, "--examples", tmp_path / "*.tfrecord")
    assert "no record file is named so" in line


@pytest.mark.parametrize("extra", [1, -1])
def test_count_that_is_not_what_the_record_holds_is_refused(
    refused, tiny, records, tmp_path, extra
):
    example = tf.train.Example.FromString(records[3])
    example.features.feature[schema.REGION_COUNT].int64_list.value[0] += extra
    records[3] = example.SerializeToString()
    path = write(tmp_path / "a.tfrecord", records)
    line = refused("evaluate", "--model", tiny.preset, "--examples", path)
    assert line.startswith(f"lxmert evaluate: {path} ")
    assert COUNT in line


def test_more_regions_than_max_regions_are_refused(refused, tiny):
    line = refused("evaluate", "--model", tiny.preset, "--examples", tiny.flat, "--max-regions", 2)
    assert "an image has more regions than max_regions = 2" in line


def test_bytes_that_are_no_scene_are_refused(refused, tiny, tmp_path):
    path = write(tmp_path / "a.tfrecord", [b"no scene"])
    assert str(path) in refused("evaluate", "--model", tiny.preset, "--examples", path)


def test_empty_record_file_is_refused(refused, tiny, tmp_path):
    path = write(tmp_path / "a.tfrecord", [])
    line = refused("evaluate", "--model", tiny.preset, "--examples", path)
    assert f"{path}: no questions in it" in line


def test_missing_preset_is_refused(refused, tiny, tmp_path):
    line = refused("evaluate", "--model", tmp_path / "none", "--examples", tiny.flat)
    assert f"{tmp_path / 'none'}: no such directory; a preset is one" in line


def test_preset_with_an_unknown_size_is_refused(refused, tiny, tmp_path):
    preset = tmp_path / "preset"
    shutil.copytree(tiny.preset, preset)
    config = preset / "config.json"
    config.write_text(config.read_text().replace('"hidden_size"', '"hiden_size"'))
    line = refused("evaluate", "--model", preset, "--examples", tiny.flat)
    assert f"{config}: unknown key 'hiden_size'; did you mean 'hidden_size'?" in line
