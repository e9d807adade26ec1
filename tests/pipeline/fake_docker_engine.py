"""A fake of the Docker engine and TensorFlow Serving's image, as far as InfraValidator uses them.

It implements the engine's HTTP interface (docs.docker.com/reference/api/engine). Its containers are
gRPC servers of the mounted model.
"""

import contextlib
import http.server
import json
import pathlib
import re
import socketserver
import tempfile
import threading
from concurrent import futures

import grpc
import tensorflow as tf
import tensorflow_text  # noqa: F401  (registers the SavedModel's ops)
from tensorflow_serving.apis import (
    get_model_status_pb2,
    model_service_pb2_grpc,
    predict_pb2,
    prediction_service_pb2_grpc,
)


class Engine(socketserver.ThreadingUnixStreamServer):
    """The engine, with a record of images and requests.

    Args:
        path: Its Unix socket.
        breaks: Whether its models fail every request.
    """

    def __init__(self, path: pathlib.Path, breaks: bool):
        super().__init__(str(path), _Handler)
        self.breaks = breaks
        self.images: list[str] = []
        self.requests: list[predict_pb2.PredictRequest] = []
        self.mounted = ""
        self.port = 0
        self.container = grpc.server(futures.ThreadPoolExecutor(2))

    @property
    def host(self) -> str:
        """The value for DOCKER_HOST."""
        return f"unix://{self.server_address}"

    def start_container(self) -> None:
        """Serve the mounted model."""
        self.model = None if self.breaks else tf.saved_model.load(self.mounted)
        self.container = grpc.server(futures.ThreadPoolExecutor(2))
        service = _Serving(self)
        model_service_pb2_grpc.add_ModelServiceServicer_to_server(service, self.container)
        prediction_service_pb2_grpc.add_PredictionServiceServicer_to_server(service, self.container)
        self.port = self.container.add_insecure_port("127.0.0.1:0")
        self.container.start()


@contextlib.contextmanager
def running_engine(breaks: bool = False):
    """Run an engine until the end of the block."""
    # Not in pytest's folder: the path of a socket has at most 107 characters.
    with (
        tempfile.TemporaryDirectory() as folder,
        Engine(pathlib.Path(folder) / "docker.sock", breaks) as engine,
    ):
        threading.Thread(target=engine.serve_forever, daemon=True).start()
        yield engine
        engine.shutdown()
        engine.container.stop(None)


class _Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        if self.path.endswith("/json"):
            self._reply(200, self._container())
        else:
            self._reply(200, {"ApiVersion": "1.41", "MinAPIVersion": "1.24"})

    def do_POST(self):
        engine = self.server
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if self.path.endswith("/containers/create"):
            container = json.loads(body)
            engine.images.append(container["Image"])
            [mount] = container["HostConfig"]["Mounts"]
            assert re.fullmatch(r"/model/\S+/\d+", mount["Target"])
            engine.mounted = str(pathlib.Path(mount["Source"]))
            self._reply(201, {"Id": "one", "Warnings": []})
        elif self.path.endswith("/start"):
            engine.start_container()
            self._reply(204)
        else:
            engine.container.stop(None)
            self._reply(204)

    def _container(self):
        ports = {"8500/tcp": [{"HostIp": "0.0.0.0", "HostPort": str(self.server.port)}]}
        return {
            "Id": "one",
            "Config": {"Tty": True},
            "State": {"Status": "running"},
            "NetworkSettings": {"Ports": ports},
        }

    def _reply(self, status: int, content=None):
        body = b"" if content is None else json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args):
        pass


class _Serving:
    """The two services of TensorFlow Serving that InfraValidator uses."""

    def __init__(self, engine: Engine):
        self._engine = engine

    def __getattr__(self, name):
        # gRPC registers all methods of the services; the others are never called.
        if name.startswith("_"):
            raise AttributeError(name)
        return None

    def GetModelStatus(self, request, context):
        available = get_model_status_pb2.ModelVersionStatus(
            version=1, state=get_model_status_pb2.ModelVersionStatus.AVAILABLE
        )
        return get_model_status_pb2.GetModelStatusResponse(model_version_status=[available])

    def Predict(self, request, context):
        self._engine.requests.append(request)
        if self._engine.breaks:
            context.abort(grpc.StatusCode.INTERNAL, "out of order")
        signature = self._engine.model.signatures[request.model_spec.signature_name]
        inputs = {name: tf.constant(tf.make_ndarray(v)) for name, v in request.inputs.items()}
        outputs = {k: tf.make_tensor_proto(v.numpy()) for k, v in signature(**inputs).items()}
        return predict_pb2.PredictResponse(outputs=outputs)
