"""A bucket on a server that speaks S3 over HTTP, which the environment names to Beam."""

import pytest

from pipeline.beam.shared_files import use_options
from tests.pipeline.ingest.bucket import BUCKET, SECRET, objects
from tests.pipeline.ingest.job_files import write_questions, write_regions


@pytest.fixture(scope="session")
def s3():
    """A client of the server."""
    boto3 = pytest.importorskip("boto3", reason="needs apache-beam[aws]")
    server = pytest.importorskip("moto.server", reason="needs moto[server]")
    running = server.ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    running.start()
    host, port = running.get_host_and_port()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ENDPOINT_URL", f"http://{host}:{port}")
        patch.setenv("AWS_ACCESS_KEY_ID", "id")
        patch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
        patch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        # As a job does first.
        use_options([])
        yield boto3.client("s3")
    running.stop()


@pytest.fixture
def bucket(s3, tmp_path):
    """The client; the bucket holds regions of eight images and their questions in `in/`."""
    s3.create_bucket(Bucket=BUCKET)
    ids = [f"i{n}" for n in range(8)]
    paths = [write_regions(tmp_path / f"{n}.tsv", ids[n::4]) for n in range(4)]
    for path in (*paths, write_questions(tmp_path / "questions.json", [*ids, "missing"])):
        s3.upload_file(str(path), BUCKET, f"in/{path.name}")
    yield s3
    for key in objects(s3, ""):
        s3.delete_object(Bucket=BUCKET, Key=key)
    s3.delete_bucket(Bucket=BUCKET)
