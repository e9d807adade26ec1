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

from lxmert_tf.app.picture_panel import sentence_of
from lxmert_tf.serving.errors import Unavailable

# Milliseconds after which the browser asks again.
RETRY = 5000

_PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>The models cannot be reached</title>
<style>body {{ font: 16px/1.5 system-ui, sans-serif; margin: 3em auto; max-width: 40em; padding: 0 1em; overflow-wrap: anywhere }}</style>
</head>
<body>
<script>
setInterval(async () => {{
  // Not by loading the page again and again, which screen readers would read out each time.
  const answer = await fetch(location.href).catch(() => null);
  if (answer?.ok) location.reload();
}}, {retry});
</script>
<h1>The models cannot be reached</h1>
<p role="alert">{sentence} This page opens by itself once the server answers.</p>
</body>
</html>
"""  # noqa: E501


class WaitingPage:
    """An application that says what is wrong until the server is up, and then is the page.

    Args:
        make_page: Makes the page, and raises `Unavailable` while the server is down.

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
            page = await self._made()
        except Unavailable as error:
            text = _PAGE.format(retry=RETRY, sentence=html.escape(sentence_of(error)))
            await HTMLResponse(text, status_code=503)(scope, receive, send)
            return
        await page(scope, receive, send)

    async def _made(self) -> fastapi.FastAPI:
        async with self._making:
            if self._page is None:
                page = await run_in_threadpool(self._make_page)
                # The page's own start, which the server has missed.
                await self._running.enter_async_context(page.router.lifespan_context(page))
                self._page = page
        return self._page
