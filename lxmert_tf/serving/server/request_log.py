"""IDs of requests, and a line of the log for each."""

import datetime
import json
import re
import time
import uuid
from collections.abc import Callable, Mapping
from typing import Any

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

HEADER = "X-Request-ID"
# Of a client's own ID, which goes into the log and back to the client.
_USABLE_ID = re.compile(r"[\x21-\x7e]{1,128}")


def json_line(values: Mapping[str, Any]) -> str:
    """Return a line of a log in JSON, with the time before the values."""
    now = datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="milliseconds")
    return json.dumps({"time": now, **values})


class RequestLog:
    """ASGI middleware that gives each request an ID, and logs it when it ends.

    The ID is that of the request's header X-Request-ID or a new one, and in the same header of the
    response. A line is {"time", "request_id", "method", "path", "status", "seconds"}, what the
    handler puts into `request.state.log`, and "error", the type of an unexpected error.

    Args:
        app: The application.
        log: Called with the values of each line; None logs nothing.
    """

    def __init__(self, app: ASGIApp, log: Callable[[Mapping[str, Any]], None] | None):
        self._app = app
        self._log = log

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        given = Headers(scope=scope).get(HEADER, "")
        request_id = given if _USABLE_ID.fullmatch(given) else uuid.uuid4().hex
        more: dict[str, Any] = {}
        scope.setdefault("state", {})["log"] = more
        # Until a response starts: the client is gone, or an error is answered further out.
        status = 500
        started = time.perf_counter()

        async def send_with_id(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                MutableHeaders(scope=message)[HEADER] = request_id
            await send(message)

        try:
            await self._app(scope, receive, send_with_id)
        except Exception as error:
            more["error"] = type(error).__name__
            raise
        finally:
            if self._log:
                line = {
                    "request_id": request_id,
                    "method": scope["method"],
                    "path": scope["path"],
                    "status": status,
                    "seconds": round(time.perf_counter() - started, 6),
                }
                self._log({**line, **more})
