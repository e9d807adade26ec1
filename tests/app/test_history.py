"""What is kept of what a visitor has asked."""

import pytest

from lxmert_tf.app.history import MOST, History


def test_the_last_entries_stay_under_their_numbers():
    history = History().with_entries("a").with_entries("b", "c")
    assert history.numbered() == [(2, "c"), (1, "b"), (0, "a")]
    assert history.find("1") == "b"
    full = history.with_entries(*map(str, range(MOST)))
    assert len(full.entries) == MOST and full.dropped == 3
    assert full.numbered()[0] == (MOST + 2, str(MOST - 1))
    assert full.find(3) == "0" and full.find(1) is None


@pytest.mark.parametrize("number", ["", "x", None, "-1", "3", -1, {}])
def test_a_number_without_an_entry_finds_none(number):
    assert History().with_entries("a", "b", "c").find(number) is None
