"""A REST server in a thread of the test process."""

import contextlib
import threading

import uvicorn

from lxmert_tf.serving.server.draining import DrainingServer
from lxmert_tf.serving.server.rest import RestServer

NAME = "tiny"


@contextlib.contextmanager
def running(versions, name=NAME, port=0, **settings):
    """Serve `versions` at a port, by default a free one, and yield the endpoint."""
    with running_server(versions, name, port, **settings) as (_, endpoint):
        yield endpoint


@contextlib.contextmanager
def running_server(versions, name=NAME, port=0, **settings):
    """As `running`, but yield the uvicorn server, too."""
    settings = {
        "max_batch": 32,
        "max_body": 1_000_000,
        "max_pending": 64,
        "max_bodies": 8_000_000,
        "poll_seconds": 0.1,
        **settings,
    }
    rest = RestServer(name, versions, **settings)
    config = uvicorn.Config(rest.app, port=port, log_level="warning", access_log=False)
    server = DrainingServer(config, rest)
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        while not server.started:
            assert thread.is_alive()
            thread.join(0.01)
        [listener] = server.servers[0].sockets
        yield server, f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join()
