"""How Beam's S3 file system reads: with one client, and no more than is needed."""

import io

import pytest
from apache_beam.io.filesystemio import DownloaderStream
from apache_beam.io.filesystems import FileSystems
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.options.value_provider import RuntimeValueProvider

from pipeline.beam import s3_client

SIZE = 4 << 20
CONTENT = bytes(range(256)) * (SIZE // 256)


class Body(io.BytesIO):
    """The body of an answer, as of botocore."""

    @property
    def _raw_stream(self):
        return self


class Bucket:
    """A client of boto3 with one object, which notes the ranges that are requested."""

    def __init__(self):
        self.ranges = []

    def head_object(self, **_):
        return {"ETag": "", "LastModified": 0, "ContentLength": SIZE, "ContentType": ""}

    def get_object(self, Range, **_):
        first, last = Range.removeprefix("bytes=").split("-")
        self.ranges.append(Range)
        return {"Body": Body(CONTENT[int(first) : int(last or SIZE) + 1])}


@pytest.fixture
def made(monkeypatch):
    """The clients of boto3 that were made."""
    made = []

    def make(client, options):
        client.client = Bucket()
        made.append(client.client)

    pytest.importorskip("boto3", reason="needs apache-beam[aws]")
    monkeypatch.setattr(s3_client.BeamClient, "__init__", make)
    s3_client._boto3_client.cache_clear()
    yield made
    s3_client._boto3_client.cache_clear()


def test_all_operations_use_one_client_until_the_settings_change(made, monkeypatch):
    monkeypatch.setattr(FileSystems, "_pipeline_options", PipelineOptions([]))
    for _ in range(3):
        assert FileSystems.exists("s3://data/x")
        FileSystems.open("s3://data/x")
    assert len(made) == 1
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://another.example")
    assert FileSystems.exists("s3://data/x") and len(made) == 2
    options = PipelineOptions(["--s3_region_name=elsewhere"])
    monkeypatch.setattr(FileSystems, "_pipeline_options", options)
    assert FileSystems.exists("s3://data/x") and len(made) == 3


def test_options_are_those_of_the_worker_if_the_job_has_set_none(made, monkeypatch):
    monkeypatch.setattr(FileSystems, "_pipeline_options", None)
    # As in Dask's workers.
    monkeypatch.setattr(RuntimeValueProvider, "runtime_options", None)
    assert FileSystems.exists("s3://data/x")
    # As in the workers of other runners.
    options = {"s3_region_name": "elsewhere"}
    monkeypatch.setattr(RuntimeValueProvider, "runtime_options", options)
    assert FileSystems.get_filesystem("s3://data/x")._options == options
    assert FileSystems.exists("s3://data/x") and len(made) == 2


@pytest.fixture
def stream(made, monkeypatch):
    monkeypatch.setattr(FileSystems, "_pipeline_options", PipelineOptions([]))
    with FileSystems.open("s3://data/x") as file:
        assert isinstance(file.raw, DownloaderStream)
        yield file


def test_an_object_is_read_as_it_is_with_few_requests(stream, made):
    assert b"".join(iter(lambda: stream.read1(1 << 18), b"")) == CONTENT
    assert made[0].ranges == ["bytes=0-262143", "bytes=262144-"]
    stream.seek(0)
    assert stream.read() == CONTENT
    assert len(made[0].ranges) == 4


def test_of_other_places_only_the_bytes_are_requested(stream, made):
    for start in (700, 3, 90_000):
        stream.raw.seek(start)
        assert stream.raw.read(100) == CONTENT[start : start + 100]
    assert made[0].ranges == ["bytes=700-799", "bytes=3-102", "bytes=90000-90099"]


def test_the_first_bytes_do_not_cost_the_whole_buffer(stream, made):
    assert stream.read(3) == CONTENT[:3]
    assert made[0].ranges == [f"bytes=0-{s3_client.FIRST_BYTES - 1}"]
