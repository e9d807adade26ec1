"""TensorFlow Serving's REST paths for one answer model, on FastAPI."""

import asyncio
import concurrent.futures
import contextlib
import json

from fastapi import FastAPI, Request, Response
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from lxmert_tf.serving.errors import RequestError
from lxmert_tf.serving.server.batcher import Batcher
from lxmert_tf.serving.server.model_versions import ModelVersions
from lxmert_tf.serving.server.predict_json import format_predict, parse_predict

# Where a version is named in a path: not at all, by number, by label.
PLACES = ("", "/versions/{version}", "/labels/{label}")
# How long a client may take to send its request, in seconds.
BODY_SECONDS = 60


class RestServer:
    """The application; `app` is what a server of ASGI runs.

    Args:
        name: the model's, in paths.
        versions: what answers.
        max_batch: rows that are computed together.
        max_body: bytes of a request.
        max_pending: requests that are in hand at once; more are refused with 503.
        poll_seconds: between looks for a new version.
    """

    def __init__(
        self,
        name: str,
        versions: ModelVersions,
        max_batch: int,
        max_body: int,
        max_pending: int,
        poll_seconds: float,
    ):
        self._name = name
        self._versions = versions
        self._max_batch = max_batch
        self._max_body = max_body
        self._max_pending = max_pending
        self._poll_seconds = poll_seconds
        self._pending = 0
        # JSON of many numbers takes a while, in which the event loop is to go on.
        self._json = concurrent.futures.ThreadPoolExecutor(2, "json")
        self.app = FastAPI(
            openapi_url=None, lifespan=self._lifespan, title="lxmert serve", redirect_slashes=False
        )
        for place in PLACES:
            path = f"/v1/models/{{name}}{place}"
            self.app.add_api_route(path, self._status, methods=["GET"])
            self.app.add_api_route(f"{path}/metadata", self._metadata, methods=["GET"])
            self.app.add_api_route(f"{path}:predict", self._predict, methods=["POST"])
        self.app.add_exception_handler(RequestError, _refused)
        self.app.add_exception_handler(HTTPException, _no_such_path)
        self.app.add_exception_handler(Exception, _failed)

    @contextlib.asynccontextmanager
    async def _lifespan(self, app: FastAPI):
        self._batcher = Batcher(self._max_batch)
        tasks = [asyncio.create_task(work) for work in (self._batcher.work(), self._poll())]
        yield
        for task in tasks:
            task.cancel()

    async def _poll(self) -> None:
        while True:
            await asyncio.sleep(self._poll_seconds)
            # What cannot be read now is looked at again.
            with contextlib.suppress(OSError):
                await asyncio.to_thread(self._versions.refresh)

    async def _status(self, request: Request) -> Response:
        number, _ = self._model(request)
        named = {"version", "label"} & request.path_params.keys()
        numbers = [number] if named else self._versions.numbers()
        statuses = [
            {
                "version": str(number),
                "state": "AVAILABLE",
                "status": {"error_code": "OK", "error_message": ""},
            }
            for number in numbers
        ]
        return _json(200, {"model_version_status": statuses})

    async def _metadata(self, request: Request) -> Response:
        number, model = self._model(request)
        return _json(
            200,
            {
                "model_spec": {"name": self._name, "signature_name": "", "version": str(number)},
                "metadata": {"signature_def": {"signature_def": model.metadata}},
            },
        )

    async def _predict(self, request: Request) -> Response:
        if self._pending >= self._max_pending:
            await _read_body(request, 0)
            raise RequestError(
                503, f"{self._pending} requests are in hand already; try again later"
            )
        self._pending += 1
        try:
            return await self._answer(request)
        finally:
            self._pending -= 1

    async def _answer(self, request: Request) -> Response:
        _, model = self._model(request)
        body = await _read_body(request, self._max_body)
        if body is None:
            raise RequestError(413, f"the body is larger than {self._max_body:,} bytes; send less")
        loop = asyncio.get_running_loop()
        parsed = await loop.run_in_executor(self._json, parse_predict, body, model.specs)
        outputs = await self._batcher.run(model, parsed.signature, parsed.inputs)
        text = await loop.run_in_executor(self._json, format_predict, outputs, parsed.by_row)
        return Response(text, media_type="application/json")

    def _model(self, request: Request):
        """The version that a path means, and its model."""
        place = request.path_params
        if place["name"] != self._name:
            raise RequestError(
                404, f"no model {place['name']!r} is served; there is {self._name!r}"
            )
        return self._versions.get(place.get("version"), place.get("label"))


async def _read_body(request: Request, limit: int) -> bytes | None:
    """The body, or None if it is longer than `limit` bytes.

    Read to its end in any case: a client that still sends would not see the answer.
    """
    chunks, size = [], 0

    async def read() -> None:
        nonlocal size
        async for chunk in request.stream():
            size += len(chunk)
            if size <= limit:
                chunks.append(chunk)

    try:
        await asyncio.wait_for(read(), BODY_SECONDS)
    except asyncio.TimeoutError as error:
        raise RequestError(408, f"the body did not arrive within {BODY_SECONDS} s") from error
    except ClientDisconnect as error:
        raise RequestError(400, "the connection was closed before the body ended") from error
    return b"".join(chunks) if size <= limit else None


def _json(status: int, content: dict) -> Response:
    return Response(json.dumps(content), status, media_type="application/json")


async def _refused(request: Request, error: RequestError) -> Response:
    return _json(error.status, {"error": error.reason})


async def _no_such_path(request: Request, error: HTTPException) -> Response:
    text = f"Malformed request: {request.method} {request.url.path}"
    return _json(error.status_code, {"error": text})


async def _failed(request: Request, error: Exception) -> Response:
    return _json(500, {"error": f"the server failed: {type(error).__name__}"})
