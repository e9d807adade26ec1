"""A process for work that would keep the interpreter's lock for seconds.

While `json.loads` parses a large body in a thread, no other thread runs, and that of the event loop
answers nobody. Run as a module, this is the process itself.
"""

import os
import pickle
import signal
import subprocess
import sys
from collections.abc import Callable
from typing import Any

from lxmert_tf.serving.errors import RequestError


class WorkerProcess:
    """Calls functions in another process, which is started at the first call.

    Not for several threads. The process ends with this one, however that ends.
    """

    def __init__(self):
        self._process: subprocess.Popen | None = None

    def call(self, function: Callable, *arguments: Any) -> Any:
        """Return the result of a function of a module, or raise its exception.

        Args:
            function: The function; like its arguments and result, it is pickled.
            arguments: Its arguments.

        Raises:
            RequestError: The process ended meanwhile (status 503); the next call starts another.
        """
        process = self._process = self._process or _start()
        calls, results = process.stdin, process.stdout
        assert calls is not None and results is not None
        try:
            pickle.dump((function, arguments), calls)
            calls.flush()
            result, error = pickle.load(results)
        except (EOFError, OSError, pickle.UnpicklingError) as broken:
            self.close()
            reason = "the process for large bodies ended, perhaps because memory ran out"
            raise RequestError(503, reason) from broken
        if error is not None:
            raise error
        return result

    def close(self) -> None:
        """End the process."""
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            # Also closes the pipes; what is still in them is not needed.
            process.communicate()


def _start() -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, "-m", __name__],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )


def main() -> None:
    """Answer the calls of the process that started this one, until it closes the pipe."""
    # Ctrl-C in a terminal reaches both processes, and a service manager may send SIGTERM to both.
    # The server may need this one until it has answered all requests.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    calls, results = sys.stdin.buffer, sys.stdout.buffer
    while True:
        try:
            function, arguments = pickle.load(calls)
        except (EOFError, pickle.UnpicklingError):
            return
        answer = _answer(function, arguments)
        # The memory of a call must not last until the next one.
        del arguments
        try:
            pickle.dump(answer, results)
            results.flush()
        except BrokenPipeError:
            os._exit(0)
        del answer


def _answer(function: Callable, arguments: tuple) -> tuple[Any, Exception | None]:
    try:
        return function(*arguments), None
    except Exception as error:
        return None, error


if __name__ == "__main__":
    main()
