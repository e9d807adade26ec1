"""Files survive a loss of power: the system calls that see to it, in their order."""

import errno
import os
import re
import shutil
import subprocess
import sys

import pytest

from lxmert_tf.durable import rename_durably

CALL = re.compile(r"(fsync|rename\w*)\((.*)\)\s+= 0")


def calls_of(tmp_path, code: str) -> list[str]:
    """Run Python code under strace; return its fsyncs and renames with the names of the files."""
    if not shutil.which("strace"):
        pytest.skip("needs strace")
    log = tmp_path / "strace.log"
    command = ["strace", "-f", "-y", "-o", str(log), "-e", "trace=fsync,rename,renameat,renameat2"]
    done = subprocess.run([*command, sys.executable, "-c", code], capture_output=True, text=True)
    if "ptrace" in done.stderr.lower():
        pytest.skip("this machine does not let strace trace")
    assert done.returncode == 0, done.stderr
    calls = []
    for name, arguments in CALL.findall(log.read_text()):
        files = re.findall(rf"{re.escape(str(tmp_path))}([^\">]*)", arguments)
        if files:
            calls.append(" ".join([name.removesuffix("at2").removesuffix("at"), *files]))
    return calls


def test_a_file_is_on_the_disk_before_its_name(tmp_path):
    code = f"""
from lxmert_tf.text_file import write_text
write_text({str(tmp_path / "a.json")!r}, "content")
"""
    [data, rename, folder] = calls_of(tmp_path, code)
    assert re.fullmatch(r"fsync /\.a\.json\.\d+\.partial", data)
    assert re.fullmatch(r"rename /\.a\.json\.\d+\.partial /a\.json", rename)
    assert folder == "fsync "


def test_all_files_of_a_directory_are_on_the_disk_before_its_name(tmp_path):
    code = f"""
from lxmert_tf.atomic_write import atomic_directory
with atomic_directory({str(tmp_path / "preset")!r}) as folder:
    (folder / "in").mkdir()
    (folder / "weights").write_text("1")
    (folder / "in" / "words").write_text("2")
"""
    calls = calls_of(tmp_path, code)
    assert calls[-2:] == ["rename /.preset.partial /preset", "fsync "]
    assert set(calls[:-2]) == {
        f"fsync /.preset.partial{name}" for name in ("", "/weights", "/in", "/in/words")
    }


@pytest.mark.slow
def test_a_checkpoint_is_on_the_disk_before_older_ones_are_deleted(tmp_path):
    code = f"""
import pathlib
import tensorflow as tf
from lxmert_tf.training.checkpointing import write_checkpoint
write_checkpoint(tf.train.Checkpoint(v=tf.Variable(1.0)), pathlib.Path({str(tmp_path)!r}, "step-1"))
"""
    calls = [call for call in calls_of(tmp_path, code) if ".tmp" not in call]
    data, index = "step-1.data-00000-of-00001", "step-1.index"
    order = [re.sub(r"/[^/ ]+/(step)", r"/\1", call) for call in calls[-6:]]
    assert order == [
        f"fsync /{data}",
        f"rename /{data} /{data}",
        "fsync ",
        f"fsync /{index}",
        f"rename /{index} /{index}",
        "fsync ",
    ]


def test_copies_of_what_urls_name_are_on_the_disk_before_their_names(tmp_path):
    pytest.importorskip("fsspec")
    code = f"""
import os
os.environ["LXMERT_CACHE"] = {str(tmp_path)!r}
import fsspec
from lxmert_tf.local_copy import RecordCopies, copy_directory
fsspec.filesystem("memory").pipe("/bucket/model/weights", b"1")
copy_directory("memory://bucket/model")
RecordCopies().fetch("memory://bucket/model/weights")
"""
    calls = [re.sub("[0-9a-f]{24}", "ID", call) for call in calls_of(tmp_path, code)]
    calls = [re.sub(r"\.partial-\w+", "PARTIAL", call) for call in calls]
    assert calls == [
        "fsync /models/PARTIAL/model/weights",
        "fsync /models/PARTIAL/model",
        "rename /models/PARTIAL/model /models/ID/model",
        "fsync /models/ID",
        "fsync /records/PARTIAL",
        "rename /records/PARTIAL /records/ID-weights",
        "fsync /records",
    ]


def test_a_file_system_that_cannot_write_folders_is_used_all_the_same(tmp_path, monkeypatch):
    refused = []

    def fsync(opened):
        if os.path.isdir(f"/proc/self/fd/{opened}"):
            refused.append(opened)
            raise OSError(errno.EINVAL, "Invalid argument")

    monkeypatch.setattr(os, "fsync", fsync)
    (tmp_path / "new").write_text("new")
    rename_durably(tmp_path / "new", tmp_path / "old")
    assert refused and (tmp_path / "old").read_text() == "new"

    def fill_disk(opened):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", fill_disk)
    with pytest.raises(OSError, match="No space left"):
        rename_durably(tmp_path / "old", tmp_path / "new")


def test_links_and_replaced_files(tmp_path):
    (tmp_path / "old").write_text("old")
    (tmp_path / "new").write_text("new")
    rename_durably(tmp_path / "new", tmp_path / "old")
    assert (tmp_path / "old").read_text() == "new"
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "dangling").symlink_to("nowhere")
    rename_durably(tmp_path / "folder", tmp_path / "moved")
    assert (tmp_path / "moved" / "dangling").is_symlink()
