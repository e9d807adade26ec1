"""Counts of expected and given answers as a table whose numbers can be chosen, as HTML."""

import collections
import html
from typing import Any

from lxmert_tf.evaluation.confusion import Cell, Confusion

# More answers share a row and a column.
MOST_ANSWERS = 12
OTHERS = "other answers"
# What the button of the worst mistakes tells the server; that of a cell tells "ROW-COLUMN".
WORST = "worst"


class ConfusionTable:
    """A table of the answers that are most often mistaken, with the others in one more row.

    Args:
        confusion: The counts.

    Attributes:
        names: What the rows and the columns stand for.
    """

    def __init__(self, confusion: Confusion):
        self._counts = confusion.counts
        shown = _most_mistaken(confusion)
        self._row_of = {answer: i for i, answer in enumerate(shown)}
        answers = {answer for cell in self._counts for answer in cell}
        self.names = [*shown, OTHERS] if len(answers) > len(shown) else shown

    def cells(self, choice: Any) -> set[Cell] | None:
        """Return the pairs of answers that a button stands for; None if there is no such button.

        Args:
            choice: What a browser sends, unchecked.
        """
        row, _, column = str(choice).partition("-")
        found = {
            (expected, given)
            for expected, given in self._counts
            if (str(self._place(expected)), str(self._place(given))) == (row, column)
        }
        return found or None

    def html(self) -> str:
        """Return the table with a button for each number."""
        counts: collections.Counter[tuple[int, int]] = collections.Counter()
        for (expected, given), count in self._counts.items():
            counts[self._place(expected), self._place(given)] += count
        places = range(len(self.names))
        heads = "".join(f'<th scope="col">{html.escape(name)}</th>' for name in self.names)
        rows = []
        for row in places:
            total = sum(counts[row, column] for column in places)
            cells = (self._cell(row, column, counts[row, column], total) for column in places)
            name = html.escape(self.names[row])
            rows.append(f'<tr><th scope="row">{name}</th>{"".join(cells)}</tr>')
        return (
            f'<button type="button" class="suggestion" aria-pressed="true" data-choice="{WORST}">'
            "The worst mistakes</button>"
            '<p id="confusion-help">Rows: the expected answer. Columns: the answer of the model. A '
            "number counts questions; choose it to see some of them.</p>"
            '<div class="confusion" role="region" tabindex="0" aria-label="Table of answers" '
            'aria-describedby="confusion-help">'
            f"<table><thead><tr><td></td>{heads}</tr></thead><tbody>{''.join(rows)}</tbody></table></div>"
        )

    def _place(self, answer: str) -> int:
        return self._row_of.get(answer, len(self._row_of))

    def _cell(self, row: int, column: int, count: int, total: int) -> str:
        if not count:
            return "<td></td>"
        expected, given = self.names[row], self.names[column]
        label = f"{count:,} × expected {expected}, answered {given}"
        is_right = row == column and expected != OTHERS
        # A single mistake among thousands must still be seen.
        strength = 15 + 50 * count / total
        return (
            f'<td><button type="button" class="{"right" if is_right else "wrong"}" '
            f'style="--strength:{strength:.0f}%" aria-pressed="false" aria-label="'
            f'{html.escape(label)}" title="{html.escape(label)}" '
            f'data-choice="{row}-{column}">{count:,}</button></td>'
        )


def _most_mistaken(confusion: Confusion) -> list[str]:
    """Return the answers with a row of their own, the most frequent first."""
    mistakes: collections.Counter[str] = collections.Counter()
    totals: collections.Counter[str] = collections.Counter()
    for (expected, given), count in confusion.counts.items():
        totals[expected] += count
        # The given one has a row, too.
        totals[given] += 0
        if expected != given:
            mistakes[expected] += count
            mistakes[given] += count

    def by_frequency(answer: str):
        return -totals[answer], answer

    if len(totals) <= MOST_ANSWERS + 1:
        return sorted(totals, key=by_frequency)
    ranked = sorted(totals, key=lambda answer: (-mistakes[answer], *by_frequency(answer)))
    return sorted(ranked[:MOST_ANSWERS], key=by_frequency)
