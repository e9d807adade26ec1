"""A run's directory: created, resumed, refused, and cleared of unfinished files."""

import pytest

from lxmert_tf.errors import InputError
from lxmert_tf.training.checkpointing import WRITING
from lxmert_tf.training.run_directory import RunDirectory


def test_a_run_that_was_killed_before_it_began_begins(tmp_path, capfd):
    for path in (tmp_path / "none", tmp_path):
        with RunDirectory(path, {"a": 1}, resume=True):
            assert f"{path}: no run to resume; starting a new one" in capfd.readouterr().err
        with RunDirectory(path, {"a": 1}, resume=True):
            assert capfd.readouterr().err == ""
        with pytest.raises(InputError, match="holds a run already; continue it with --resume"):
            RunDirectory(path, {"a": 1}, resume=False)
        with pytest.raises(InputError, match="a was 1 and is 2 now"):
            RunDirectory(path, {"a": 2}, resume=True)


def test_unfinished_files_of_a_killed_process_are_deleted(tmp_path):
    with RunDirectory(tmp_path, {}, resume=False) as run:
        kept = [tmp_path / "run.json", tmp_path / "log.jsonl", tmp_path / ".notes"]
    left = [
        run.checkpoints / WRITING / "step-2.index",
        tmp_path / ".preset-a1" / "weights.index",
        tmp_path / ".preset.partial" / "weights.index",
        tmp_path / ".log.jsonl.17.partial",
        run.checkpoints / ".best.json.17.partial",
    ]
    for file in (*kept, *left):
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()
    with RunDirectory(tmp_path, {}, resume=True):
        assert sorted(path for path in tmp_path.rglob("*") if path.is_file()) == sorted(kept)
        assert not (run.checkpoints / WRITING).exists()


def test_two_processes_do_not_train_in_one_directory(tmp_path):
    with RunDirectory(tmp_path, {}, resume=False):
        with pytest.raises(InputError, match="another process is training there"):
            RunDirectory(tmp_path, {}, resume=True)
    with RunDirectory(tmp_path, {}, resume=True):
        pass
