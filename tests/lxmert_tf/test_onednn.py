"""The commands that train ask for oneDNN while TensorFlow still listens."""

import os
import pathlib
import subprocess
import sys

import pytest

COMMAND = """
import sys
from lxmert_tf.cli.main import main

status = main(sys.argv[1:])
from tensorflow.python.util import _pywrap_util_port

print(status, _pywrap_util_port.IsMklEnabled())
"""
CONFIGS = pathlib.Path(__file__).parents[2] / "configs"
# Of records that are not there: a command says so once TensorFlow is imported.
RECORDS = ("--train", "none.tfrecord", "--validation", "none.tfrecord")
TASK = CONFIGS / "task" / "vqa.yaml"
STAGES = CONFIGS / "pretraining" / "one_stage.yaml"
VARIANTS = CONFIGS / "ablation" / "vision_tasks.yaml"
ABLATION = (
    "ablate",
    "--config",
    VARIANTS,
    "--pretraining",
    STAGES,
    "--task",
    TASK,
    "--output",
    "run",
)
MINI = ("benchmark", "--model", "mini", "--batch-size", "2", "--steps", "1", "--task")


def _run(*arguments, **environment):
    """The status of a command line, and whether oneDNN computes in its process."""
    kept = {name: value for name, value in os.environ.items() if name != "TF_ENABLE_ONEDNN_OPTS"}
    command = [sys.executable, "-c", COMMAND, *map(str, arguments)]
    environment = {**kept, **environment}
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    status, computes = done.stdout.split()[-2:]
    return int(status), computes == "True"


@pytest.mark.parametrize(
    ("arguments", "status"),
    [
        (("finetune", "--config", TASK, "--output", "run", *RECORDS), 2),
        (("pretrain", "--config", STAGES, "--output", "run", *RECORDS), 2),
        ((*ABLATION, *RECORDS), 2),
        ((*MINI, "finetune"), 0),
    ],
    ids=lambda value: value[0] if isinstance(value, tuple) else str(value),
)
def test_commands_that_train_compute_with_onednn(arguments, status):
    assert _run(*arguments) == (status, True)


def test_who_switches_it_off_decides():
    arguments = ("finetune", "--config", TASK, "--output", "run", *RECORDS)
    assert _run(*arguments, TF_ENABLE_ONEDNN_OPTS="0") == (2, False)
