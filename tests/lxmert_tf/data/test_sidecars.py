"""A folder's summary shows when records are missing."""

import json

import pytest

from lxmert_tf.data.batches import find_records
from lxmert_tf.data.schema import encode_scene
from lxmert_tf.data.sidecars import check_sentence_count
from lxmert_tf.errors import InputError
from lxmert_tf.training.config import FinetuningConfig
from lxmert_tf.training.dataset_info import read_dataset_info
from tests.lxmert_tf.samples import easy_vqa_scenes, one_line, write_records

SCENES = easy_vqa_scenes(6)
SENTENCES = sum(len(scene.sentences) for scene in SCENES)


@pytest.fixture
def folder(tmp_path):
    for number in range(2):
        write_records(tmp_path / f"scenes-{number}.tfrecord", SCENES[number::2])
    summary = {"sentences": {"read": SENTENCES + 3, "written": SENTENCES, "rejected": 3}}
    (tmp_path / "ingest-summary.json").write_text(json.dumps(summary))
    return tmp_path


def sentences(files) -> int:
    return read_dataset_info(files, FinetuningConfig(vocabulary_size=100)).sentences


def test_a_whole_folder_passes(folder):
    assert sentences(find_records(folder)) == SENTENCES


def test_a_file_that_was_cut_between_two_records_is_missed(folder):
    path = folder / "scenes-1.tfrecord"
    last = len(encode_scene(SCENES[1::2][-1])) + 16
    path.write_bytes(path.read_bytes()[:-last])
    with pytest.raises(InputError) as raised:
        sentences(find_records(folder))
    left = SENTENCES - len(SCENES[1::2][-1].sentences)
    assert one_line(raised).startswith(f"{folder}: sentences read: {left}, ")
    assert f"ingest-summary.json: {SENTENCES}; a record file" in one_line(raised)


def test_a_file_that_is_gone_is_missed(folder):
    (folder / "scenes-0.tfrecord").unlink()
    with pytest.raises(InputError, match="cut short or missing"):
        sentences(find_records(folder))


def test_of_some_files_of_a_folder_nothing_is_asked(folder):
    names = find_records(folder / "scenes-0*")
    assert sentences(names) == sum(len(scene.sentences) for scene in SCENES[::2])


def test_records_without_a_summary_are_read(folder):
    (folder / "ingest-summary.json").unlink()
    (folder / "scenes-0.tfrecord").unlink()
    assert sentences(find_records(folder)) < SENTENCES


def test_folders_are_added_up(folder, tmp_path_factory):
    other = tmp_path_factory.mktemp("other")
    write_records(other / "scenes-0.tfrecord", SCENES[:1])
    count = len(SCENES[0].sentences)
    (other / "ingest-summary.json").write_text(json.dumps({"sentences": {"written": count}}))
    files = find_records(folder, other)
    check_sentence_count(files, SENTENCES + count)
    with pytest.raises(InputError) as raised:
        check_sentence_count(files, SENTENCES)
    assert str(folder) in one_line(raised) and str(other) in one_line(raised)


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"sentences": 3}', '{"sentences": {"written": "3"}}', '"x"']
)
def test_a_summary_that_says_nothing_is_named(folder, text):
    (folder / "ingest-summary.json").write_text(text)
    with pytest.raises(InputError) as raised:
        check_sentence_count(find_records(folder), SENTENCES)
    assert str(folder / "ingest-summary.json") in one_line(raised)
