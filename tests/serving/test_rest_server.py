"""The REST server: it answers concurrent requests as the model itself, and refuses bad ones."""

import base64
import concurrent.futures
import contextlib
import gzip
import json
import shutil
import socket
import threading
import time
import urllib.parse

import numpy as np
import psutil
import pytest
import requests

from lxmert_tf.errors import InputError
from lxmert_tf.serving.client import Client
from lxmert_tf.serving.server import rest
from lxmert_tf.serving.server.batcher import merge_inputs, split_outputs
from lxmert_tf.serving.server.model_versions import ModelVersions
from tests.lxmert_tf.samples import one_line
from tests.serving.rest import NAME, running


@pytest.fixture(scope="module")
def versions(tiny):
    said = []
    yield ModelVersions(tiny.saved_model, {"stable": 1}, said.append)
    assert said == ["serving version 1"]


@pytest.fixture(scope="module")
def endpoint(versions):
    with running(versions) as endpoint:
        yield endpoint


@pytest.fixture(scope="module")
def url(endpoint):
    return f"{endpoint}/v1/models/{NAME}"


@pytest.fixture(scope="module")
def expected(session, batch):
    outputs = session.run("serving_default", {k: v.numpy() for k, v in batch.items()})
    return outputs["answers"].astype(str).tolist(), outputs["scores"]


def alone(batch, i):
    """Return the i-th question with its image's regions: (question, features, boxes, count)."""
    count = int(batch["region_count"][i])
    features, boxes = (
        batch[name][i : i + 1, :count].numpy() for name in ("region_features", "region_boxes")
    )
    return [batch["question"][i].numpy().decode()], features, boxes, [count]


def check(answers, expected, i):
    assert [a for a, _ in answers] == expected[0][i]
    # The sums of a batch run in another order.
    np.testing.assert_allclose([s for _, s in answers], expected[1][i], rtol=0, atol=1e-5)


def test_concurrent_requests_are_answered_as_the_model_answers_each(endpoint, batch, expected):
    def ask(i):
        return Client(endpoint, NAME).answer(*alone(batch, i))

    count = len(batch["question"])
    with concurrent.futures.ThreadPoolExecutor(16) as pool:
        for i, [answers] in zip(range(count), pool.map(ask, range(count))):
            check(answers, expected, i)


def test_merged_requests_are_split_again(session, batch):
    counts = batch["region_count"].numpy()
    few, many = counts.argmin(), counts.argmax()
    requests = []
    for i in (few, many):
        _, features, boxes, count = alone(batch, i)
        requests.append(
            {
                "region_features": features,
                "region_boxes": boxes,
                "region_count": np.array(count, np.int32),
            }
        )
    assert requests[0]["region_boxes"].shape != requests[1]["region_boxes"].shape
    together = session.run("encode_image", merge_inputs(requests))
    parts = split_outputs(together, requests)
    for request, part in zip(requests, parts):
        own = session.run("encode_image", request)["image_state"]
        np.testing.assert_allclose(part["image_state"], own, rtol=0, atol=1e-5)


def test_only_the_invalid_request_of_a_batch_is_refused(url, flat_records):
    bodies = [b"garbage" if i % 4 == 1 else flat_records[i] for i in range(12)]

    def ask(record):
        examples = [{"b64": base64.b64encode(record).decode()}]
        body = {"signature_name": "serve_examples", "instances": examples}
        return requests.post(f"{url}:predict", json=body, timeout=60)

    with concurrent.futures.ThreadPoolExecutor(12) as pool:
        for body, response in zip(bodies, pool.map(ask, bodies)):
            if body == b"garbage":
                assert response.status_code == 400
                assert "not parse" in response.json()["error"]
            else:
                [prediction] = response.json()["predictions"]
                assert set(prediction) == {"answers", "scores", "probabilities"}


def test_an_image_is_encoded_once_for_many_questions(endpoint, batch, expected):
    client = Client(endpoint, NAME, "stable")
    question, *regions = alone(batch, 0)
    state = client.encode_image(*regions)
    assert state.shape[1] == regions[0].shape[1]
    first, second = client.answer_about_image([*question, "what?"], state)
    check(first, expected, 0)
    assert len(second) == len(first)


def test_pairs_of_encoded_questions_and_images_are_answered(endpoint, batch, expected):
    client = Client(endpoint, NAME)
    rows = [alone(batch, i) for i in (0, 4)]
    question_state = client.encode_question([question for [question], *_ in rows])
    image_states = [client.encode_image(*regions) for _, *regions in rows]
    most = max(state.shape[1] for state in image_states)
    padded = [np.pad(s, [(0, 0), (0, most - s.shape[1]), (0, 0)]) for s in image_states]
    answers = client.answer_pairs(question_state, np.concatenate(padded))
    for i, row in zip((0, 4), answers, strict=True):
        check(row, expected, i)


@pytest.mark.parametrize("place", ["", "/versions/1", "/labels/stable"])
def test_every_version_path_has_status_and_metadata(url, place):
    status = requests.get(f"{url}{place}", timeout=60).json()
    [version] = status["model_version_status"]
    assert (version["version"], version["state"]) == ("1", "AVAILABLE")
    metadata = requests.get(f"{url}{place}/metadata", timeout=60).json()
    assert metadata["model_spec"]["version"] == "1"
    inputs = metadata["metadata"]["signature_def"]["signature_def"]["serving_default"]["inputs"]
    assert inputs["question"]["dtype"] == "DT_STRING"


@pytest.mark.parametrize(
    ("method", "path", "status", "message"),
    [
        ("GET", "/v1/models/other", 404, "no model 'other'; this server has 'tiny'"),
        ("GET", "/v1/models/tiny/versions/2", 404, "version '2' is not served; versions: 1"),
        ("POST", "/v1/models/tiny/labels/new:predict", 404, "label 'new' is not served"),
        ("POST", "/v1/models/tiny:classify", 400, "no signature for classify; use predict"),
        ("POST", "/v1/models/tiny/versions/1:regress", 400, "no signature for regress"),
        ("POST", "/v1/models/tiny:explain", 404, "Malformed request: POST"),
        ("GET", "/v1/models/tiny:predict", 405, "Malformed request: GET"),
        ("GET", "/v1/models", 400, "missing model name in request; this server has 'tiny'"),
        ("GET", "/", 404, "Malformed request: GET /"),
        ("GET", "/docs", 404, "Malformed request"),
        ("DELETE", "/v1/models/tiny", 405, "Malformed request: DELETE"),
        ("POST", "/v1/models/tiny:predict", 400, "the body is not JSON"),
    ],
)
def test_wrong_paths_are_refused_as_tensorflow_serving_does(
    endpoint, method, path, status, message
):
    response = requests.request(method, f"{endpoint}{path}", timeout=60)
    assert response.status_code == status
    assert message in response.json()["error"]


@pytest.mark.parametrize(
    ("path", "method"),
    [("", "GET"), ("/metadata", "GET"), ("/labels/stable", "GET"), (":predict", "POST")],
)
def test_a_path_tells_its_methods(url, path, method):
    allowed = requests.options(f"{url}{path}", timeout=60)
    refused = requests.delete(f"{url}{path}", timeout=60)
    assert (allowed.status_code, refused.status_code) == (200, 405)
    for response in (allowed, refused):
        assert set(response.headers["Allow"].split(", ")) == {method, "OPTIONS"}


def preflight(url, origin, header="content-type", method="POST"):
    headers = {
        "Origin": origin,
        "Access-Control-Request-Method": method,
        "Access-Control-Request-Headers": header,
    }
    return requests.options(url, headers=headers, timeout=60)


def test_web_pages_may_send_requests_only_from_the_origins_that_are_named(versions, url):
    mine, other = "http://localhost:3000", "http://example.com"
    for response in (
        preflight(f"{url}:predict", mine),
        requests.get(url, headers={"Origin": mine}),
    ):
        assert "Access-Control-Allow-Origin" not in response.headers
    with running(versions, cors_origins=[mine]) as endpoint:
        path = f"{endpoint}/v1/models/{NAME}"
        asked = preflight(f"{path}:predict", mine, "content-encoding, content-type")
        assert asked.status_code == 200
        refused = requests.post(f"{path}:predict", b"{", headers={"Origin": mine}, timeout=60)
        assert refused.status_code == 400
        for response in (asked, refused):
            assert response.headers["Access-Control-Allow-Origin"] == mine
        answered = requests.get(path, headers={"Origin": other}, timeout=60)
        assert "Access-Control-Allow-Origin" not in answered.headers
    with running(versions, cors_origins=["*"]) as endpoint:
        answered = requests.get(
            f"{endpoint}/v1/models/{NAME}", headers={"Origin": other}, timeout=60
        )
        assert answered.headers["Access-Control-Allow-Origin"] == "*"


@pytest.mark.parametrize("origins", [["http://localhost:3000"], ["*"]])
def test_requests_without_an_origin_are_answered_as_ever(versions, url, origins):
    with running(versions, cors_origins=origins) as endpoint:
        response = requests.get(f"{endpoint}/v1/models/{NAME}", timeout=60)
    assert response.json() == requests.get(url, timeout=60).json()
    # A cache may have it for web pages, too.
    expected = ("*", None) if origins == ["*"] else (None, "Origin")
    headers = ("Access-Control-Allow-Origin", "Vary")
    assert tuple(map(response.headers.get, headers)) == expected


@pytest.mark.parametrize(
    ("path", "method"), [("", "GET"), ("/metadata", "GET"), (":predict", "POST")]
)
def test_web_pages_are_told_the_methods_of_each_path(versions, path, method):
    mine = "http://localhost:3000"
    with running(versions, cors_origins=[mine]) as endpoint:
        url = f"{endpoint}/v1/models/{NAME}{path}"
        allowed = preflight(url, mine, method=method)
        refused = [
            (preflight(url, "http://example.com", method=method), "http://example.com"),
            (preflight(url, mine, method="PUT"), f"PUT is not a method of this path: {method}"),
            (preflight(url, mine, "x-other", method), "may not send the header x-other"),
        ]
        lost = preflight(f"{endpoint}/v2", mine)
    assert allowed.status_code == 200
    assert allowed.headers["Allow"] == f"{method}, OPTIONS"
    assert allowed.headers["Access-Control-Allow-Methods"] == f"{method}, OPTIONS"
    assert "Content-Encoding" in allowed.headers["Access-Control-Allow-Headers"]
    for response, reason in refused:
        assert response.status_code == 400
        assert response.headers["Allow"] == f"{method}, OPTIONS"
        assert reason in response.json()["error"]
        assert "Access-Control-Allow-Methods" not in response.headers
    assert (lost.status_code, list(lost.json())) == (404, ["error"])


def gzipped(body):
    # Without the time, which would be a part of a test's name.
    return gzip.compress(body, mtime=0)


@pytest.mark.parametrize("encoding", ["gzip", "GZIP", "x-gzip", "identity", ""])
def test_a_gzipped_request_is_answered_like_a_plain_one(url, flat_records, encoding):
    examples = [{"b64": base64.b64encode(flat_records[0]).decode()}]
    body = json.dumps({"signature_name": "serve_examples", "inputs": examples}).encode()
    plain = requests.post(f"{url}:predict", body, timeout=60)
    sent = gzip.compress(body) if "gzip" in encoding.lower() else body
    headers = {"Content-Encoding": encoding}
    response = requests.post(f"{url}:predict", sent, headers=headers, timeout=60)
    assert response.status_code == 200
    assert response.json() == plain.json()


@pytest.mark.parametrize(
    ("encoding", "body", "status", "message"),
    [
        ("gzip", gzipped(b" " * 1_000_001), 413, "uncompressed body exceeds 1,000,000 bytes"),
        ("gzip", gzipped(bytes(20_000_000)), 413, "uncompressed body exceeds"),
        ("gzip", gzipped(b" " * 1_000_000), 400, "the body is not JSON"),
        ("gzip", gzipped(b"{}")[:-9], 400, "not valid gzip: it is cut short"),
        ("gzip", b"", 400, "not valid gzip: it is cut short"),
        ("gzip", b"{}", 400, "not valid gzip: Error -3"),
        ("gzip", gzipped(b"{}") * 2, 400, "not valid gzip: extra data after the end"),
        ("br", b"{}", 415, "Content-Encoding 'br' is not supported; use gzip or none"),
        ("gzip, gzip", b"{}", 415, "Content-Encoding 'gzip, gzip' is not supported"),
    ],
)
def test_a_bad_compressed_body_is_refused(url, encoding, body, status, message):
    headers = {"Content-Encoding": encoding}
    response = requests.post(f"{url}:predict", body, headers=headers, timeout=60)
    assert response.status_code == status
    assert message in response.json()["error"]


@pytest.mark.parametrize("chunked", [False, True])
def test_a_body_too_large_is_refused_with_or_without_its_length(url, chunked):
    body = b" " * 1_000_001
    data = iter([body]) if chunked else body
    response = requests.post(f"{url}:predict", data=data, timeout=60)
    assert response.status_code == 413
    assert response.json()["error"] == "the body exceeds 1,000,000 bytes"


def test_too_many_requests_are_refused_until_one_is_done(versions):
    with running(versions, max_pending=1) as endpoint:
        path = f"/v1/models/{NAME}:predict"
        address = urllib.parse.urlsplit(endpoint)
        slow = socket.create_connection((address.hostname, address.port))
        with contextlib.closing(slow):
            slow.sendall(f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n".encode())
            # Until the server handles it.
            deadline = time.monotonic() + 30
            status = 0
            while status != 503 and time.monotonic() < deadline:
                response = requests.post(f"{endpoint}{path}", data=b"{}", timeout=60)
                status = response.status_code
            assert "server busy: 1 in progress" in response.json()["error"]
            slow.sendall(b"{}")
            assert b" 400 " in slow.recv(1000)
        assert requests.post(f"{endpoint}{path}", data=b"{}", timeout=60).status_code == 400


def test_large_json_is_read_and_written_in_another_process(versions, batch, expected, monkeypatch):
    monkeypatch.setattr(rest, "LARGE_JSON", 0)
    before = set(psutil.Process().children())
    with running(versions) as endpoint:
        [answers] = Client(endpoint, NAME).answer(*alone(batch, 0))
        check(answers, expected, 0)
        refused = requests.post(f"{endpoint}/v1/models/{NAME}:predict", data=b"{", timeout=60)
        assert refused.status_code == 400
        assert refused.json()["error"].startswith("the body is not JSON: Expecting property name")
        [worker] = set(psutil.Process().children()) - before
        assert worker.cmdline()[-1].endswith("worker_process")
    assert not worker.is_running()


def test_a_folder_without_a_model_is_refused(tmp_path):
    (tmp_path / "1").mkdir()
    with pytest.raises(InputError) as caught:
        ModelVersions(tmp_path, {}, print)
    assert f"{tmp_path}: no SavedModel or OpenVINO model, and no" in one_line(caught)


def test_a_label_of_an_unknown_version_is_refused(tiny):
    with pytest.raises(InputError) as caught:
        ModelVersions(tiny.saved_model, {"stable": 7}, print)
    assert "no version 7 for the label 'stable'" in one_line(caught)


@pytest.mark.slow
def test_a_new_version_takes_over_without_a_failed_request(tiny, tmp_path, batch, expected):
    folder = tmp_path / "versions"
    shutil.copytree(tiny.saved_model, folder / "1")
    # A version that cannot be loaded, as after an interrupted copy, is skipped.
    shutil.copytree(tiny.saved_model, folder / "3")
    shutil.rmtree(folder / "3" / "variables")
    said, failures, stop = [], [], threading.Event()

    def keep_asking():
        client = Client(endpoint, NAME)
        while not stop.is_set():
            try:
                [answers] = client.answer(*alone(batch, 0))
                check(answers, expected, 0)
            except Exception as error:
                failures.append(error)

    def served():
        return requests.get(f"{endpoint}/v1/models/{NAME}", timeout=60).json()

    def wait_for(*numbers):
        deadline = time.monotonic() + 120
        while [s["version"] for s in served()["model_version_status"]] != list(numbers):
            assert time.monotonic() < deadline, said
            time.sleep(0.05)

    with running(ModelVersions(folder, {"old": 1}, said.append)) as endpoint:
        wait_for("1")
        askers = [threading.Thread(target=keep_asking) for _ in range(4)]
        for asker in askers:
            asker.start()
        shutil.copytree(tiny.saved_model, folder / "2")
        # The label keeps the first one.
        wait_for("2", "1")
        shutil.rmtree(folder / "2")
        # Back to the version before.
        wait_for("1")
        stop.set()
        for asker in askers:
            asker.join()
    assert failures == []
    broken = [line for line in said if "cannot load" in line]
    assert len(broken) == 1 and str(folder / "3") in broken[0]
    assert json.dumps(said).count("serving version 2") == 1
