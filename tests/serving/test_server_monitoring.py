"""What an operator sees of the REST server: health, metrics, the log, and its end."""

import contextlib
import json
import re
import shutil
import signal
import socket
import time
import urllib.parse

import pytest
import requests

from lxmert_tf.cli import main as cli
from lxmert_tf.errors import InputError
from lxmert_tf.serving.client import Client
from lxmert_tf.serving.server.metrics import BUCKETS, Counter, ServerMetrics
from lxmert_tf.serving.server.model_versions import ModelVersions
from lxmert_tf.serving.server.served_saved_model import ServedSavedModel
from lxmert_tf.serving.session import SavedModelSession
from tests.serving.rest import NAME, running, running_server

PREDICT = f"/v1/models/{NAME}:predict"
QUESTION = "what color is the shape?"


@pytest.fixture
def versions(tiny):
    return ModelVersions(tiny.saved_model, {}, lambda line: None)


def ask(endpoint, image_inputs):
    return Client(endpoint, NAME).answer([QUESTION], *image_inputs)


@pytest.fixture(scope="module")
def image_inputs(batch):
    features, boxes = (batch[name][:1].numpy() for name in ("region_features", "region_boxes"))
    return features, boxes, [int(batch["region_count"][0])]


def samples(endpoint) -> dict[str, float]:
    page = requests.get(f"{endpoint}/monitoring/prometheus/metrics", timeout=60)
    assert page.headers["content-type"].startswith("text/plain; version=0.0.4")
    lines = [line for line in page.text.splitlines() if not line.startswith("#")]
    return {name: float(value) for name, value in (line.rsplit(" ", 1) for line in lines)}


def test_metrics_count_requests_by_status_and_their_times(versions, image_inputs):
    with running(versions) as endpoint:
        for _ in range(3):
            ask(endpoint, image_inputs)
        assert requests.post(f"{endpoint}{PREDICT}", data=b"{}", timeout=60).status_code == 400
        # A client must not be able to fill the memory with names.
        assert requests.post(f"{endpoint}/v1/models/x:predict", timeout=60).status_code == 404
        found = samples(endpoint)
    count = ":tensorflow:serving:request_count"
    assert {name: value for name, value in found.items() if name.startswith(count)} == {
        f'{count}{{model_name="{NAME}",status="OK"}}': 3,
        f'{count}{{model_name="{NAME}",status="INVALID_ARGUMENT"}}': 1,
    }
    labels = f'model_name="{NAME}",API="predict",entrypoint="REST"'
    assert found[f":tensorflow:serving:request_latency_count{{{labels}}}"] == 3
    microseconds = found[f":tensorflow:serving:request_latency_sum{{{labels}}}"]
    assert 100 < microseconds < 60e6
    calls = f'{{model_name="{NAME}",API="predict"}}'
    assert found[f":tensorflow:serving:runtime_latency_count{calls}"] == 3
    assert found[f":tensorflow:serving:runtime_latency_sum{calls}"] < microseconds
    assert found[":lxmert:pending_requests"] == 0


def test_a_version_that_cannot_be_loaded_is_counted(tiny, tmp_path):
    shutil.copytree(tiny.saved_model, tmp_path / "1")
    (tmp_path / "2").mkdir()
    (tmp_path / "2" / "saved_model.pb").write_bytes(b"no model")
    versions = ModelVersions(tmp_path, {}, lambda line: None)
    versions.refresh()
    page = versions.metrics.page()
    loads = ":tensorflow:cc:saved_model:load_attempt_count"
    assert f'{loads}{{model_path="{tmp_path}/1",status="success"}} 1\n' in page
    assert f'{loads}{{model_path="{tmp_path}/2",status="fail"}} 1\n' in page
    [time] = re.findall(rf'load_latency{{model_path="{tmp_path}/1"}} (\S+)', page)
    assert float(time) > 1000


def test_a_saved_model_that_fails_otherwise_than_expected_is_refused(tiny, monkeypatch):
    def fail(self, signature, inputs):
        raise ValueError("Cannot feed value of shape (1, 2)\nfor tensor")

    monkeypatch.setattr(SavedModelSession, "run", fail)
    with pytest.raises(InputError, match=r"warm-up failed: Cannot feed value of shape \(1, 2\)$"):
        ServedSavedModel(tiny.saved_model)


def test_buckets_count_what_is_at_most_their_edge():
    metrics = ServerMetrics()
    for microseconds in (5, BUCKETS[0], BUCKETS[0] + 1, 1e12):
        metrics.request_latency.observe("m", "predict", "REST", seconds=microseconds / 1e6)
    buckets = re.findall(r'_bucket{.*le="(\S+)"} (\d+)', metrics.page())
    assert buckets[0] == ("10", "2")
    assert buckets[1] == ("18", "3")
    assert buckets[-2][1] == "3" and buckets[-1] == ("+Inf", "4")


def test_the_page_is_what_prometheus_reads():
    parser = pytest.importorskip("prometheus_client.parser")
    metrics = ServerMetrics()
    metrics.record_predict("m", 200, 0.5)
    metrics.record_load('a "quoted"\\path\n', True, 2)
    families = {f.name: f for f in parser.text_string_to_metric_families(metrics.page())}
    assert families[":tensorflow:serving:request_latency"].type == "histogram"
    [load, *_] = families[":tensorflow:cc:saved_model:load_attempt_count"].samples
    assert load.labels == {"model_path": 'a "quoted"\\path\n', "status": "success"}


def test_counters_of_other_labels_are_apart():
    counter = Counter("/a/b", "Text.", ("kind",))
    counter.add("x")
    counter.add("y", amount=2.5)
    assert list(counter.lines())[2:] == [':a:b{kind="x"} 1', ':a:b{kind="y"} 2.5']


@contextlib.contextmanager
def unfinished_request(endpoint):
    """Begin a request, and yield a function that ends it and returns the response."""
    address = urllib.parse.urlsplit(endpoint)
    with socket.create_connection((address.hostname, address.port), timeout=60) as connection:
        head = f"POST {PREDICT} HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n"
        connection.sendall(head.encode())
        deadline = time.monotonic() + 30
        while samples(endpoint)[":lxmert:pending_requests"] == 0:
            assert time.monotonic() < deadline

        def end() -> bytes:
            connection.sendall(b"{}")
            return connection.recv(1000)

        yield end


def test_health_tells_alive_from_ready(versions):
    with running(versions, max_pending=1) as endpoint:
        ready = requests.get(f"{endpoint}/readyz", timeout=60)
        assert (ready.status_code, ready.json()) == (200, {"status": "ready"})
        with unfinished_request(endpoint):
            busy = requests.get(f"{endpoint}/readyz", timeout=60)
            assert busy.status_code == 503
            assert "server busy: 1 in progress" in busy.json()["error"]
            assert requests.get(f"{endpoint}/healthz", timeout=60).status_code == 200


def test_a_server_that_ends_answers_what_it_has_begun_and_refuses_more(versions):
    with running_server(versions) as (server, endpoint):
        with unfinished_request(endpoint) as end:
            server.handle_exit(signal.SIGTERM, None)
            refused = requests.post(f"{endpoint}{PREDICT}", data=b"{}", timeout=60)
            assert refused.status_code == 503
            assert refused.json() == {"error": "the server is shutting down"}
            assert requests.get(f"{endpoint}/readyz", timeout=60).status_code == 503
            assert not server.should_exit
            assert b" 400 " in end()
        deadline = time.monotonic() + 30
        while not server.should_exit:
            assert time.monotonic() < deadline
            time.sleep(0.01)


def test_bodies_beyond_the_limit_of_all_are_refused_until_there_is_room(versions):
    with running(versions, max_bodies=1000) as endpoint:
        address = urllib.parse.urlsplit(endpoint)
        with socket.create_connection((address.hostname, address.port), timeout=60) as slow:
            head = f"POST {PREDICT} HTTP/1.1\r\nHost: x\r\nContent-Length: 900\r\n\r\n"
            slow.sendall(head.encode() + b" " * 899)
            status, deadline = 0, time.monotonic() + 30
            while status != 503 and time.monotonic() < deadline:
                refused = requests.post(f"{endpoint}{PREDICT}", data=b" " * 500, timeout=60)
                status = refused.status_code
            assert refused.json()["error"] == (
                "server busy: the bodies in progress exceed 1,000 bytes; try again later"
            )
            slow.sendall(b" ")
            assert b" 400 " in slow.recv(1000)
        assert (
            requests.post(f"{endpoint}{PREDICT}", data=b" " * 1000, timeout=60).status_code == 400
        )


def test_a_body_that_is_refused_takes_no_room_while_the_rest_is_read(versions):
    def wait_for(endpoint, size, status) -> None:
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            answer = requests.post(f"{endpoint}{PREDICT}", data=b" " * size, timeout=60)
            if answer.status_code == status:
                return
        raise AssertionError(f"{answer.status_code} {answer.text}")

    with running(versions, max_bodies=1000) as endpoint:
        address = urllib.parse.urlsplit(endpoint)
        head = f"POST {PREDICT} HTTP/1.1\r\nHost: x\r\nContent-Length: 900\r\n\r\n".encode()
        with contextlib.ExitStack() as stack:
            one, other = (
                stack.enter_context(socket.create_connection((address.hostname, address.port)))
                for _ in range(2)
            )
            one.sendall(head + b" " * 600)
            wait_for(endpoint, 500, 503)
            other.sendall(head + b" " * 300)
            wait_for(endpoint, 200, 503)
            # Too much beside the other one.
            other.sendall(b" " * 300)
            wait_for(endpoint, 400, 400)
            other.sendall(b" " * 300)
            assert b" 503 " in other.recv(1000)
            one.sendall(b" " * 300)
            assert b" 400 " in one.recv(1000)


def test_a_second_signal_does_not_wait_to_close_the_port(versions):
    with running_server(versions) as (server, endpoint):
        with unfinished_request(endpoint):
            server.handle_exit(signal.SIGTERM, None)
            server.handle_exit(signal.SIGTERM, None)
            assert server.should_exit


def test_responses_have_the_id_of_the_request_or_a_new_one(versions):
    with running(versions) as endpoint:

        def id_for(given) -> str:
            headers = {"X-Request-ID": given} if given else {}
            response = requests.get(f"{endpoint}/healthz", headers=headers, timeout=60)
            return response.headers["X-Request-ID"]

        assert id_for("trace-7") == "trace-7"
        new = {id_for(None), id_for("two words"), id_for("x" * 129)}
        assert len(new) == 3
        assert all(re.fullmatch("[0-9a-f]{32}", one) for one in new)


@pytest.mark.parametrize("log_questions", [False, True])
def test_a_request_is_a_line_of_the_log(versions, image_inputs, log_questions):
    lines = []
    with running(versions, log_request=lines.append, log_questions=log_questions) as endpoint:
        ask(endpoint, image_inputs)
        headers = {"X-Request-ID": "bad-1"}
        requests.post(f"{endpoint}{PREDICT}", data=QUESTION, headers=headers, timeout=60)
    [answered, refused] = [line for line in lines if line["method"] == "POST"]
    assert answered["status"] == 200
    assert (answered["path"], answered["signature"]) == (PREDICT, "serving_default")
    assert answered["rows"] == 1 and 0 < answered["seconds"] < 60
    assert answered.get("questions") == ([QUESTION] if log_questions else None)
    assert (refused["request_id"], refused["status"]) == ("bad-1", 400)
    # The body of a refused request may hold a question.
    assert QUESTION not in json.dumps(refused)


def test_an_unexpected_error_is_named_in_the_log(versions, monkeypatch):
    def fail():
        raise ZeroDivisionError("secret")

    monkeypatch.setattr(versions.metrics, "page", fail)
    lines = []
    with running(versions, log_request=lines.append) as endpoint:
        page = requests.get(f"{endpoint}/monitoring/prometheus/metrics", timeout=60)
    assert page.status_code == 500
    assert (lines[0]["status"], lines[0]["error"]) == (500, "ZeroDivisionError")
    assert "secret" not in json.dumps(lines)


def test_questions_are_logged_only_as_json(capsys, tmp_path):
    assert cli.main(["serve", "--model", str(tmp_path), "--log-questions"]) == 2
    assert capsys.readouterr().err == "lxmert serve: --log-questions needs --log-format json\n"


def test_bodies_have_room_for_the_largest_request(capsys, tmp_path):
    arguments = ["--max-body-mb", "8", "--max-bodies-mb", "4"]
    assert cli.main(["serve", "--model", str(tmp_path), *arguments]) == 2
    assert capsys.readouterr().err == (
        "lxmert serve: --max-bodies-mb 4 must be at least --max-body-mb 8, or the largest request "
        "would never fit\n"
    )
