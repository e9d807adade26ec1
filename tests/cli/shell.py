"""A process that runs command lines one after another, so that TensorFlow is imported once.

Each runs as in a terminal: through `lxmert_tf.cli.main`, in its own working directory. Everything
written to file descriptors 1 and 2, also from C++, is captured.
"""

import json
import os
import subprocess
import sys
import tempfile
import traceback
from typing import NamedTuple

# By path, so that it runs from any directory.
COMMAND = (sys.executable, __file__)


class Outcome(NamedTuple):
    """Exit status and output of a command line."""

    status: int
    stdout: str
    stderr: str


class Shell:
    """Client of the process."""

    def __init__(self):
        environment = {**os.environ, "COLUMNS": "100"}
        # The command itself must keep TensorFlow quiet.
        environment.pop("TF_CPP_MIN_LOG_LEVEL", None)
        self._process = subprocess.Popen(
            COMMAND, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
        )

    def run(self, argv, cwd) -> Outcome:
        """Run `lxmert ARGV` in a directory."""
        request = {"argv": [str(a) for a in argv], "cwd": str(cwd)}
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        return Outcome(*json.loads(self._process.stdout.readline()))

    def close(self) -> None:
        self._process.stdin.close()
        self._process.wait(timeout=60)
        self._process.stdout.close()


def serve() -> None:
    """Answer requests from stdin on the original stdout."""
    answers = os.fdopen(os.dup(1), "w")
    for line in sys.stdin:
        request = json.loads(line)
        os.chdir(request["cwd"])
        answers.write(json.dumps(_run(request["argv"])) + "\n")
        answers.flush()


def _run(argv) -> Outcome:
    from lxmert_tf.cli import main as cli

    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        os.dup2(out.fileno(), 1)
        os.dup2(err.fileno(), 2)
        try:
            status = cli.main(argv)
        except SystemExit as stop:
            status = stop.code or 0
        except BaseException:
            traceback.print_exc()
            status = 1
        sys.stdout.flush()
        sys.stderr.flush()
        texts = []
        for file in (out, err):
            file.seek(0)
            texts.append(file.read().decode())
    return Outcome(status, *texts)


if __name__ == "__main__":
    serve()
