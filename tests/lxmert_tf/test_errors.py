"""Errors in one line."""

import pytest

from lxmert_tf.errors import first_line
from lxmert_tf.storage import hide_credentials


@pytest.mark.parametrize(
    "message, line",
    [
        ("no space left", "no space left"),
        ("\nno space left\nat byte 7", "no space left"),
        ("", "ValueError"),
        (500 * "a", 500 * "a"),
        (
            f"{400 * 'a'}{999 * 'b'}{'remove the file':>100}",
            f"{400 * 'a'} ... {'remove the file':>100}",
        ),
    ],
)
def test_the_first_line_is_short_and_keeps_both_ends(message, line):
    assert first_line(ValueError(message)) == line


def test_credentials_are_hidden_before_a_line_is_shortened():
    # So long that the line is cut between the user's name and the host.
    error = OSError(f"cannot read s3://user:{99 * 'secret'}@host/file")
    assert first_line(error, hide_credentials) == "cannot read s3://***@host/file"
