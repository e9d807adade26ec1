"""Records at URLs, with the memory of fsspec in place of a cloud."""

import json
import os

import pytest
import tensorflow as tf

from lxmert_tf import local_copy, storage
from lxmert_tf.data.batches import find_records, naming_damaged_files, read_records
from lxmert_tf.data.sidecars import count_ingested_sentences, read_extractor
from lxmert_tf.errors import InputError
from lxmert_tf.stored_folder import upload_directory

fsspec = pytest.importorskip("fsspec")

SHARDS = 5


@pytest.fixture
def url(request, tmp_path, monkeypatch):
    """Put shards of numbered records and their sidecars into memory; return their folder."""
    monkeypatch.setenv("LXMERT_CACHE", str(tmp_path / "cache"))
    folder = f"memory://{request.node.originalname}"
    local = tmp_path / "local"
    local.mkdir()
    for shard in range(SHARDS):
        with tf.io.TFRecordWriter(str(local / f"r.tfrecord-{shard}")) as writer:
            for number in range(10):
                writer.write(f"{shard}.{number}")
    (local / "ingest-summary.json").write_text(json.dumps({"sentences": {"written": 50}}))
    (local / "extractor.json").write_text(json.dumps({"name": "grid"}))
    upload_directory(local, folder)
    yield folder
    storage.remove(folder)


def read(files) -> list[str]:
    return [record.decode() for record in read_records(files).as_numpy_iterator()]


def test_records_at_a_url_come_in_the_order_of_local_ones(url, tmp_path):
    files = find_records(url)
    assert files == [f"{url}/r.tfrecord-{shard}" for shard in range(SHARDS)]
    assert files == find_records(f"{url}/*") == find_records(f"{url}/r*", f"{url}/*-3")
    assert read(files) == read(find_records(tmp_path / "local"))
    # Some here and some there.
    mixed = [files[0], *find_records(tmp_path / "local" / "*-1")]
    assert read(mixed) == read(files)[:20]


def test_an_epoch_downloads_each_shard_once_and_the_next_ones_none(url, monkeypatch):
    fetched = []
    download = storage.download
    monkeypatch.setattr(
        storage, "download", lambda path, to: (fetched.append(path), download(path, to))
    )
    files = find_records(url)
    assert len(read(files)) == 10 * SHARDS and sorted(fetched) == files
    assert read(files) == read(files) and len(fetched) == SHARDS


def test_without_room_no_copy_outlives_its_reading(url, monkeypatch, tmp_path):
    monkeypatch.setattr(local_copy, "LEAST_FREE", 1)
    files = find_records(url)
    assert len(read(files)) == 10 * SHARDS
    kept = [name for *_, names in os.walk(tmp_path / "cache") for name in names]
    assert kept == []


def test_what_lies_beside_records_is_read(url):
    files = find_records(url)
    assert count_ingested_sentences(files) == 50
    assert count_ingested_sentences(files[1:]) is None
    assert read_extractor(files) == {"name": "grid"}


def test_a_missing_or_damaged_shard_is_named(url, tmp_path):
    with pytest.raises(InputError, match=f"no files match {url}/none"):
        find_records(f"{url}/none*")
    (tmp_path / "cut").write_bytes(storage.read_bytes(f"{url}/r.tfrecord-2")[:-3])
    storage.upload(tmp_path / "cut", f"{url}/r.tfrecord-2")
    files = find_records(url)
    with pytest.raises(InputError, match=f"{url}/r.tfrecord-2: damaged or cut short"):
        with naming_damaged_files(files):
            read(files)
