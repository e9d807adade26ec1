"""Importing the library changes nothing in the process; commands choose their settings."""

import json
import pathlib
import platform
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).parents[2]


def run_python(code, **environment):
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        env={"PATH": "", "PYTHONPATH": str(ROOT), **environment},
    )
    assert done.returncode == 0, done.stderr
    return done


def test_import_changes_nothing_in_the_process():
    code = """
import ctypes, sys
def refuse(*args):
    raise AssertionError("the C library was loaded")
ctypes.CDLL = refuse
before = list(sys.meta_path), sys.unraisablehook
import lxmert_tf, lxmert_tf.errors, lxmert_tf.runtime
assert (sys.meta_path, sys.unraisablehook) == before
assert "tensorflow" not in sys.modules
"""
    # At this log level commands hide what TensorFlow logs.
    done = run_python(code, TF_CPP_MIN_LOG_LEVEL="3")
    assert done.stderr == ""


def test_silenced_tensorflow_is_imported_in_silence():
    code = """
import lxmert_tf
from lxmert_tf.runtime import silence_tensorflow
silence_tensorflow()
import tensorflow, os
os.write(2, b"written by C++")
"""
    assert run_python(code).stderr == "written by C++"


# What each command has chosen at the moment in which it imports TensorFlow.
CHOICES = """
import ctypes, json, os, sys
from lxmert_tf import runtime
from lxmert_tf.cli.main import main

class Reached(BaseException):
    pass

class Stop:
    def find_spec(self, name, path=None, target=None):
        if name == "tensorflow":
            raise Reached

class Library:
    def mallopt(self, parameter, value):
        parameters.append(parameter)

sys.meta_path.insert(0, Stop())
ctypes.CDLL = lambda name: Library()
choices = {}
for name, arguments in json.loads(os.environ["COMMANDS"]).items():
    parameters = []
    os.environ.pop("TF_ENABLE_ONEDNN_OPTS", None)
    try:
        status = main(arguments)
        raise AssertionError(f"{name}: exit status {status} before TensorFlow was imported")
    except Reached:
        choices[name] = [bool(parameters), os.environ.get("TF_ENABLE_ONEDNN_OPTS")]
print(json.dumps(choices))
"""
CONFIGS = ROOT / "configs"
TASK = str(CONFIGS / "task" / "vqa.yaml")
STAGES = str(CONFIGS / "pretraining" / "one_stage.yaml")
RECORDS = ["--train", "none.tfrecord", "--validation", "none.tfrecord", "--output", "run"]
BENCHMARK = ["benchmark", "--model", "mini", "--task"]
COMMANDS = {
    "finetune": ["finetune", "--config", TASK, *RECORDS],
    "pretrain": ["pretrain", "--config", STAGES, *RECORDS],
    "ablate": [
        *["ablate", "--config", str(CONFIGS / "ablation" / "vision_tasks.yaml")],
        *["--pretraining", STAGES, "--task", TASK, *RECORDS],
    ],
    "benchmark training": [*BENCHMARK, "finetune"],
    "benchmark answers": [*BENCHMARK, "answer"],
    "evaluate": ["evaluate", "--model", "none", "--examples", "none.tfrecord"],
}


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc has these settings")
def test_commands_that_train_keep_freed_memory_and_prefer_onednn(tmp_path):
    (tmp_path / "1").mkdir()
    (tmp_path / "1" / "saved_model.pb").touch()
    commands = {**COMMANDS, "serve": ["serve", "--model", str(tmp_path), "--port", "0"]}
    choices = json.loads(run_python(CHOICES, COMMANDS=json.dumps(commands)).stdout)
    assert choices == {
        "finetune": [True, "1"],
        "pretrain": [True, "1"],
        "ablate": [True, "1"],
        "benchmark training": [True, "1"],
        "benchmark answers": [True, None],
        "evaluate": [False, None],
        "serve": [False, None],
    }


@pytest.mark.slow
@pytest.mark.parametrize(("given", "used"), [(None, True), ("0", False)])
def test_onednn_is_used_unless_the_user_disabled_it(given, used):
    code = """
from lxmert_tf.runtime import prefer_onednn
prefer_onednn()
from tensorflow.python.util import _pywrap_util_port
print(_pywrap_util_port.IsMklEnabled())
"""
    environment = {"TF_ENABLE_ONEDNN_OPTS": given} if given else {}
    assert run_python(code, **environment).stdout == f"{used}\n"


# Fills and frees as much as a large gradient, in a thread as TensorFlow does, and prints the page
# faults of the second time.
COUNT_FAULTS = """
import resource, threading
from lxmert_tf.runtime import keep_freed_memory

keep_freed_memory()

def use():
    bytearray(b"x") * 100_000_000

def faults():
    thread = threading.Thread(target=use)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    thread.start()
    thread.join()
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

faults()
print(faults())
"""
PAGES = 100_000_000 // 4096


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="other C libraries are left alone")
def test_freed_memory_needs_no_new_pages():
    assert int(run_python(COUNT_FAULTS).stdout) < PAGES / 100
