"""`lxmert serve` as a command: options that it refuses, and its start and end."""

import shutil
import signal
import socket
import subprocess
import sys

import pytest
import requests
import uvicorn

from lxmert_tf.cli import main as cli
from lxmert_tf.cli.serve import default_name
from lxmert_tf.serving.server.model_versions import ModelVersions


def refused(capsys, *argv) -> str:
    assert cli.main(["serve", *map(str, argv)]) == 2
    [line] = capsys.readouterr().err.splitlines()
    return line


def test_a_missing_model_is_refused(capsys, tmp_path):
    line = refused(capsys, "--model", tmp_path / "nowhere", "--port", 0)
    assert f"model not found: {tmp_path / 'nowhere'}" in line


@pytest.mark.parametrize("name", ["hf://lab/model", "hf://lab/model@v1"])
def test_a_model_of_the_hub_is_served_under_its_own_name(name):
    pytest.importorskip("huggingface_hub")
    assert default_name(name) == "model"
    assert default_name("saved_models/vqa/") == "vqa"


def test_a_folder_without_versions_is_refused(capsys, tmp_path):
    line = refused(capsys, "--model", tmp_path, "--port", 0)
    assert f"{tmp_path}: no SavedModel" in line


def test_a_port_in_use_is_refused(capsys, tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        line = refused(capsys, "--model", tmp_path, "--port", port)
    assert f"cannot listen at 127.0.0.1:{port}: Address already in use" in line


def test_an_address_of_another_machine_is_refused(capsys, tmp_path):
    line = refused(capsys, "--model", tmp_path, "--host", "192.0.2.1")
    assert "cannot listen at 192.0.2.1:8501" in line


@pytest.mark.parametrize("label", ["stable", "=1", "stable=", "stable=new"])
def test_a_label_without_a_version_is_refused(capsys, tmp_path, label):
    line = refused(capsys, "--model", tmp_path, "--label", label)
    assert f"--label {label}: must be LABEL=VERSION" in line


@pytest.mark.parametrize("origin", ["localhost:3000", "http://a/b", "http://a/", "null"])
def test_an_origin_that_no_page_has_is_refused(capsys, tmp_path, origin):
    line = refused(capsys, "--model", tmp_path, "--cors-origin", origin)
    assert f"--cors-origin {origin}: must be SCHEME://HOST[:PORT] without a path" in line


@pytest.mark.parametrize("name", ["a/b", "a:b", ".."])
def test_a_name_that_no_url_can_have_is_refused(capsys, tmp_path, name):
    line = refused(capsys, "--model", tmp_path, "--name", name)
    assert f"{name!r} cannot be a model's name in URLs" in line


def test_the_url_has_the_name_that_was_given_quoted(tiny, tmp_path, monkeypatch, capsys):
    # Everything but the loop that answers requests.
    monkeypatch.setattr(uvicorn.Server, "run", lambda server, sockets: sockets[0].close())
    link = tmp_path / "my model"
    link.symlink_to(tiny.saved_model)
    named = ["--model", tiny.saved_model, "--name", "my model"]
    for argv in (["--model", link], ["--model", f"{link}/"], named):
        assert cli.main(["serve", *map(str, argv), "--port", "0"]) == 0
        url = capsys.readouterr().out.splitlines()[1].split()[-1]
        assert url.endswith("/v1/models/my%20model")


@pytest.mark.parametrize(
    ("given", "target", "version"), [("best", "7", 7), ("3", "7", 3), ("best", "model", 1)]
)
def test_a_link_keeps_the_version_that_was_given(tiny, tmp_path, given, target, version):
    (tmp_path / "versions").mkdir()
    shutil.copytree(tiny.saved_model, tmp_path / target)
    (tmp_path / "versions" / given).symlink_to(tmp_path / target)
    versions = ModelVersions(tmp_path / "versions" / given, {}, print)
    assert versions.numbers() == [version]


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_it_says_where_it_listens_and_ends_without_a_traceback(tiny, number):
    command = [sys.executable, "-m", "lxmert_tf.cli", "serve", "--port", "0"]
    server = subprocess.Popen(
        [*command, "--model", tiny.saved_model],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # Tests may run in the background, where Ctrl-C is ignored.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    lines = [server.stdout.readline() for _ in range(2)]
    url = lines[1].split()[-1]
    assert lines == ["serving version 1\n", f"listening at {url}\n"]
    assert url.startswith("http://127.0.0.1:") and url.endswith("/v1/models/saved_model")
    assert requests.get(url, timeout=60).ok
    server.send_signal(number)
    _, stderr = server.communicate(timeout=60)
    assert "Traceback" not in stderr
    assert server.returncode == (0 if number == signal.SIGTERM else 130)
