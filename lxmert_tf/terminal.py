"""Consoles whose tables and lines show names of the user's data as they are."""

from rich.console import Console


def make_console(stderr: bool = False) -> Console:
    """Return a console that prints texts as they are.

    Rich would take "[/b]" in a text for its markup and fail, hide "[red]", and turn ":cat:" into a
    picture.

    Args:
        stderr: Whether it writes to the standard error.
    """
    return Console(stderr=stderr, markup=False, emoji=False, highlight=False)
