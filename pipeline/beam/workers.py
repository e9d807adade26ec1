"""Worker processes of a Beam job on this machine: how they start, fail, and stop.

The worker side, `python -m pipeline.beam.workers`, is Beam's own with two additions: it leaves
Ctrl-C to the process that started the job, and it ends with that process, even if it is killed.
"""

import concurrent.futures
import contextlib
import errno
import fcntl
import os
import re
import shlex
import signal
import sys
import tempfile
import threading
from collections.abc import Callable, Iterable, Iterator
from types import FrameType
from typing import TYPE_CHECKING

from lxmert_tf.errors import InputError, Terminated
from pipeline.beam.shared_files import find_files, new_path, open_new, read_text

if TYPE_CHECKING:
    from apache_beam.runners.runner import PipelineRunner

# Names the file that the job's process locks for as long as workers may live.
LOCK_VARIABLE = "LXMERT_JOB_LOCK"
# Files in the work folder with the errors of users that workers met.
ERROR_SUFFIX = ".error"

# Beam's name of the threads that wait for the end of a worker.
WORKER_THREAD = "run_worker"

# The disk, the user's share of it, or a file cannot hold more.
_DISK_IS_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)

_ExceptHook = Callable[[threading.ExceptHookArgs], object]


def check_workers(workers: int, beam_args: Iterable[str]) -> None:
    """Raise an InputError if a number of processes is none, or is not for the chosen runner."""
    if workers < 1:
        raise InputError(f"workers is {workers}; it must be at least 1")
    if workers > 1 and any(arg.startswith("--runner") for arg in beam_args):
        raise InputError("workers is for this machine; another runner has options of its own")


def process_runner() -> "PipelineRunner":
    """Return the Beam runner of `--direct_running_mode=multi_processing`, with our workers.

    The pipeline's option `--direct_num_workers` says how many.
    """
    from apache_beam.runners.portability.fn_api_runner import FnApiRunner
    from apache_beam.transforms.environments import SubprocessSDKEnvironment

    # A shell runs it. The trap holds before Python can print a traceback about Ctrl-C.
    command = f"trap '' INT; exec {shlex.quote(sys.executable)} -m {__name__}"
    return FnApiRunner(SubprocessSDKEnvironment.from_command_string(command))


@contextlib.contextmanager
def stopped_by_signals() -> Iterator[None]:
    """Stop worker processes when the block ends, and end it on SIGINT (Ctrl-C) and SIGTERM.

    Raises:
        KeyboardInterrupt: SIGINT came, whatever Beam made of it.
        Terminated: SIGTERM came.
    """
    with tempfile.NamedTemporaryFile(prefix="lxmert-job-") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        received: list[int] = []

        def stop(number: int, _: FrameType | None) -> None:
            if received:
                # The clean-up after the first signal must not be cut short by impatience.
                return
            received.append(number)
            threading.excepthook = _without_lost_connections(threading.excepthook)
            fcntl.flock(lock, fcntl.LOCK_UN)
            raise _interruption(number)

        os.environ[LOCK_VARIABLE] = lock.name
        try:
            with _handling_signals(stop):
                yield
        except BaseException as error:
            if not received:
                raise
            # Beam turns exceptions into others.
            raise _interruption(received[0]) from error
        finally:
            del os.environ[LOCK_VARIABLE]
        if received:
            raise _interruption(received[0])


def run_apart(run: Callable[[], None]) -> None:
    """Run Beam in another thread, and end when a worker does not live to answer.

    Beam itself waits for the answers of workers that are gone: of those that were killed, and in an
    interrupted main thread.

    Args:
        run: Builds the pipeline and runs it.

    Raises:
        InputError: A worker was killed.
        RuntimeError: A worker ended by itself.
    """
    done: concurrent.futures.Future[None] = concurrent.futures.Future()

    def report() -> None:
        try:
            run()
        except BaseException as error:
            _fail(done, error)
        else:
            with contextlib.suppress(concurrent.futures.InvalidStateError):
                done.set_result(None)

    with _failing_without_workers(done):
        threading.Thread(target=report, daemon=True).start()
        done.result()


@contextlib.contextmanager
def noting_errors(folder) -> Iterator[None]:
    """Note an error that the user can correct.

    A worker process returns only a traceback, and Beam adds the name of a step in this process.

    Args:
        folder: The work folder.
    """
    try:
        yield
    except (InputError, OSError) as error:
        note = _message(error, folder).encode("utf-8", "surrogateescape")
        # If the disk is full, an empty file stays, which says so.
        with (
            contextlib.suppress(InputError, OSError),
            open_new(new_path(str(folder), ERROR_SUFFIX)) as file,
        ):
            file.write(note)
        raise


@contextlib.contextmanager
def raising_noted_errors(folder) -> Iterator[None]:
    """Turn the failure of a job into the error that a worker noted, if there is one.

    Args:
        folder: The work folder.

    Raises:
        InputError: A worker noted one; if there are several, the message is the first in order of
            text.
    """
    try:
        yield
    except Exception as error:
        notes = sorted(map(read_text, find_files(str(folder), ERROR_SUFFIX)))
        if not notes:
            raise
        message = next(filter(None, notes), f"{folder}: cannot be written; the disk may be full")
        raise InputError(message) from error


def main() -> None:
    """Run a worker."""
    from lxmert_tf.runtime import collect_garbage_less, silence_tensorflow

    silence_tensorflow()
    collect_garbage_less()
    threading.Thread(target=_exit_with_the_job, daemon=True).start()

    from apache_beam.runners.worker import sdk_worker_main

    # Beam prints the traceback of every error that it then sends to the job's process.
    with open(os.devnull, "w") as sys.stderr:
        sdk_worker_main.main(sys.argv)


def _exit_with_the_job() -> None:
    # The lock is free as soon as the job's process gives it up or is gone, even if it was killed.
    with contextlib.suppress(OSError), open(os.environ[LOCK_VARIABLE]) as lock:
        fcntl.flock(lock, fcntl.LOCK_SH)
    # Without unwinding, which would print tracebacks.
    os._exit(0)


def _interruption(number: int) -> BaseException:
    return KeyboardInterrupt() if number == signal.SIGINT else Terminated()


def _fail(done: concurrent.futures.Future, error: BaseException) -> None:
    # Only the first error counts; others follow from it.
    with contextlib.suppress(concurrent.futures.InvalidStateError):
        done.set_exception(error)


@contextlib.contextmanager
def _failing_without_workers(done: concurrent.futures.Future) -> Iterator[None]:
    """Let a future fail when a worker ends before its job."""
    others = _without_lost_connections(threading.excepthook)

    def report(args: threading.ExceptHookArgs) -> None:
        if args.thread is None or args.thread.name != WORKER_THREAD:
            others(args)
        elif args.exc_value is not None:
            _fail(done, _loss_of_worker(args.exc_value))

    before, threading.excepthook = threading.excepthook, report
    try:
        yield
    finally:
        # A signal that ends the job sets another one for good.
        if threading.excepthook is report:
            threading.excepthook = before


def _loss_of_worker(error: BaseException) -> BaseException:
    """Return what Beam's error about the status of a worker means for the user."""
    status = re.search(r"-(\d+)$", str(error))
    if status is None:
        return error
    number = int(status[1])
    cause = f"a worker process was killed by signal {number}"
    if number != signal.SIGKILL:
        return InputError(cause)
    return InputError(f"{cause}, perhaps because memory ran out; choose fewer --workers")


def _without_lost_connections(report: _ExceptHook) -> _ExceptHook:
    """Return a hook that does not report that Beam's threads lost their workers, as they must."""

    def report_others(args: threading.ExceptHookArgs) -> None:
        if not args.exc_type.__module__.startswith("grpc"):
            report(args)

    return report_others


@contextlib.contextmanager
def _handling_signals(handler) -> Iterator[None]:
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {
        number: signal.getsignal(number)
        for number, usual in (
            (signal.SIGINT, signal.default_int_handler),
            (signal.SIGTERM, signal.SIG_DFL),
        )
        # Otherwise somebody handles it already, or ignores it as `nohup` does.
        if signal.getsignal(number) == usual
    }
    for number in before:
        signal.signal(number, handler)
    try:
        yield
    finally:
        for number, usual in before.items():
            signal.signal(number, usual)


def _message(error: InputError | OSError, folder) -> str:
    if not isinstance(error, OSError):
        return str(error)
    # A failed write does not tell its file.
    where = error.filename or (folder if error.errno in _DISK_IS_FULL else None)
    return str(error) if where is None else f"{where}: {error.strerror}"


if __name__ == "__main__":
    main()
