"""Warm-up requests of an export: TensorFlow Serving can read them, and they run."""

import numpy as np
import pytest
import tensorflow as tf
from tensorflow_serving.apis import prediction_log_pb2


@pytest.fixture(scope="module")
def requests(tiny):
    # The path and the format that TensorFlow Serving reads.
    file = tiny.saved_model / "assets.extra" / "tf_serving_warmup_requests"
    logs = [
        prediction_log_pb2.PredictionLog.FromString(record.numpy())
        for record in tf.data.TFRecordDataset(str(file))
    ]
    assert {log.WhichOneof("log_type") for log in logs} == {"predict_log"}
    return [log.predict_log.request for log in logs]


def test_every_signature_is_warmed_up(requests, session):
    assert {r.model_spec.signature_name for r in requests} == set(session.specs)


def test_every_request_runs_and_its_outputs_are_finite(requests, session):
    for request in requests:
        inputs = {k: tf.make_ndarray(v) for k, v in request.inputs.items()}
        outputs = session.run(request.model_spec.signature_name, inputs)
        for array in outputs.values():
            assert len(array) > 0
            assert array.dtype == object or np.isfinite(array).all()


def test_a_server_that_batches_can_run_them_too(requests):
    # It wants one number of rows in all inputs of a request, and loads no model that fails this.
    for request in requests:
        assert len({v.tensor_shape.dim[0].size for v in request.inputs.values()}) == 1
