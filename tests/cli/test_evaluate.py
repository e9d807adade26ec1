"""`lxmert evaluate`: its accuracy, and records and presets that it refuses."""

import json
import re
import shutil

import pytest
import tensorflow as tf

from lxmert_tf.data import schema
from lxmert_tf.data.batches import find_records, read_records
from lxmert_tf.serving.session import SavedModelSession

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
    """Return {question type: (questions, accuracy)} of the printed table."""
    rows = re.findall(r"│ (\w+) +│ +([\d,]+) +│ +([\d.]+%) +│", stdout)
    return {kind: (int(count), share) for kind, count, share in rows}


@pytest.mark.slow
def test_accuracy_is_that_of_counting_by_hand(lxmert, tiny, records):
    outcome = lxmert("evaluate", "--model", tiny.preset, "--examples", tiny.flat)
    assert (outcome.status, outcome.stderr) == (0, "")
    session = SavedModelSession(tiny.saved_model)
    answers = session.run("serve_examples", {"examples": records})["answers"][:, 0]
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


@pytest.mark.slow
def test_records_of_another_extractor_than_the_models_are_told(lxmert, tiny, tmp_path):
    shutil.copytree(tiny.preset, tmp_path / "preset")
    about = json.loads((tmp_path / "preset/preset.json").read_text())
    about["extractor"]["working_size"] = 99
    # The default is no reason for a note.
    about["extractor"]["geometry"] = False
    (tmp_path / "preset/preset.json").write_text(json.dumps(about))
    examples = ("--model", "preset", "--examples", tiny.flat)
    expected = "the model was trained with (working_size), so its answers may be worse\n"
    for command in (("evaluate",), ("predict", "--task", "vqa", "--output", "answers.json")):
        outcome = lxmert(*command, *examples)
        assert outcome.status == 0, outcome
        assert outcome.stderr.startswith(f"{tiny.flat}: the regions were computed with other")
        assert outcome.stderr.endswith(expected) and outcome.stderr.count("\n") == 1


def test_flipped_byte_in_a_record_file_is_found(refused, tiny, records, tmp_path):
    path = write(tmp_path / "a.tfrecord", records)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    line = refused("evaluate", "--model", tiny.preset, "--examples", path)
    assert f"{path}: damaged or cut short" in line


def test_missing_record_file_is_refused(refused, tiny, tmp_path):
    line = refused("evaluate", "--model", tiny.preset, "--examples", tmp_path / "*.tfrecord")
    assert "no files match" in line


def test_a_wrong_region_count_in_a_record_is_refused(refused, tiny, records, tmp_path):
    example = tf.train.Example.FromString(records[3])
    example.features.feature[schema.REGION_COUNT].int64_list.value[0] += 1
    records[3] = example.SerializeToString()
    path = write(tmp_path / "a.tfrecord", records)
    line = refused("evaluate", "--model", tiny.preset, "--examples", path)
    assert line.startswith(f"lxmert evaluate: {path} ")
    assert COUNT in line


def test_more_regions_than_max_regions_are_refused(refused, tiny):
    line = refused("evaluate", "--model", tiny.preset, "--examples", tiny.flat, "--max-regions", 2)
    assert (
        "regions, more than max_regions = 2; set max_regions in the configuration, or --max-reg"
        in line
    )


def test_missing_preset_is_refused(refused, tiny, tmp_path):
    line = refused("evaluate", "--model", tmp_path / "none", "--examples", tiny.flat)
    assert f"preset not found: {tmp_path / 'none'}" in line


@pytest.mark.parametrize("option", ["--batch-size", "--max-regions"])
@pytest.mark.parametrize("value", ["0", "-5", "many"])
def test_invalid_counts_are_refused(lxmert, option, value):
    outcome = lxmert("evaluate", "--model", "preset", "--examples", "records", f"{option}={value}")
    assert outcome.status == 2
    assert f"{option}: '{value}' must be an integer of at least 1" in outcome.stderr


def test_results_are_for_records_and_go_into_a_folder(refused, tiny, tmp_path):
    argv = ("evaluate", "--model", tiny.preset, "--examples", tiny.flat, "--results")
    line = refused(*argv, tmp_path, "--task", "vqa", "--annotations", "annotations.json")
    assert "--results is for the accuracy on records, without --task" in line
    (tmp_path / "file").touch()
    assert f"{tmp_path}/file: File exists" in refused(*argv, tmp_path / "file")
    line = refused("evaluate", "--predictions", "a.json", "--results", tmp_path)
    assert "--predictions cannot be combined with" in line
