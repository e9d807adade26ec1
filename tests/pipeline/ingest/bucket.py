"""What is in the bucket of the fixture `bucket`, and how to ingest it."""

from pipeline.ingest.config import IngestConfig
from tests.pipeline.ingest.job_files import config_of

BUCKET = "data"
SECRET = "not-to-be-shown"


def objects(client, prefix: str) -> dict[str, bytes]:
    """The objects below a prefix, by the rest of their names."""
    listed = client.list_objects_v2(Bucket=BUCKET, Prefix=prefix).get("Contents", [])
    return {
        item["Key"][len(prefix) :]: client.get_object(Bucket=BUCKET, Key=item["Key"])["Body"].read()
        for item in listed
    }


def bucket_config(**options) -> IngestConfig:
    given = {"max_reject_fraction": 0.5, "min_answer_count": 2, **options}
    return config_of([f"s3://{BUCKET}/in/*.tsv"], [f"s3://{BUCKET}/in/questions.json"], **given)
