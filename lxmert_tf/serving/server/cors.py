"""Requests that a browser sends for a web page of another origin (CORS)."""

import json
from collections.abc import Collection

from fastapi import Request, Response
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

# Those that the standard lets web pages send without asking, and that of compressed bodies.
ALLOWED_HEADERS = (
    "Accept",
    "Accept-Language",
    "Content-Encoding",
    "Content-Language",
    "Content-Type",
)
# Seconds for which a browser remembers the response to OPTIONS.
PREFLIGHT_MAX_AGE = 600


class CrossOriginMiddleware:
    """Tells browsers on all responses, also those to OPTIONS, which origins may read them.

    Starlette's middleware answers OPTIONS itself, with the same methods for every path.

    Args:
        app: The application.
        origins: Origins whose web pages may send requests, or "*" for all.
    """

    def __init__(self, app: ASGIApp, origins: Collection[str]):
        self._app = app
        self._origins = origins

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        origin = Headers(scope=scope).get("origin")

        async def send_with_origin(message: Message) -> None:
            if message["type"] == "http.response.start":
                self._add_headers(MutableHeaders(scope=message), origin)
            await send(message)

        await self._app(scope, receive, send_with_origin)

    def _add_headers(self, headers: MutableHeaders, origin: str | None) -> None:
        if "*" in self._origins:
            headers["Access-Control-Allow-Origin"] = "*"
            return
        # A cache must not give one origin the response to another.
        headers.append("Vary", "Origin")
        if origin is not None and origin in self._origins:
            headers["Access-Control-Allow-Origin"] = origin


def options_response(request: Request, method: str, origins: Collection[str]) -> Response:
    """Return the response to OPTIONS, which browsers send before the request of a web page.

    Args:
        request: The request.
        method: The method that the path has besides OPTIONS.
        origins: Origins whose web pages may send requests, "*" for all; empty without CORS.
    """
    methods = f"{method}, OPTIONS"
    headers = {"Allow": methods}
    asked = request.headers
    if not origins or "origin" not in asked or "access-control-request-method" not in asked:
        return Response(headers=headers)
    if reason := _refusal(asked, methods, origins):
        content = json.dumps({"error": reason})
        return Response(content, 400, headers, media_type="application/json")
    headers |= {
        "Access-Control-Allow-Methods": methods,
        "Access-Control-Allow-Headers": ", ".join(ALLOWED_HEADERS),
        "Access-Control-Max-Age": str(PREFLIGHT_MAX_AGE),
        "Vary": "Access-Control-Request-Method, Access-Control-Request-Headers",
    }
    return Response(headers=headers)


def _refusal(asked: Headers, methods: str, origins: Collection[str]) -> str | None:
    """Return why the request that a browser announces is refused, or None."""
    if "*" not in origins and asked["origin"] not in origins:
        return f"web pages of {asked['origin']} may not send requests here"
    if asked["access-control-request-method"] not in methods.split(", "):
        return f"{asked['access-control-request-method']} is not a method of this path: {methods}"
    allowed = {name.lower() for name in ALLOWED_HEADERS}
    for name in asked.get("access-control-request-headers", "").split(","):
        if name.strip() and name.strip().lower() not in allowed:
            return f"web pages may not send the header {name.strip()}"
    return None
