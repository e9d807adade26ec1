"""The page while its server is down."""

import contextlib
import subprocess
import sys

import fastapi
import pytest
from starlette.testclient import TestClient

pytest.importorskip("gradio")

from lxmert_tf.app.waiting import WaitingPage
from lxmert_tf.errors import InputError
from lxmert_tf.serving.errors import Unavailable


def test_visitors_read_that_the_server_is_down_until_it_is_up():
    events = []

    class Server:
        is_up = False

    @contextlib.asynccontextmanager
    async def lifespan(app):
        events.append("started")
        yield
        events.append("ended")

    def make_page():
        if not Server.is_up:
            raise Unavailable("http://host:1: cannot connect <now>")
        page = fastapi.FastAPI(lifespan=lifespan)
        page.get("/there")(lambda: {"page": "real"})
        return page

    with TestClient(WaitingPage(make_page).app) as client:
        answer = client.get("/")
        assert answer.status_code == 503
        assert "http://host:1: cannot connect &lt;now&gt;." in answer.text
        assert events == []
        Server.is_up = True
        for _ in range(2):
            assert client.get("/there").json() == {"page": "real"}
        assert events == ["started"]
    assert events == ["started", "ended"]


def test_visitors_read_why_a_page_cannot_be_made():
    def make_page():
        raise InputError("examples/a.png: not a picture <now>")

    with TestClient(WaitingPage(make_page).app) as client:
        answer = client.get("/")
    assert answer.status_code == 500
    assert "examples/a.png: not a picture &lt;now&gt;." in answer.text
    assert "<script>" not in answer.text


@pytest.mark.slow
def test_the_page_of_a_server_does_without_tensorflow():
    modules = ("page", "page_model", "model_choices", "results", "waiting", "example_pictures")
    code = f"import sys; import {', '.join(f'lxmert_tf.app.{name}' for name in modules)}; "
    code += "print([name for name in ('tensorflow', 'keras') if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
