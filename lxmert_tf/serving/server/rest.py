"""REST API of TensorFlow Serving for one answer model, on FastAPI."""

import asyncio
import concurrent.futures
import contextlib
import json
from typing import Any

from fastapi import FastAPI, Request, Response
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from lxmert_tf.serving.errors import RequestError
from lxmert_tf.serving.server.batcher import Batcher
from lxmert_tf.serving.server.model_versions import ModelVersions
from lxmert_tf.serving.server.predict_json import format_predict, parse_predict

# How a path names a version: not at all, by number, or by label.
VERSIONS = ("", "/versions/{version}", "/labels/{label}")
# Time limit for sending a request.
BODY_SECONDS = 60


class RestServer:
    """The REST API as an ASGI application.

    Args:
        name: Name of the model in paths.
        versions: The versions of the model.
        max_batch: Largest batch size.
        max_body: Largest request, in bytes; larger ones are refused with status 413.
        max_pending: Requests handled at the same time; more are refused with status 503.
        poll_seconds: Interval of checks for a new version.

    Attributes:
        app: The application, for an ASGI server such as uvicorn.
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
        # JSON of many numbers takes long to parse; in threads it does not block the event loop.
        self._json = concurrent.futures.ThreadPoolExecutor(2, "json")
        self.app = FastAPI(
            openapi_url=None, lifespan=self._lifespan, title="lxmert serve", redirect_slashes=False
        )
        for version in VERSIONS:
            path = f"/v1/models/{{name}}{version}"
            self.app.add_api_route(path, self._status, methods=["GET"])
            self.app.add_api_route(f"{path}/metadata", self._metadata, methods=["GET"])
            self.app.add_api_route(f"{path}:predict", self._predict, methods=["POST"])
        self.app.add_exception_handler(RequestError, _request_error)
        self.app.add_exception_handler(HTTPException, _http_error)
        self.app.add_exception_handler(Exception, _server_error)

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
            # Files that cannot be read now are tried again at the next check.
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
            raise RequestError(503, f"server busy with {self._pending} requests; try again later")
        self._pending += 1
        try:
            return await self._answer(request)
        finally:
            self._pending -= 1

    async def _answer(self, request: Request) -> Response:
        _, model = self._model(request)
        body = await _read_body(request, self._max_body)
        if body is None:
            raise RequestError(413, f"the body exceeds {self._max_body:,} bytes")
        loop = asyncio.get_running_loop()
        parsed = await loop.run_in_executor(self._json, parse_predict, body, model.specs)
        outputs = await self._batcher.run(model, parsed.signature, parsed.inputs)
        text = await loop.run_in_executor(self._json, format_predict, outputs, parsed.by_row)
        return Response(text, media_type="application/json")

    def _model(self, request: Request):
        """Return the version number and the model that a path names."""
        named = request.path_params
        if named["name"] != self._name:
            raise RequestError(404, f"no model {named['name']!r}; this server has {self._name!r}")
        return self._versions.get(named.get("version"), named.get("label"))


async def _read_body(request: Request, limit: int) -> bytes | None:
    """Return the body, or None if it is longer than `limit` bytes.

    It is read to its end in any case, because a client that is still sending would not see the
    response.
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
        raise RequestError(400, "the connection closed before the end of the body") from error
    return b"".join(chunks) if size <= limit else None


def _json(status: int, content: dict) -> Response:
    return Response(json.dumps(content), status, media_type="application/json")


# Starlette declares that every handler takes any Exception.
async def _request_error(request: Request, error: Any) -> Response:
    return _json(error.status, {"error": error.reason})


async def _http_error(request: Request, error: Any) -> Response:
    text = f"Malformed request: {request.method} {request.url.path}"
    return _json(error.status_code, {"error": text})


async def _server_error(request: Request, error: Exception) -> Response:
    return _json(500, {"error": f"internal error: {type(error).__name__}"})
