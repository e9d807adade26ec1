"""The warm-up beside an export: messages that TensorFlow Serving reads, and requests that run."""

import numpy as np
import pytest
import tensorflow as tf
from tensorflow_serving.apis import prediction_log_pb2

from lxmert_tf.serving.warmup import write_warmup


@pytest.fixture(scope="module")
def requests(keras_model, tmp_path_factory):
    folder = tmp_path_factory.mktemp("warmup")
    write_warmup(folder, keras_model)
    # The place and the form that TensorFlow Serving looks for.
    file = folder / "assets.extra" / "tf_serving_warmup_requests"
    logs = [
        prediction_log_pb2.PredictionLog.FromString(record.numpy())
        for record in tf.data.TFRecordDataset(str(file))
    ]
    assert {log.WhichOneof("log_type") for log in logs} == {"predict_log"}
    return [log.predict_log.request for log in logs]


def test_every_signature_is_warmed_up(requests, signatures):
    assert {r.model_spec.signature_name for r in requests} == set(signatures)


def test_every_request_runs_and_its_outputs_are_finite(requests, signatures):
    for request in requests:
        inputs = {k: tf.constant(tf.make_ndarray(v)) for k, v in request.inputs.items()}
        outputs = signatures[request.model_spec.signature_name](**inputs)
        for tensor in outputs.values():
            assert len(tensor) > 0
            assert tensor.dtype == tf.string or np.isfinite(tensor.numpy()).all()


def test_a_server_that_batches_can_run_them_too(requests):
    # It wants one number of rows in all inputs of a request, and loads no model that fails this.
    for request in requests:
        assert len({v.tensor_shape.dim[0].size for v in request.inputs.values()}) == 1
