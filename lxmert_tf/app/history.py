"""What a visitor has asked, with numbers that stay while old entries are dropped."""

import dataclasses
from typing import Any, Generic, TypeVar

# Entries that are kept and shown for a visitor.
MOST = 50

Entry = TypeVar("Entry")


@dataclasses.dataclass(frozen=True)
class History(Generic[Entry]):
    """The last entries of a visitor.

    Args:
        entries: The entries that are kept, the oldest first.
        dropped: Number of entries before them.
    """

    entries: tuple[Entry, ...] = ()
    dropped: int = 0

    def with_entries(self, *new: Entry) -> "History[Entry]":
        """Return the history after more entries, without the oldest if there are too many."""
        entries = (*self.entries, *new)
        kept = entries[-MOST:]
        return History(kept, self.dropped + len(entries) - len(kept))

    def numbered(self) -> list[tuple[int, Entry]]:
        """Return the entries with their numbers, the last first."""
        return list(enumerate(self.entries, start=self.dropped))[::-1]

    def find(self, number: Any) -> Entry | None:
        """Return the entry of a number, or None if it is no longer there.

        Args:
            number: An integer, or its text as a browser sends it.
        """
        try:
            index = int(number) - self.dropped
        except (TypeError, ValueError):
            return None
        return self.entries[index] if 0 <= index < len(self.entries) else None
