"""Ingestion from a bucket into a bucket, on a server that speaks S3 over HTTP."""

import os

import pytest

from lxmert_tf import stored_folder
from lxmert_tf.errors import GateError, InputError
from pipeline.ingest.job import run_ingest
from pipeline.ingest.output_folder import output_folder
from tests.pipeline.ingest.bucket import BUCKET, SECRET, bucket_config, objects
from tests.pipeline.ingest.job_files import contents

pytestmark = pytest.mark.slow


def test_a_bucket_gets_the_bytes_of_a_folder_and_nothing_else(bucket, tmp_path):
    local = run_ingest(bucket_config(), tmp_path / "out")
    assert local["sentences"] == {"read": 18, "written": 16, "rejected": 2}
    # What a job that was killed has left.
    for name in (".unfinished", "work/old.regions", "scenes-00000-of-00009.tfrecord"):
        bucket.put_object(Bucket=BUCKET, Key=f"out/{name}", Body=b"half")
    assert run_ingest(bucket_config(), f"s3://{BUCKET}/out/") == local
    assert objects(bucket, "out/") == contents(tmp_path / "out")
    with pytest.raises(InputError, match=f"s3://{BUCKET}/out: already exists; choose a new URL"):
        run_ingest(bucket_config(), f"s3://{BUCKET}/out")
    assert objects(bucket, "out/") == contents(tmp_path / "out")


def test_rejects_of_a_failure_are_kept_until_an_ingestion_succeeds(bucket):
    output = f"s3://{BUCKET}/out"
    with pytest.raises(GateError, match=f"sentences rejected: 2 of 18, .*; see {output}-rejected"):
        run_ingest(bucket_config(max_reject_fraction=0.0), output)
    assert not objects(bucket, "out/")
    kept = objects(bucket, "out-rejected/")
    assert "rejects-summary.json" in kept and ".unfinished" not in kept
    run_ingest(bucket_config(), output)
    assert not objects(bucket, "out-rejected/")


def test_a_folder_is_unfinished_until_the_end_and_gone_after_an_error(bucket):
    url = f"s3://{BUCKET}/new"
    with pytest.raises(RuntimeError, match="killed"), output_folder(url):
        bucket.put_object(Bucket=BUCKET, Key="new/scenes", Body=b"half")
        assert set(objects(bucket, "new/")) == {".unfinished", "scenes"}
        raise RuntimeError("killed")
    assert not objects(bucket, "new/")


def test_a_second_job_into_a_folder_is_refused_and_changes_nothing(bucket, monkeypatch):
    monkeypatch.setattr(stored_folder, "BEAT", 0.1)
    url = f"s3://{BUCKET}/new"
    with output_folder(url) as folder:
        bucket.put_object(Bucket=BUCKET, Key="new/scenes", Body=b"whole")
        with pytest.raises(InputError, match="another process is writing it"), output_folder(url):
            raise AssertionError("the second job has begun")
        assert folder.path_of("scenes") == f"{url}/scenes"
    assert objects(bucket, "new/") == {"scenes": b"whole"}


def test_a_job_whose_folder_was_taken_leaves_it_to_the_other(bucket):
    url = f"s3://{BUCKET}/new"
    with pytest.raises(InputError, match=r"another process is writing it \(far, process 7\)"):
        with output_folder(url):
            mark = b"written by far, process 7, id; sign of life 1"
            bucket.put_object(Bucket=BUCKET, Key="new/.unfinished", Body=mark)
            bucket.put_object(Bucket=BUCKET, Key="new/scenes", Body=b"theirs")
            raise RuntimeError("the other one has removed my files")
    assert set(objects(bucket, "new/")) == {".unfinished", "scenes"}


def test_files_of_another_job_fail_the_job(bucket):
    url = f"s3://{BUCKET}/new"
    with pytest.raises(InputError, match="another process has changed it"), output_folder(url):
        bucket.put_object(Bucket=BUCKET, Key="new/scenes", Body=b"theirs")
    assert not objects(bucket, "new/")


def test_a_folder_that_another_job_has_just_finished_stays(bucket, monkeypatch):
    bucket.put_object(Bucket=BUCKET, Key="new/scenes", Body=b"theirs")
    monkeypatch.setattr("pipeline.ingest.output_folder.check_output", lambda path, marker: None)
    with pytest.raises(InputError, match="already exists"), output_folder(f"s3://{BUCKET}/new"):
        raise AssertionError("the folder was taken")
    assert objects(bucket, "new/") == {"scenes": b"theirs"}


def test_a_bucket_that_does_not_exist_is_one_line_without_credentials(bucket):
    with pytest.raises(InputError) as caught:
        run_ingest(bucket_config(), "s3://nowhere/out")
    assert str(caught.value).startswith("s3://nowhere/out")
    assert len(str(caught.value).splitlines()) == 1
    assert SECRET not in str(caught.value) and SECRET in os.environ["AWS_SECRET_ACCESS_KEY"]
