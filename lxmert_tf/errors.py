"""Errors that a user or a result causes, and the exit statuses of commands."""

EXIT_GATE = 1
EXIT_USAGE = 2


class InputError(ValueError):
    """An error that the user can correct: in a file, a setting, a request or a command line.

    Its message is one line: what is wrong, where, and what would be right. Commands print it
    without a traceback and exit with status 2.
    """


class GateError(RuntimeError):
    """A result that failed a gate, such as a minimum accuracy. Commands exit with status 1."""
