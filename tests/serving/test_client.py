"""The client over gRPC and REST, and its messages for servers that fail."""

import http.server
import json
import threading

import easy_vqa
import numpy as np
import pytest

from lxmert_tf.cli import main as cli
from lxmert_tf.errors import InputError
from lxmert_tf.regions.registry import make_extractor
from lxmert_tf.serving import Client, Predictor, ServerError
from tests.lxmert_tf.samples import one_line
from tests.serving.grpc_server import Servicer, running_grpc
from tests.serving.tiny import EXTRACTOR


@pytest.fixture(scope="module")
def servicer(session):
    return Servicer(session)


@pytest.fixture(scope="module")
def address(servicer):
    with running_grpc(servicer) as address:
        yield address


@pytest.mark.parametrize("scheme", ["", "grpc://"])
def test_grpc_gives_the_answers_of_the_model(address, session, batch, scheme):
    client = Client(scheme + address, "tiny")
    questions = [q.decode() for q in batch["question"].numpy()]
    regions = {k: v.numpy() for k, v in batch.items() if k != "question"}
    expected = session.run("serving_default", {k: v.numpy() for k, v in batch.items()})
    answers = client.answer(questions, **regions)
    texts = [[a for a, _ in row] for row in answers]
    assert texts == expected["answers"].astype(str).tolist()
    scores = [[s for _, s in row] for row in answers]
    np.testing.assert_array_equal(np.float32(scores), expected["scores"])
    state = client.encode_image(*(v[:1] for v in regions.values()))
    [first] = client.answer_about_image(questions[:1], state)
    assert [a for a, _ in first] == texts[0]


@pytest.mark.parametrize(
    ("given", "version", "label"),
    [(7, 7, ""), ("7", 7, ""), ("canary", 0, "canary"), (None, 0, "")],
)
def test_a_version_or_a_label_can_be_chosen(address, servicer, batch, given, version, label):
    regions = [v.numpy()[:1] for k, v in batch.items() if k != "question"]
    Client(address, "tiny", given).answer(["what?"], *regions)
    spec = servicer.specs[-1]
    assert (spec.version.value, spec.version_label) == (version, label)


def test_an_error_of_a_grpc_server_is_reported_in_one_line(address):
    with pytest.raises(ServerError) as caught:
        Client(address, "other").encode_image(np.zeros([1, 1, 64]), np.zeros([1, 1, 4]), [1])
    assert one_line(caught) == f"{address}: NOT_FOUND: Servable not found for request"


@pytest.mark.parametrize(
    "endpoint", ["", "http://", "ftp://a:1", "a", "a:b", "http://a:1/v1", "grpc://a"]
)
def test_a_malformed_endpoint_is_refused(endpoint):
    with pytest.raises(InputError) as caught:
        Client(endpoint, "tiny")
    assert f"endpoint {endpoint!r}: must be http://HOST:PORT" in one_line(caught)


@pytest.mark.parametrize("name", ["", "a/b", "..", "a\nb", "a:predict"])
def test_a_name_that_would_change_the_path_is_refused(name):
    with pytest.raises(InputError):
        Client("http://a:1", name)
    with pytest.raises(InputError):
        Client("http://a:1", "tiny", name)


@pytest.fixture
def other_server():
    """A web server other than TensorFlow Serving, with responses set by the test."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            self.server.path = self.path
            self.rfile.read(int(self.headers["Content-Length"]))
            status, body = self.server.answer
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *args):
            pass

    with http.server.HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        ((200, b"<html>"), "status 200 without JSON"),
        ((200, b"[]"), "the response lacks image_state"),
        ((500, b"{}"), "status 500"),
        ((503, b'{"error": "too\\nmany"}'), "too many"),
        ((200, b'{"outputs": [[1], [1, 2]]}'), "the response lacks image_state"),
    ],
)
def test_an_unexpected_response_is_reported_in_one_line(other_server, answer, message):
    other_server.answer = answer
    client = Client(f"http://127.0.0.1:{other_server.server_port}", "tiny", "canary")
    with pytest.raises(ServerError) as caught:
        client.encode_image([[[1.0]]], [[[0, 0, 1, 1]]], [1])
    assert message in one_line(caught)
    assert other_server.path == "/v1/models/tiny/labels/canary:predict"


def test_a_name_with_a_blank_is_quoted(other_server):
    other_server.answer = (200, b'{"outputs": [[[1.0]]]}')
    client = Client(f"http://127.0.0.1:{other_server.server_port}", "my model", "the best")
    client.encode_image([[[1.0]]], [[[0, 0, 1, 1]]], [1])
    assert other_server.path == "/v1/models/my%20model/labels/the%20best:predict"


@pytest.fixture
def unreachable_proxy(monkeypatch):
    """An environment in which every request goes to a proxy that does not answer."""
    for name in ("http_proxy", "https_proxy", "all_proxy", "grpc_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
        monkeypatch.setenv(name.upper(), "http://127.0.0.1:9")
    for name in ("no_proxy", "no_grpc_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "0.0.0.0"])
def test_this_machine_is_reached_without_the_proxy(unreachable_proxy, other_server, host):
    other_server.answer = (200, b'{"outputs": [[[1.0]]]}')
    client = Client(f"http://{host}:{other_server.server_port}", "tiny")
    assert client.encode_image([[[1.0]]], [[[0, 0, 1, 1]]], [1]).shape == (1, 1, 1)


def test_this_machine_is_reached_without_the_proxy_over_grpc(unreachable_proxy, address, batch):
    regions = [v.numpy()[:1] for k, v in batch.items() if k != "question"]
    assert len(Client(address, "tiny").answer(["what?"], *regions)) == 1


def test_another_machine_is_reached_through_the_proxy(unreachable_proxy):
    with pytest.raises(ServerError) as caught:
        Client("http://example.invalid", "tiny").encode_image([[[1.0]]], [[[0, 0, 1, 1]]], [1])
    # The name is not looked up.
    assert "onnection refused" in one_line(caught)


def test_a_server_need_not_tell_its_signatures(address, other_server):
    # Both answer to the method of Predict alone.
    rest = f"http://127.0.0.1:{other_server.server_port}"
    for endpoint in (address, rest):
        with pytest.raises(ServerError):
            Client(endpoint, "tiny").signatures()
        assert not Predictor.from_endpoint(endpoint, "tiny").takes_files
    # One that does not answer may have the signature.
    down = Predictor.from_endpoint("http://127.0.0.1:9", "tiny")
    for _ in range(2):
        with pytest.raises(ServerError, match="onnection refused"):
            _ = down.takes_files


@pytest.mark.parametrize("signature", ["answer_image", "encode_picture"])
def test_the_error_of_a_server_is_kept_if_it_is_not_about_the_signature(other_server, signature):
    address = f"http://127.0.0.1:{other_server.server_port}"
    # The name is in every message.
    client = Client(address, signature)
    for reason in ("out of memory", f"{signature} is slow"):
        other_server.answer = (500, json.dumps({"error": reason}).encode())
        with pytest.raises(ServerError) as caught:
            client.call(signature, {"image": [b""]})
        assert one_line(caught) == f"{address}/v1/models/{signature}:predict: {reason}"


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda client: client.answer_image("abc", ["?"] * 3), "image must be a list, not one str"),
        (lambda client: client.encode_picture(b"abc"), "image must be a list, not one bytes"),
        (
            lambda client: client.answer_about_picture("what?", b"abc"),
            "question must be a list, not one str",
        ),
        (
            lambda client: client.answer_about_image("what?", [[[1.0]]]),
            "question must be a list, not one str",
        ),
        (lambda client: client.call("answers", {}), "signature 'answers': must be one of serving_"),
    ],
)
def test_a_mistaken_call_is_refused(call, message):
    # Before the server is asked.
    with pytest.raises(InputError) as caught:
        call(Client("http://127.0.0.1:9", "tiny"))
    assert message in one_line(caught)


def test_serialized_scenes_are_answered(address, session, flat_records):
    examples = {"examples": flat_records[:2]}
    expected = session.run("serve_examples", examples)
    outputs = Client(address, "tiny").call("serve_examples", examples)
    assert outputs["answers"].tolist() == expected["answers"].astype(str).tolist()
    for name in ("scores", "probabilities"):
        np.testing.assert_array_equal(outputs[name], expected[name])


@pytest.mark.parametrize("scheme", ["http", "grpc"])
def test_an_unreachable_server_is_reported_in_one_line(scheme):
    with pytest.raises(ServerError) as caught:
        Client(f"{scheme}://127.0.0.1:9", "tiny").encode_image([[[1.0]]], [[[0, 0, 1, 1]]], [1])
    assert "onnection refused" in one_line(caught)


def test_ask_prints_the_answers_of_the_server(address, session, image, tmp_path, capsys):
    picture = easy_vqa.get_test_image_paths()[0]
    file = tmp_path / "extractor.json"
    file.write_text(json.dumps(EXTRACTOR))
    question = "what shape is in the image?"
    argv = ["--model", "tiny", "--endpoint", f"grpc://{address}", "--extractor", str(file)]
    assert cli.main(["ask", "--image", str(picture), "--top", "1", *argv, question]) == 0
    regions = make_extractor(EXTRACTOR).extract(image)
    inputs = {
        "question": [question],
        "region_features": [regions.features],
        "region_boxes": [regions.boxes],
        "region_count": [len(regions)],
    }
    outputs = session.run("serving_default", inputs)
    best, score = outputs["answers"][0, 0].decode(), float(outputs["scores"][0, 0])
    assert capsys.readouterr().out == f"{question}\n  {score:6.1%}  {best}\n"


def test_ask_takes_an_extractor_only_with_an_endpoint(capsys):
    argv = ["ask", "--model", "m", "--image", "i.png", "--extractor", "e.json", "what?"]
    assert cli.main(argv) == 2
    assert "--extractor requires --endpoint" in capsys.readouterr().err
