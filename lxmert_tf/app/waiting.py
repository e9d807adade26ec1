"""What visitors see while the server of the models is down."""

import asyncio
import contextlib
import html
from collections.abc import Callable

import fastapi
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.responses import HTMLResponse
from starlette.routing import Mount
from starlette.types import ASGIApp

from lxmert_tf.app.messages import error_message, sentence_of
from lxmert_tf.errors import InputError
from lxmert_tf.html_page import html_page
from lxmert_tf.serving.errors import Unavailable

# Milliseconds after which the browser asks again.
RETRY = 5000

_TITLE = "The models cannot be reached"
_BODY = """<script>
setInterval(async () => {{
  // Not by loading the page again and again, which screen readers would read out each time.
  const answer = await fetch(location.href).catch(() => null);
  if (answer?.ok) location.reload();
}}, {retry});
</script>
<p role="alert">{sentence} This page opens by itself once the server answers.</p>"""
_FAILED = "The page cannot be opened"


class WaitingPage:
    """An application that says what is wrong until the server is up, and then is the page.

    Args:
        make_page: Makes the page, and raises `Unavailable` while the server is down. Another
            `InputError` is shown to the visitor.

    Attributes:
        app: The application.
    """

    def __init__(self, make_page: Callable[[], fastapi.FastAPI]):
        self._make_page = make_page
        self._page: fastapi.FastAPI | None = None
        # Of several visitors, one makes the page.
        self._making = asyncio.Lock()
        self._running = contextlib.AsyncExitStack()
        self.app = Starlette(routes=[Mount("/", self._answer)], lifespan=self._lifespan)

    @contextlib.asynccontextmanager
    async def _lifespan(self, app):
        async with self._running:
            yield

    async def _answer(self, scope, receive, send) -> None:
        try:
            page: ASGIApp = await self._made()
        except Unavailable as error:
            body = _BODY.format(retry=RETRY, sentence=html.escape(sentence_of(error)))
            page = HTMLResponse(html_page(_TITLE, body), status_code=503)
        except InputError as error:
            # Such as an example that is no picture: found only now, and the same at the next try.
            page = HTMLResponse(html_page(_FAILED, error_message(error)), status_code=500)
        await page(scope, receive, send)

    async def _made(self) -> fastapi.FastAPI:
        async with self._making:
            if self._page is None:
                page = await run_in_threadpool(self._make_page)
                # The page's own start, which the server has missed.
                await self._running.enter_async_context(page.router.lifespan_context(page))
                self._page = page
        return self._page
