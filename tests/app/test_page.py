"""The page as an application."""

import pytest
from starlette.routing import Mount
from starlette.testclient import TestClient

pytest.importorskip("gradio")

from lxmert_tf.app.page import MAX_VISITORS, create_app


def test_the_visitor_who_was_there_longest_ago_is_forgotten():
    [page] = [route.app for route in create_app({}, {}).routes if isinstance(route, Mount)]
    visitors = [str(number) for number in range(MAX_VISITORS + 1)]
    for visitor in visitors:
        assert page.state_holder[visitor] is not None
    assert [visitor for visitor in visitors if visitor not in page.state_holder] == ["0"]


def test_the_browser_is_told_to_load_nothing_from_elsewhere():
    with TestClient(create_app({}, {})) as client:
        for path in ("/", "/none"):
            policy = client.get(path).headers["Content-Security-Policy"]
            assert policy.startswith("default-src 'self' data: blob: ") and "http" not in policy
