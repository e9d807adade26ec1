"""Requests that a browser sends for a web page of another origin (CORS)."""

import json
from collections.abc import Collection

from fastapi import Request, Response
from starlette.datastructures import Headers
from starlette.middleware.cors import SAFELISTED_HEADERS, CORSMiddleware
from starlette.types import Receive, Scope, Send

ALLOWED_HEADERS = sorted(SAFELISTED_HEADERS | {"Content-Encoding"})
# Time for which a browser need not ask again.
SECONDS = 600


class CrossOriginMiddleware(CORSMiddleware):
    """Adds the headers of CORS to all responses, also to those of the routes to OPTIONS.

    Starlette's own answers OPTIONS before the routes do, alike for all paths.
    """

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        await self.simple_response(scope, receive, send, request_headers=headers)


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
        "Access-Control-Max-Age": str(SECONDS),
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
