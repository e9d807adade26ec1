"""Files of records are those of TensorFlow, and workers do without it."""

import os
import subprocess
import sys

import pytest
import tensorflow as tf

from pipeline.ingest.tfrecord import write_record


def test_the_file_is_that_of_tensorflow(tmp_path):
    records = [b"", b"a", bytes(range(256)) * 300]
    with (tmp_path / "ours").open("wb") as file:
        for record in records:
            write_record(file, record)
    with tf.io.TFRecordWriter(str(tmp_path / "theirs")) as writer:
        for record in records:
            writer.write(record)
    assert (tmp_path / "ours").read_bytes() == (tmp_path / "theirs").read_bytes()


@pytest.mark.slow
def test_the_job_does_not_import_tensorflow():
    code = "import sys, pipeline.ingest.job; sys.exit('tensorflow' in sys.modules)"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    subprocess.run([sys.executable, "-c", code], check=True, env=environment)
