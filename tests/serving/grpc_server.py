"""A gRPC server in this process, with the methods of TensorFlow Serving."""

import concurrent.futures
import contextlib

import grpc
import tensorflow as tf
from google.protobuf import any_pb2
from tensorflow_serving.apis import (
    get_model_metadata_pb2,
    predict_pb2,
    prediction_service_pb2_grpc,
)

from tests.serving.rest import NAME


class Servicer(prediction_service_pb2_grpc.PredictionServiceServicer):
    """Predict of TensorFlow Serving, on a SavedModel in this process."""

    def __init__(self, session):
        self._session = session
        self.specs = []

    def Predict(self, request, context):
        self.specs.append(request.model_spec)
        if request.model_spec.name != NAME:
            context.abort(grpc.StatusCode.NOT_FOUND, "Servable not found\nfor request")
        response = predict_pb2.PredictResponse()
        inputs = {k: tf.make_ndarray(v) for k, v in request.inputs.items()}
        for name, array in self._session.run(request.model_spec.signature_name, inputs).items():
            response.outputs[name].CopyFrom(tf.make_tensor_proto(array))
        return response


class SignaturesServicer(Servicer):
    """Predict and GetModelMetadata of TensorFlow Serving."""

    def Predict(self, request, context):
        name = request.model_spec.signature_name
        if name not in self._session.specs:
            context.abort(grpc.StatusCode.INVALID_ARGUMENT, f'signature key "{name}" not found.')
        return super().Predict(request, context)

    def GetModelMetadata(self, request, context):
        signatures = get_model_metadata_pb2.SignatureDefMap(
            signature_def=self._session.signature_defs
        )
        response = get_model_metadata_pb2.GetModelMetadataResponse()
        packed = any_pb2.Any()
        packed.Pack(signatures)
        response.metadata["signature_def"].CopyFrom(packed)
        return response


@contextlib.contextmanager
def running_grpc(servicer):
    """Serve with a servicer, and yield HOST:PORT."""
    server = grpc.server(concurrent.futures.ThreadPoolExecutor(2))
    prediction_service_pb2_grpc.add_PredictionServiceServicer_to_server(servicer, server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        yield f"127.0.0.1:{port}"
    finally:
        server.stop(None)
