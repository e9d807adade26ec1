"""Accuracy by value of a feature, as bars in HTML."""

import html
from collections.abc import Mapping

# CSS of a page with bars: on a phone, a bar is below its name and its number.
BARS_STYLE = """.bars { list-style: none; padding: 0; font-size: 14px }
.bars li { display: grid; grid-template-columns: 1fr auto; gap: 0 1em; margin: 0 0 6px }
.bars .track { grid-column: 1 / -1; position: relative; height: 14px }
.bars .track { background: color-mix(in srgb, currentColor 12%, transparent) }
.candidate { display: block; height: 100%; background: #3465a4 }
.baseline { position: absolute; top: -2px; bottom: -2px; width: 2px; background: #c4a000 }
@media (min-width: 600px) {
  .bars li { grid-template-columns: 12em 1fr 11em; align-items: center }
  .bars .track { grid-column: 2; grid-row: 1 }
  .bars .value { text-align: right }
}
"""


def accuracy_bars(
    title: str,
    accuracy: Mapping[str, tuple[float, int]],
    baseline: Mapping[str, tuple[float, int]],
) -> str:
    """Return a list with a bar for each value, marked where the baseline's bar would end.

    Args:
        title: What the values are, for screen readers.
        accuracy: Accuracy in 0..1 and number of questions by value.
        baseline: The same for the model to compare with; empty if there is none.
    """
    lines = [f'<ul class="bars" aria-label="{html.escape(title)}">']
    for value, (share, count) in accuracy.items():
        bar = f'<span class="candidate" style="width:{share:.2%}"></span>'
        if value in baseline:
            before = f"{baseline[value][0]:.2%}"
            label = f"last blessed model: {before}"
            bar += (
                f'<span class="baseline" style="left:{before}" role="img" title="{label}" '
                f'aria-label="{label}"></span>'
            )
        lines.append(
            f'<li><span class="value">{html.escape(value)}</span>'
            f'<span class="number">{share:.2%} of {count:,}</span>'
            f'<span class="track">{bar}</span></li>'
        )
    return "\n".join([*lines, "</ul>"])
