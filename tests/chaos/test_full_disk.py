"""A disk that fills up costs a command, which says so in one line, and nothing that was whole."""

import contextlib
import os
import pathlib
import subprocess

import pytest
import tensorflow as tf

from lxmert_tf.cli import main as cli
from lxmert_tf.regions.grid import GridExtractor
from lxmert_tf.training import checkpointing
from lxmert_tf.training.callbacks import TrainingLog
from lxmert_tf.training.run_directory import RunDirectory
from tests.chaos.kill_training import Training, compare, saved_steps
from tests.lxmert_tf.samples import easy_vqa_scenes
from tests.lxmert_tf.training.conftest import write_folder
from tests.serving.tiny import make_tiny

pytestmark = pytest.mark.slow


class Disk:
    """A file system of a few megabytes.

    Args:
        path: Where it is mounted.
    """

    def __init__(self, path: pathlib.Path):
        self.path = path
        self._filler = path / "filler"

    def fill(self, leave: int = 0) -> None:
        """Take all room but a few bytes."""
        with self._filler.open("ab", buffering=0) as file, contextlib.suppress(OSError):
            while True:
                file.write(bytes(65536))
        os.truncate(self._filler, self._filler.stat().st_size - leave)

    def empty(self) -> None:
        """Give the room back."""
        self._filler.unlink(missing_ok=True)


@pytest.fixture
def disk(tmp_path):
    path = tmp_path / "disk"
    path.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=24m", "tmpfs", path]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True).returncode != 0:
        pytest.skip("only root may mount a file system")
    yield Disk(path)
    subprocess.run(["umount", "--lazy", path], check=True)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    return make_tiny(tmp_path_factory)


@pytest.fixture
def eagerly():
    """Train without compiling, which would take most of the time."""
    tf.config.run_functions_eagerly(True)
    yield
    tf.config.run_functions_eagerly(False)


@pytest.fixture
def fails(capfd):
    """Runs a command that must fail in one line, and returns the line."""

    def run(*argv) -> str:
        capfd.readouterr()
        status = cli.main([str(part) for part in argv])
        errors = capfd.readouterr().err
        assert status == 2, errors
        # Before it may be where the run resumed.
        *before, line = errors.splitlines()
        assert not [text for text in before if not text.startswith("resuming at step ")]
        assert line.startswith(f"lxmert {argv[0]}: ") and "No space left on device" in line
        return line

    return run


@pytest.fixture
def records(tmp_path):
    folder = tmp_path / "records"
    write_folder(folder, easy_vqa_scenes(3, GridExtractor(cells=2, max_components=4, crop_size=4)))
    return folder


def fill_before(monkeypatch, disk, owner, name, call, leave):
    """Fill the disk before the n-th call of a function."""
    function, calls = getattr(owner, name), []

    def full(*args, **kwargs):
        calls.append(name)
        if len(calls) == call:
            disk.fill(leave)
        return function(*args, **kwargs)

    monkeypatch.setattr(owner, name, full)


def test_training_resumes_once_there_is_room(records, disk, eagerly, fails, monkeypatch):
    training = Training("finetune", records.parent, epochs=2)
    whole, run = records.parent / "whole", disk.path / "run"
    assert cli.main(training.arguments(whole, resume=False)) == 0
    for owner, name, call, leave in (
        (checkpointing, "write_checkpoint", 3, 8192),
        (TrainingLog, "_write", 1, 0),
        (RunDirectory, "save_preset", 1, 16384),
    ):
        before = saved_steps(run)
        with monkeypatch.context() as patch:
            fill_before(patch, disk, owner, name, call, leave)
            fails(*training.arguments(run, resume=run.exists()))
        assert max(saved_steps(run)) >= max(before, default=2)
        assert not (run / "preset").exists()
        disk.empty()
    assert cli.main(training.arguments(run, resume=True)) == 0
    compare(run, whole)


def test_what_does_not_fit_leaves_nothing(tiny, disk, fails):
    answers = ("--examples", tiny.grouped, "--task", "gqa", "--output", disk.path / "answers.json")
    model = ("--model", tiny.preset)
    for leave, command in (
        (0, ("export", *model, "--output", disk.path / "export")),
        (100_000, ("export", *model, "--output", disk.path / "export")),
        (0, ("predict", *model, *answers)),
    ):
        disk.fill(leave)
        line = fails(*command)
        assert f": {command[-1]}: " in line
        assert [path.name for path in disk.path.iterdir()] == ["filler"]
        disk.empty()
