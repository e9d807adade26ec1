"""An end of the server that loses no request."""

import signal
from types import FrameType

import uvicorn

from lxmert_tf.serving.server.rest import RestServer


class DrainingServer(uvicorn.Server):
    """Runs a `RestServer` until SIGTERM, and then until the requests in progress are answered.

    Meanwhile new requests get status 503. A second SIGTERM, or SIGINT, closes the port at once.

    Args:
        config: Of uvicorn.
        rest: The server.
    """

    def __init__(self, config: uvicorn.Config, rest: RestServer):
        super().__init__(config)
        self._rest = rest

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Handle a signal."""
        if sig == signal.SIGTERM and not self._rest.draining:
            self._rest.draining = True
            return
        super().handle_exit(sig, frame)

    async def on_tick(self, counter: int) -> bool:
        """Return whether to end, ten times a second."""
        if self._rest.draining and not self._rest.pending:
            self.should_exit = True
        return await super().on_tick(counter)
