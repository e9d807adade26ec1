"""Facts about the training data, and when the records have to be read for them."""

import collections
import pathlib

import pytest

from lxmert_tf.data import schema
from lxmert_tf.data.batches import read_records
from lxmert_tf.errors import InputError
from lxmert_tf.training import dataset_info
from lxmert_tf.training.config import FinetuningConfig
from lxmert_tf.training.dataset_info import DatasetInfo, kept_dataset_info, read_dataset_info
from tests.lxmert_tf.samples import one_line

CONFIG = FinetuningConfig(vocabulary_size=120)


@pytest.fixture
def named(tmp_path) -> FinetuningConfig:
    """A configuration with a vocabulary and an answer table."""
    (tmp_path / "vocab.txt").write_text("[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\nred\n")
    (tmp_path / "answers.txt").write_text("yes\nno\n")
    return FinetuningConfig(
        vocabulary=str(tmp_path / "vocab.txt"), answers=str(tmp_path / "answers.txt")
    )


@pytest.fixture
def never_scanned(monkeypatch):
    def refuse(files):
        raise AssertionError("the records were scanned")

    monkeypatch.setattr(dataset_info, "read_sentences", refuse)


def test_vocabulary_answers_and_count_are_those_of_the_records(files):
    scenes = [schema.decode_scene(record.numpy()) for record in read_records(files)]
    sentences = [sentence for scene in scenes for sentence in scene.sentences]
    counts = collections.Counter(text for s in sentences for text, _ in s.answers)
    info = read_dataset_info(files, CONFIG)
    assert info.sentences == len(sentences)
    assert info.answers == sorted(counts, key=lambda answer: (-counts[answer], answer))
    assert {"what", "color", "shape", "?"} <= set(info.vocabulary)
    # The order of the files does not matter.
    assert read_dataset_info(files[::-1], CONFIG) == info


def test_nothing_is_scanned_where_files_and_the_summary_know(files, named, never_scanned):
    info = read_dataset_info(files, named)
    assert info.vocabulary[-1] == "red" and info.answers == ["yes", "no"]
    assert info.sentences > 100
    of_preset = FinetuningConfig(init_from="preset")
    assert read_dataset_info(files, of_preset, needs_answers=False).sentences == info.sentences
    with pytest.raises(AssertionError, match="scanned"):
        read_dataset_info(files, of_preset)
    with pytest.raises(AssertionError, match="scanned"):
        read_dataset_info(files, CONFIG)


def test_without_a_summary_sentences_are_counted(files, named, monkeypatch):
    counted = read_dataset_info(files[:1], named).sentences
    assert 0 < counted < read_dataset_info(files, named).sentences


def test_a_run_keeps_its_dataset_info(tmp_path):
    assert kept_dataset_info(tmp_path) is None
    info = DatasetInfo({"train": 3}, ["[PAD]", "étoile", "\u2028"], ["yes"])
    info.save(tmp_path)
    assert kept_dataset_info(tmp_path) == info


def test_the_dataset_info_of_an_older_version_is_refused(tmp_path):
    (tmp_path / "dataset.json").write_text('{"sentences": 3, "vocabulary": [], "answers": []}')
    with pytest.raises(InputError) as caught:
        kept_dataset_info(tmp_path)
    file = tmp_path / "dataset.json"
    assert str(caught.value) == (
        f"{file}: written by an older version; begin a run in another directory"
    )


def test_records_without_sentences_are_refused(tmp_path, named):
    (tmp_path / "scenes.tfrecord").touch()
    with pytest.raises(InputError) as raised:
        read_dataset_info([str(tmp_path / "scenes.tfrecord")], named)
    assert one_line(raised).endswith("(of 1): no sentences to train on")


def test_missing_records_are_noticed_by_a_scan(files, tmp_path, named):
    folder = pathlib.Path(files[0]).parent
    (tmp_path / "part.tfrecord").write_bytes(pathlib.Path(files[0]).read_bytes())
    (tmp_path / "ingest-summary.json").write_bytes((folder / "ingest-summary.json").read_bytes())
    records = [str(tmp_path / "part.tfrecord")]
    # Without a scan that is noticed at the end of the first epoch, see test_trainer.py.
    assert read_dataset_info(records, named).sentences
    with pytest.raises(InputError, match="cut short or missing"):
        dataset_info.check_all_records(records)
    with pytest.raises(InputError, match="cut short or missing"):
        read_dataset_info(records, CONFIG)
