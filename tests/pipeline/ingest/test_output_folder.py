"""URLs that no job can write are refused in one line, before anything is done."""

import importlib.util

import pytest

from lxmert_tf.errors import InputError
from pipeline.ingest.job import run_ingest
from tests.pipeline.ingest.job_files import config_of


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("nowhere://a/b", "nowhere://a/b: Beam has no file system for nowhere://; install it"),
        pytest.param(
            "s3://a/b",
            "s3://a/b: needs the package 'boto3': pip install 'apache-beam[aws]'",
            marks=pytest.mark.skipif(
                importlib.util.find_spec("boto3") is not None, reason="boto3 is installed"
            ),
        ),
        ("s3://id:key@a/b", r"s3://\*\*\*@a/b: a URL must not hold credentials"),
    ],
)
def test_a_url_that_beam_cannot_write_is_one_line(url, message):
    with pytest.raises(InputError, match=message.replace("[", r"\[")) as caught:
        run_ingest(config_of(["missing.tsv"], ["missing.json"]), url)
    assert len(str(caught.value).splitlines()) == 1
