"""What can go wrong through no fault of the code, and the exit status that it ends with."""

EXIT_GATE = 1
EXIT_USAGE = 2


class InputError(ValueError):
    """The user's mistake: a file, a configuration value, a request or a command line.

    Its text is one line: what was wrong, where, and what would be right. Commands print it
    without a traceback and exit with status 2.
    """


class GateError(RuntimeError):
    """A result that failed a gate, for example an accuracy threshold; exit status 1."""
