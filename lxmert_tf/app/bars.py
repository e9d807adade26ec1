"""Scores as bars in HTML, with buttons that choose one."""

import html
from collections.abc import Sequence

# Runs in the page when it shows bars: a button tells the server which one it is.
CHOOSE = """
element.addEventListener('click', (event) => {
  const button = event.target.closest('[data-choice]');
  if (!button) return;
  for (const other of element.querySelectorAll('[data-choice]')) {
    other.setAttribute('aria-pressed', other === button);
  }
  trigger('select', {choice: button.dataset.choice});
});
"""


def bar_list(
    scores: Sequence[tuple[str, float]], label: str, choice: str | None = None, hint: str = ""
) -> str:
    """Return a list of texts, each with a bar and its score.

    Args:
        scores: Texts with scores in 0..1, in the order to show.
        label: Name of the list, for screen readers.
        choice: What the buttons tell the server, before "-" and the number of the bar from 0. None
            makes the bars plain text.
        hint: What a button does, shown when it is pointed at.
    """
    items = []
    for number, (text, score) in enumerate(scores):
        row = (
            f'<span class="bar-text">{html.escape(text)}</span>'
            f'<span class="bar-score">{score:.1%}</span>'
            f'<span class="bar-track"><span style="width:{100 * score:.1f}%"></span></span>'
        )
        if choice is None:
            items.append(f'<li><div class="bar-row">{row}</div></li>')
            continue
        items.append(
            f'<li><button type="button" class="bar-row" aria-pressed="false" '
            f'data-choice="{html.escape(choice)}-{number}" title="{html.escape(hint)}">'
            f"{row}</button></li>"
        )
    return f'<ol class="bars" aria-label="{html.escape(label)}">{"".join(items)}</ol>'
