"""`lxmert serve` as a command: options that it refuses, and its start and end."""

import signal
import socket
import subprocess
import sys

import pytest
import requests

from lxmert_tf.cli import main as cli


def refused(capsys, *argv) -> str:
    assert cli.main(["serve", *map(str, argv)]) == 2
    [line] = capsys.readouterr().err.splitlines()
    return line


def test_a_missing_model_is_refused(capsys, tmp_path):
    line = refused(capsys, "--model", tmp_path / "nowhere", "--port", 0)
    assert f"model not found: {tmp_path / 'nowhere'}" in line


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


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_it_says_where_it_listens_and_ends_without_a_traceback(tiny, number):
    command = [sys.executable, "-m", "lxmert_tf.cli", "serve", "--port", "0"]
    server = subprocess.Popen(
        [*command, "--model", tiny.saved_model],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    lines = [server.stdout.readline() for _ in range(2)]
    url = lines[1].split()[-1]
    assert lines == ["serving version 1\n", f"listening at {url}\n"]
    assert url.startswith("http://127.0.0.1:") and url.endswith("/v1/models/saved_model")
    assert requests.get(url, timeout=60).ok
    server.send_signal(number)
    _, stderr = server.communicate(timeout=60)
    assert "Traceback" not in stderr
    assert server.returncode in (130, -number)
