"""Errors and signals in `lxmert ingest`, with real processes: one line, and nothing left behind."""

import contextlib
import json
import os
import pathlib
import resource
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator

import easy_vqa
import pytest

from lxmert_tf.errors import InputError
from pipeline.beam.job import run_job
from pipeline.beam.workers import (
    WORKER_THREAD,
    noting_errors,
    raising_noted_errors,
    run_apart,
    stopped_by_signals,
)
from pipeline.ingest.config import IngestConfig, SplitConfig
from pipeline.ingest.job import run_ingest

# Enough to keep workers busy until a signal comes.
PICTURES = 4000


@pytest.fixture(scope="module")
def inputs(tmp_path_factory) -> pathlib.Path:
    """A folder with many pictures and sentences about them."""
    folder = tmp_path_factory.mktemp("inputs")
    (folder / "pictures").mkdir()
    source = folder / "source.png"
    shutil.copy(easy_vqa.get_test_image_paths()[0], source)
    for number in range(PICTURES):
        os.link(source, folder / "pictures" / f"p{number}.png")
    sentences = ({"image": f"p{n}", "sentence": "what is it?"} for n in range(PICTURES))
    (folder / "sentences.jsonl").write_text("".join(f"{json.dumps(s)}\n" for s in sentences))
    return folder


def start(folder, inputs, workers) -> subprocess.Popen:
    command = [sys.executable, "-m", "lxmert_tf.cli", "ingest", "--output", folder / "out"]
    command += ["--regions", inputs / "pictures" / "*.png"]
    command += ["--sentences", inputs / "sentences.jsonl", "--sentences-format", "json_lines"]
    return subprocess.Popen(
        [*command, "--workers", str(workers)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=folder,
        # Like a job in a terminal, to all of whose processes Ctrl-C goes.
        start_new_session=True,
        # Tests may run in the background, where Ctrl-C is ignored.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )


def wait_until_pictures_are_read(folder: pathlib.Path, process: subprocess.Popen) -> None:
    while not list((folder / ".out.partial").glob("work/*.progress")):
        assert process.poll() is None, process.communicate()
        time.sleep(0.02)


def others_of(process: subprocess.Popen) -> list[int]:
    """Return the other processes of a session that live."""
    found = []
    for path in pathlib.Path("/proc").glob("[0-9]*/stat"):
        try:
            state, _, _, session, *_ = path.read_text().rpartition(")")[2].split()
        except (FileNotFoundError, ProcessLookupError):
            continue
        if int(session) == process.pid != int(path.parent.name) and state not in "ZX":
            found.append(int(path.parent.name))
    return found


def check_that_nothing_is_left(folder: pathlib.Path, process: subprocess.Popen) -> None:
    deadline = time.monotonic() + 10
    while others_of(process) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not others_of(process)
    assert not list(folder.iterdir())


@pytest.mark.parametrize(
    ("number", "workers", "status", "line"),
    [
        pytest.param(signal.SIGTERM, 1, 143, "terminated", marks=pytest.mark.slow),
        pytest.param(signal.SIGINT, 2, 130, "interrupted", marks=pytest.mark.e2e),
        pytest.param(signal.SIGINT, 1, 130, "interrupted", marks=pytest.mark.slow),
        pytest.param(signal.SIGTERM, 2, 143, "terminated", marks=pytest.mark.slow),
    ],
)
def test_a_signal_ends_the_job_in_one_line(tmp_path, inputs, number, workers, status, line):
    process = start(tmp_path, inputs, workers)
    wait_until_pictures_are_read(tmp_path, process)
    assert len(others_of(process)) == (0 if workers == 1 else workers)
    if number == signal.SIGINT:
        os.killpg(process.pid, number)
    else:
        process.send_signal(number)
    stdout, stderr = process.communicate(timeout=60)
    assert (process.returncode, stdout, stderr) == (status, "", f"lxmert ingest: {line}\n")
    check_that_nothing_is_left(tmp_path, process)


@pytest.mark.slow
def test_workers_do_not_outlive_a_killed_job(tmp_path, inputs):
    process = start(tmp_path, inputs, 2)
    wait_until_pictures_are_read(tmp_path, process)
    assert len(others_of(process)) == 2
    process.kill()
    stdout, stderr = process.communicate(timeout=60)
    assert (stdout, stderr) == ("", "")
    deadline = time.monotonic() + 10
    while others_of(process) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not others_of(process)


@pytest.mark.slow
def test_a_worker_that_is_killed_ends_the_job_in_one_line(tmp_path, inputs):
    process = start(tmp_path, inputs, 2)
    wait_until_pictures_are_read(tmp_path, process)
    os.kill(others_of(process)[0], signal.SIGKILL)
    stdout, stderr = process.communicate(timeout=60)
    assert (process.returncode, stdout) == (2, "")
    assert stderr == (
        "lxmert ingest: a worker process was killed by signal 9, perhaps because memory ran out; "
        "choose fewer --workers\n"
    )
    check_that_nothing_is_left(tmp_path, process)


def test_a_worker_that_ends_early_ends_the_job(usual_signals):
    def run_with(status: int) -> None:
        def end():
            raise RuntimeError(f"Worker subprocess exited with return code {status}")

        def wait_for_worker():
            threading.Thread(target=end, name=WORKER_THREAD).start()
            threading.Event().wait(60)

        run_apart(wait_for_worker)

    hook = threading.excepthook
    for status, error, message in (
        (-9, InputError, "a worker process was killed by signal 9, perhaps because memory ran out"),
        (-15, InputError, "a worker process was killed by signal 15$"),
        (1, RuntimeError, "return code 1"),
    ):
        with pytest.raises(error, match=message):
            run_with(status)
        assert threading.excepthook is hook


@pytest.mark.parametrize("workers", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_an_error_in_a_worker_is_one_line(tmp_path, workers):
    (tmp_path / "pictures").mkdir()
    shutil.copy(easy_vqa.get_test_image_paths()[0], tmp_path / "pictures" / "1.png")
    # The annotations beside it are missing, which the reader finds out in the worker.
    questions = tmp_path / "v2_OpenEnded_mscoco_train2014_questions.json"
    question = {"question_id": 1, "image_id": 1, "question": "what is it?"}
    questions.write_text(json.dumps({"data_subtype": "train2014", "questions": [question]}))
    command = [sys.executable, "-m", "lxmert_tf.cli", "ingest", "--output", "out"]
    command += ["--regions", "pictures/*.png", "--sentences", questions.name]
    command += ["--sentences-format", "vqa_official", "--workers", str(workers)]
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert (done.returncode, done.stdout) == (2, "")
    [line] = done.stderr.splitlines()
    assert line.startswith(f"lxmert ingest: {questions.name}: annotations not found")
    assert not (tmp_path / "out").exists() and not (tmp_path / ".out.partial").exists()


@pytest.fixture
def usual_signals(monkeypatch) -> Iterator[None]:
    """Let Ctrl-C raise, which tests in the background ignore."""
    monkeypatch.setattr(threading, "excepthook", threading.excepthook)
    usual = {signal.SIGINT: signal.default_int_handler, signal.SIGTERM: signal.SIG_DFL}
    before = {number: signal.signal(number, handler) for number, handler in usual.items()}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def test_a_second_signal_does_not_cut_the_clean_up_short(usual_signals):
    steps = []
    with pytest.raises(KeyboardInterrupt), stopped_by_signals():
        try:
            signal.raise_signal(signal.SIGINT)
        finally:
            signal.raise_signal(signal.SIGINT)
            signal.raise_signal(signal.SIGTERM)
            steps.append("cleaned up")
    assert steps == ["cleaned up"]


@contextlib.contextmanager
def full_disk(size: int) -> Iterator[None]:
    """Let files be made, but not grow beyond a size."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_failed_write_names_the_folder(tmp_path):
    with (
        pytest.raises(InputError) as caught,
        full_disk(200),
        raising_noted_errors(tmp_path),
        noting_errors(tmp_path),
    ):
        (tmp_path / "data").write_bytes(bytes(300))
    assert str(caught.value) == f"{tmp_path}: File too large"


@pytest.mark.parametrize(
    ("size", "reason"),
    [(0, "cannot be written; the disk may be full"), (500, "File too large")],
    ids=["nothing fits", "notes fit"],
)
def test_a_full_disk_is_the_reason_and_leaves_nothing(tmp_path, size, reason):
    config = IngestConfig("easy_vqa", SplitConfig("test", limit=2))
    with pytest.raises(InputError) as caught, full_disk(size):
        run_ingest(config, tmp_path / "out")
    assert str(caught.value) == f"{tmp_path / '.out.partial' / 'work'}: {reason}"
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("runner", "reason"),
    [("Nope", "Unexpected pipeline runner: Nope"), ("DataflowRunner", "Missing GCS path option")],
)
def test_options_that_beam_does_not_accept_end_in_one_line(tmp_path, runner, reason):
    with pytest.raises(InputError) as caught:
        run_job(lambda root: None, tmp_path, [f"--runner={runner}"], workers=1)
    message = str(caught.value)
    assert message.startswith("Beam does not accept its options: ")
    assert reason in message and len(message.splitlines()) == 1
