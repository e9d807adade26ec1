"""What the browser may load for the page."""

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

# Gradio builds functions from texts, and has scripts and styles inside its page.
POLICY = "default-src 'self' data: blob: 'unsafe-inline' 'unsafe-eval'"


class ContentPolicy:
    """ASGI middleware that keeps the page from loading anything from elsewhere.

    A model card may name a picture on another server, which would learn of each visitor.

    Args:
        app: The application.
    """

    def __init__(self, app: ASGIApp):
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_with_policy(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message)["Content-Security-Policy"] = POLICY
            await send(message)

        await self._app(scope, receive, send_with_policy)
