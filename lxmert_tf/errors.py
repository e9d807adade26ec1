"""Errors that a user or a result causes, and the exit statuses of commands."""

from collections.abc import Callable, Sequence
from typing import Any

EXIT_GATE = 1
EXIT_USAGE = 2

# Characters that are kept of the start and of the end of a long first line.
_START, _END = 400, 100


class InputError(ValueError):
    """An error that the user can correct: in a file, a setting, a request or a command line.

    Its message is one line: what is wrong, where, and what would be right. Commands print it
    without a traceback and exit with status 2.
    """


class GateError(RuntimeError):
    """A result that failed a gate, such as a minimum accuracy. Commands exit with status 1."""


class Terminated(BaseException):
    """SIGTERM, as an exception like KeyboardInterrupt, so that unfinished output is removed."""


def first_line(error: Exception, edit: Callable[[str], str] = str) -> str:
    """Return the first line of an error's message, or the name of its type if it has none.

    What a message quotes of a damaged file may be long, so the middle of a long line is left out.
    Its end stays, because it may say what to do.

    Args:
        error: The error.
        edit: Changes the whole line before it is shortened.
    """
    line = edit((str(error).strip() or type(error).__name__).splitlines()[0])
    return line if len(line) <= _START + _END else f"{line[:_START]} ... {line[-_END:]}"


def check_is_list(values: Any, kind: str) -> None:
    """Check that a value is not a single text or file, whose parts would be taken for a list.

    Args:
        values: What is given as a list of texts or of bytes.
        kind: What they are, for the message.

    Raises:
        InputError: It is a string or bytes.
    """
    if isinstance(values, str | bytes):
        raise InputError(f"{kind} must be a list, not one {type(values).__name__}")


def check_not_empty(texts: Sequence[str], kind: str) -> None:
    """Check that every text has words.

    Args:
        texts: Questions or sentences.
        kind: What each is, for the message.

    Raises:
        InputError: A text is empty, and the message gives its number, from 1; or there is one
            string in place of a list.
    """
    check_is_list(texts, f"{kind}s")
    for number, text in enumerate(texts, start=1):
        if not text.strip():
            raise InputError(f"{kind} {number} is empty")
