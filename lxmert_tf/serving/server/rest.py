"""REST API of TensorFlow Serving for one answer model, on FastAPI."""

import asyncio
import concurrent.futures
import contextlib
import json
import time
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from typing import Any

from fastapi import FastAPI, Request, Response
from starlette.convertors import StringConvertor, register_url_convertor
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from lxmert_tf.serving.errors import RequestError
from lxmert_tf.serving.server import openapi
from lxmert_tf.serving.server.batcher import Batcher, row_count
from lxmert_tf.serving.server.cors import CrossOriginMiddleware, options_response
from lxmert_tf.serving.server.metrics import CONTENT_TYPE, METRICS_PATH
from lxmert_tf.serving.server.model_versions import ModelVersions
from lxmert_tf.serving.server.predict_json import (
    PredictRequest,
    format_predict,
    parse_predict,
)
from lxmert_tf.serving.server.request_log import RequestLog
from lxmert_tf.serving.server.served_model import ServedModel
from lxmert_tf.serving.server.worker_process import WorkerProcess

# How a path names a version: not at all, by number, or by label.
VERSIONS = ("", "/versions/{version:segment}", "/labels/{label:segment}")
# Encodings of bodies that are not compressed.
PLAIN = ("", "identity")
GZIP = ("gzip", "x-gzip")
# Time limit for sending a request.
BODY_SECONDS = 60
# Bytes of JSON from which it is read or written in a process of its own.
LARGE_JSON = 1_000_000
# Bytes of a number in JSON, about.
JSON_NUMBER_BYTES = 20


class _Segment(StringConvertor):
    """A part of a path; a colon ends it, because a method such as `:predict` comes after it."""

    regex = "[^/:]+"


register_url_convertor("segment", _Segment())


class RestServer:
    """The REST API as an ASGI application.

    Args:
        name: Name of the model in paths.
        versions: The versions of the model.
        max_batch: Largest batch size.
        max_body: Largest request, in bytes and before compression; larger ones are refused with
            status 413.
        max_pending: Requests handled at the same time; more are refused with status 503.
        max_bodies: Bytes of the bodies that are in memory at the same time; a request whose body
            would exceed it is refused with status 503.
        poll_seconds: Interval of checks for a new version.
        cors_origins: Origins whose web pages may send requests (CORS), or "*" for all.
        log_request: Called with the values of each request's line of the log; see `RequestLog`.
        log_questions: Whether these include the questions.

    Attributes:
        app: The application, for an ASGI server such as uvicorn.
        draining: Whether the server is about to end: new requests get status 503.
        pending: Requests that are being handled.
    """

    def __init__(
        self,
        name: str,
        versions: ModelVersions,
        max_batch: int,
        max_body: int,
        max_pending: int,
        max_bodies: int,
        poll_seconds: float,
        cors_origins: Sequence[str] = (),
        log_request: Callable[[Mapping[str, Any]], None] | None = None,
        log_questions: bool = False,
    ):
        self._name = name
        self._versions = versions
        self._max_batch = max_batch
        self._max_body = max_body
        self._max_pending = max_pending
        self._max_bodies = max_bodies
        self._body_bytes = 0
        self._poll_seconds = poll_seconds
        self._cors_origins = cors_origins
        self._log_questions = log_questions
        self.draining = False
        self.pending = 0
        self._metrics = versions.metrics
        self._metrics.add_gauge(
            "/lxmert/pending_requests", "Requests that are being handled.", lambda: self.pending
        )
        self._json = concurrent.futures.ThreadPoolExecutor(2, "json")
        # One large body at a time: lists of numbers take several times the memory of their JSON.
        self._large_json = concurrent.futures.ThreadPoolExecutor(1, "large-json")
        self._worker = WorkerProcess()
        self.app = FastAPI(
            openapi_url=None, lifespan=self._lifespan, title="lxmert serve", redirect_slashes=False
        )
        self._add_route("/v1/models", "GET", self._no_name)
        for version in VERSIONS:
            path = f"/v1/models/{{name:segment}}{version}"
            self._add_route(path, "GET", self._status)
            self._add_route(f"{path}/metadata", "GET", self._metadata)
            self._add_route(f"{path}:predict", "POST", self._predict)
            self._add_route(f"{path}:classify", "POST", self._no_signature)
            self._add_route(f"{path}:regress", "POST", self._no_signature)
        self._add_route("/healthz", "GET", self._alive)
        self._add_route("/readyz", "GET", self._ready)
        self._add_route(METRICS_PATH, "GET", self._metrics_page)
        self._add_route(openapi.PATH, "GET", self._openapi)
        self.app.add_middleware(RequestLog, log=log_request)
        if cors_origins:
            self.app.add_middleware(CrossOriginMiddleware, origins=cors_origins)
        self.app.add_exception_handler(RequestError, _request_error)
        self.app.add_exception_handler(HTTPException, _http_error)
        self.app.add_exception_handler(Exception, _server_error)

    def _add_route(
        self, path: str, method: str, answer: Callable[[Request], Awaitable[Response]]
    ) -> None:
        """Answer a method of a path, and OPTIONS with the methods that the path has."""

        async def respond(request: Request) -> Response:
            if request.method == "OPTIONS":
                return options_response(request, method, self._cors_origins)
            return await answer(request)

        self.app.add_api_route(path, respond, methods=[method, "OPTIONS"])

    @contextlib.asynccontextmanager
    async def _lifespan(self, app: FastAPI):
        self._batcher = Batcher(self._max_batch, self._record_call)
        tasks = [asyncio.create_task(work) for work in (self._batcher.work(), self._poll())]
        yield
        for task in tasks:
            task.cancel()
        await asyncio.get_running_loop().run_in_executor(self._large_json, self._worker.close)

    async def _poll(self) -> None:
        while True:
            await asyncio.sleep(self._poll_seconds)
            # Files that cannot be read now are tried again at the next check.
            with contextlib.suppress(OSError):
                await asyncio.to_thread(self._versions.refresh)

    async def _no_name(self, request: Request) -> Response:
        raise RequestError(400, f"missing model name in request; this server has {self._name!r}")

    async def _no_signature(self, request: Request) -> Response:
        method = request.url.path.rpartition(":")[2]
        self._model(request)
        await _read_to_end(request)
        raise RequestError(400, f"the model has no signature for {method}; use predict")

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

    async def _alive(self, request: Request) -> Response:
        return _json(200, {"status": "alive"})

    async def _ready(self, request: Request) -> Response:
        if self.draining:
            raise RequestError(503, "the server is shutting down")
        if self.pending >= self._max_pending:
            raise RequestError(503, f"server busy: {self.pending} in progress")
        return _json(200, {"status": "ready"})

    async def _metrics_page(self, request: Request) -> Response:
        return Response(self._metrics.page(), media_type=CONTENT_TYPE)

    async def _openapi(self, request: Request) -> Response:
        _, model = self._versions.get()
        return _json(200, openapi.describe_api(self._name, model))

    async def _predict(self, request: Request) -> Response:
        _, model = self._model(request)
        started = time.perf_counter()
        status = 500
        try:
            response = await self._answer_unless_busy(request, model)
            status = response.status_code
        except RequestError as error:
            status = error.status
            raise
        finally:
            self._metrics.record_predict(self._name, status, time.perf_counter() - started)
        return response

    async def _answer_unless_busy(self, request: Request, model: ServedModel) -> Response:
        if self.draining or self.pending >= self._max_pending:
            await _read_to_end(request)
            reason = (
                "the server is shutting down"
                if self.draining
                else (f"server busy: {self.pending} in progress; try again later")
            )
            raise RequestError(503, reason)
        self.pending += 1
        try:
            return await self._answer(request, model)
        finally:
            self.pending -= 1

    async def _answer(self, request: Request, model: ServedModel) -> Response:
        parsed = await self._parse(request, model)
        self._note_for_log(request, parsed)
        outputs = await self._batcher.run(model, parsed.signature, parsed.inputs)
        size = JSON_NUMBER_BYTES * sum(values.size for values in outputs.values())
        content = await self._convert(size, format_predict, outputs, parsed.by_row)
        return Response(content, media_type="application/json")

    async def _parse(self, request: Request, model: ServedModel) -> PredictRequest:
        encoding = request.headers.get("content-encoding", "")
        async with self._body(request) as body:
            text = await self._in_thread(_uncompress, body, encoding, self._max_body)
            return await self._convert(len(text), parse_predict, text, model.specs)

    async def _convert(self, size: int, function: Callable, *arguments: Any) -> Any:
        """Call a function that reads or writes JSON without blocking the event loop.

        Args:
            size: Bytes of the JSON, about. If it is large, the function is called in a process of
                its own.
            function: The function.
            arguments: Its arguments.
        """
        if size < LARGE_JSON:
            return await self._in_thread(function, *arguments)
        loop, call = asyncio.get_running_loop(), self._worker.call
        return await loop.run_in_executor(self._large_json, call, function, *arguments)

    async def _in_thread(self, function: Callable, *arguments: Any) -> Any:
        return await asyncio.get_running_loop().run_in_executor(self._json, function, *arguments)

    @contextlib.asynccontextmanager
    async def _body(self, request: Request) -> AsyncIterator[bytes]:
        """Yield the body, which counts as in memory until the block ends.

        Raises:
            RequestError: It is too large (status 413), or with those of other requests (503).
        """
        chunks: list[bytes] = []
        size = held = 0
        try:
            fits = True
            async for chunk in _chunks(request):
                size += len(chunk)
                used = self._body_bytes + len(chunk)
                if fits and size <= self._max_body and used <= self._max_bodies:
                    chunks.append(chunk)
                    held += len(chunk)
                    self._body_bytes = used
                    continue
                # The rest is read, too: a client that still sends would not see the response. But
                # it takes no room, or large bodies that arrive together would all be refused.
                fits = False
                chunks.clear()
                self._body_bytes -= held
                held = 0
            if size > self._max_body:
                raise RequestError(413, f"the body exceeds {self._max_body:,} bytes")
            if not fits:
                reason = f"the bodies in progress exceed {self._max_bodies:,} bytes"
                raise RequestError(503, f"server busy: {reason}; try again later")
            body = b"".join(chunks)
            chunks.clear()
            yield body
        finally:
            self._body_bytes -= held

    def _note_for_log(self, request: Request, parsed: PredictRequest) -> None:
        questions = parsed.inputs.get("question")
        request.state.log["signature"] = parsed.signature
        request.state.log["rows"] = row_count(parsed.inputs)
        if self._log_questions and questions is not None:
            request.state.log["questions"] = [
                text.decode(errors="replace") for text in questions.ravel()
            ]

    def _record_call(self, seconds: float) -> None:
        self._metrics.runtime_latency.observe(self._name, "predict", seconds=seconds)

    def _model(self, request: Request):
        """Return the version number and the model that a path names."""
        named = request.path_params
        if named["name"] != self._name:
            raise RequestError(404, f"no model {named['name']!r}; this server has {self._name!r}")
        return self._versions.get(named.get("version"), named.get("label"))


async def _read_to_end(request: Request) -> None:
    """Read a body that is not needed: a client that still sends would not see the response."""
    async for _ in _chunks(request):
        pass


async def _chunks(request: Request) -> AsyncIterator[bytes]:
    """Yield the parts of a body.

    Raises:
        RequestError: It takes longer than `BODY_SECONDS` (status 408), or the client is gone (400).
    """
    parts = request.stream()
    until = time.monotonic() + BODY_SECONDS
    try:
        while True:
            left = max(until - time.monotonic(), 0)
            yield await asyncio.wait_for(anext(parts), left)
    except StopAsyncIteration:
        return
    except asyncio.TimeoutError as error:
        raise RequestError(408, f"the body did not arrive within {BODY_SECONDS} s") from error
    except ClientDisconnect as error:
        raise RequestError(400, "the connection closed before the end of the body") from error


def _uncompress(body: bytes, encoding: str, limit: int) -> bytes:
    """Return the body as it was before its Content-Encoding.

    Args:
        body: The body as it was sent.
        encoding: The header.
        limit: Most bytes of the result; a small body could expand to fill the memory.

    Raises:
        RequestError: The encoding is unknown (status 415), the body is damaged (400) or too large
            (413).
    """
    encoding = encoding.strip().lower()
    if encoding in PLAIN:
        return body
    if encoding not in GZIP:
        raise RequestError(415, f"Content-Encoding {encoding!r} is not supported; use gzip or none")
    stream = zlib.decompressobj(zlib.MAX_WBITS | 16)
    try:
        content = stream.decompress(body, limit + 1)
    except zlib.error as error:
        raise RequestError(400, f"the body is not valid gzip: {error}") from error
    if len(content) > limit:
        raise RequestError(413, f"the uncompressed body exceeds {limit:,} bytes")
    if not stream.eof:
        raise RequestError(400, "the body is not valid gzip: it is cut short")
    # Each of many tiny members would cost a copy of the rest of the body.
    if stream.unused_data:
        raise RequestError(400, "the body is not valid gzip: extra data after the end")
    return content


def _json(status: int, content: dict) -> Response:
    return Response(json.dumps(content), status, media_type="application/json")


# Starlette declares that every handler takes any Exception.
async def _request_error(request: Request, error: Any) -> Response:
    return _json(error.status, {"error": error.reason})


async def _http_error(request: Request, error: Any) -> Response:
    text = f"Malformed request: {request.method} {request.url.path}"
    response = _json(error.status_code, {"error": text})
    # Among them Allow, which comes with status 405.
    response.headers.update(error.headers or {})
    return response


async def _server_error(request: Request, error: Exception) -> Response:
    return _json(500, {"error": f"internal error: {type(error).__name__}"})
