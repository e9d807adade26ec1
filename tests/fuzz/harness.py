"""Reads mutated files, and finds what breaks the rule.

The rule: what comes of a file is a value, or an InputError of one line that a terminal can show.
It is never another exception, a crash of the process, more than `MOST_SECONDS` of the processor,
more than `MOST_MEGABYTES` of memory, or a file that is written.

    python -m tests.fuzz.harness FORMAT [FORMAT ...] --mutations 1000 --seed 1
"""

import argparse
import contextlib
import json
import os
import pathlib
import signal
import subprocess
import sys
import tempfile
import traceback
import warnings
from collections.abc import Iterator
from typing import NamedTuple

from lxmert_tf.errors import InputError
from tests.fuzz.formats import FORMATS, Format
from tests.fuzz.mutations import mutate

MOST_SECONDS = 10
MOST_MEGABYTES = 1000
_LONGEST_MESSAGE = 2000
# The environment variable by which a test of the harness makes a worker crash.
CRASH_AT = "LXMERT_CRASH_AT"
# What readers must not do, as Python's audit events call it; opening a file to write it, too.
_ACTS = ("os.", "shutil.", "subprocess.", "socket.", "pty.")
_HARMLESS = ("os.listdir", "os.scandir", "os.walk", "os.fwalk", "os.putenv")


class Finding(NamedTuple):
    """A mutation that breaks the rule.

    Args:
        name: The format.
        number: The mutation.
        problem: What happened.
    """

    name: str
    number: int
    problem: str


def check(name: str, numbers: range, seed: int = 0) -> list[Finding]:
    """Read mutations of a format's file in this process.

    Args:
        name: The format.
        numbers: The numbers of the mutations.
        seed: Of all mutations.
    """
    with tempfile.TemporaryDirectory() as folder:
        return list(_check(name, numbers, seed, pathlib.Path(folder)))


def check_apart(name: str, numbers: range, seed: int = 0) -> list[Finding]:
    """Do the same in another process, and go on in a new one when it ends too early."""
    findings: list[Finding] = []
    while numbers:
        command = [sys.executable, "-m", "tests.fuzz.harness", name, "--seed", str(seed)]
        command += ["--first", str(numbers.start), "--mutations", str(len(numbers)), "--worker"]
        done = subprocess.run(command, capture_output=True, text=True, errors="replace")
        lines = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("[")]
        findings += [Finding(*line) for line in lines if len(line) == 3]
        if done.returncode == 0:
            break
        [number] = [line for line in lines if len(line) == 1][-1:] or [[numbers.start]]
        end = done.returncode
        reason = signal.Signals(-end).name if end < 0 else done.stderr[-1500:]
        findings.append(Finding(name, number[0], f"the process ended: {reason}"))
        numbers = range(number[0] + 1, numbers.stop)
    return findings


def mutation(name: str, number: int, seed: int, valid: bytes) -> bytes:
    """Return a mutation; number 0 is the valid file itself."""
    return mutate(valid, f"{name} {seed} {number}") if number else valid


def _check(
    name: str, numbers: range, seed: int, folder: pathlib.Path, trace: bool = False
) -> Iterator[Finding]:
    form = FORMATS[name]
    path = form.make(folder)
    valid = path.read_bytes()
    # Reading the valid file loads libraries, which counts for nothing.
    with contextlib.suppress(InputError):
        form.read(path)
    if problem := _problem(form, path, must_be_read=True):
        yield Finding(name, 0, f"the valid file: {problem}")
        return
    for number in numbers:
        if trace:
            print(json.dumps([number]), flush=True)
            if os.environ.get(CRASH_AT) == str(number):
                os.kill(os.getpid(), signal.SIGSEGV)
        # A new file each time, because readers may keep what they know of one.
        path.unlink()
        path.write_bytes(mutation(name, number, seed, valid))
        os.utime(path, (number, number))
        if problem := _problem(form, path):
            yield Finding(name, number, problem)


def _problem(form: Format, path: pathlib.Path, must_be_read: bool = False) -> str | None:
    # Makes the peak the present size (proc_pid_clear_refs(5)).
    pathlib.Path("/proc/self/clear_refs").write_text("5")
    before = _peak_megabytes()
    problem = None
    try:
        with _limited(), _watched() as acts, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            form.read(path)
    except InputError as error:
        problem = traceback.format_exc() if must_be_read else _problem_of_message(str(error))
    except BaseException as error:
        if isinstance(error, KeyboardInterrupt):
            raise
        problem = "".join(traceback.format_exception(error, limit=-9))
    grown = _peak_megabytes() - before
    if acts:
        problem = f"acts: {acts[:3]}"
    if grown > MOST_MEGABYTES:
        problem = f"{grown} MB of memory; {problem or ''}"
    return problem


def _problem_of_message(message: str) -> str | None:
    if not message or not message.isprintable():
        return f"a message that is not one printable line: {message[:300]!r}"
    return f"a long message: {message[:300]}" if len(message) > _LONGEST_MESSAGE else None


def _peak_megabytes() -> int:
    status = pathlib.Path("/proc/self/status").read_text()
    [kilobytes] = [line.split()[1] for line in status.splitlines() if line.startswith("VmHWM")]
    return int(kilobytes) >> 10


class _SlowError(BaseException):
    """The time is up. Readers that catch every Exception do not catch this."""


@contextlib.contextmanager
def _limited() -> Iterator[None]:
    """Raise a _SlowError when the time is up, and end the process if it does not heed it."""

    def stop(*_):
        signal.signal(signal.SIGPROF, signal.SIG_DFL)
        raise _SlowError(f"more than {MOST_SECONDS} seconds of the processor")

    earlier = signal.signal(signal.SIGPROF, stop)
    signal.setitimer(signal.ITIMER_PROF, MOST_SECONDS, MOST_SECONDS)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, earlier)


_watching: list[str] | None = None


def _hook(event: str, arguments: tuple) -> None:
    if _watching is None:
        return
    if event == "open":
        _, _, flags = arguments
        if isinstance(flags, int) and flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC):
            if arguments[0] != os.devnull:
                _watching.append(f"open {arguments[0]!r} to write")
    elif event.startswith(_ACTS) and event not in _HARMLESS:
        _watching.append(event)


sys.addaudithook(_hook)


@contextlib.contextmanager
def _watched() -> Iterator[list[str]]:
    """Yield a list that gets what this process does meanwhile besides reading."""
    global _watching
    _watching = []
    try:
        yield _watching
    finally:
        _watching = None


def _main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("names", nargs="+", choices=[*FORMATS, "all"], metavar="FORMAT")
    parser.add_argument("--mutations", type=int, default=1000)
    parser.add_argument("--first", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--worker", action="store_true")
    args = parser.parse_args()
    numbers = range(args.first, args.first + args.mutations)
    if args.worker:
        with tempfile.TemporaryDirectory() as folder:
            for finding in _check(args.names[0], numbers, args.seed, pathlib.Path(folder), True):
                print(json.dumps(finding), flush=True)
        return
    for name in FORMATS if "all" in args.names else args.names:
        # Apart, a process starts for each format and after each crash, which takes seconds.
        reads = check_apart if FORMATS[name].apart else check
        findings = reads(name, numbers, args.seed)
        print(f"{name}: {len(numbers)} mutations, {len(findings)} findings", flush=True)
        for finding in findings:
            print(f"  {finding.number}: {finding.problem}", flush=True)


if __name__ == "__main__":
    _main()
