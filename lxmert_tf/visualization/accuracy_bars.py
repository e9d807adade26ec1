"""Accuracy by value of a feature, as bars in SVG."""

import html
from collections.abc import Mapping

# Sizes of the parts in pixels.
NAMES, BARS, NUMBERS, ROW, AXIS = 220, 420, 160, 24, 16

# CSS of a page with bars.
BARS_STYLE = """svg { max-width: 100%; height: auto }
svg text { font: 13px sans-serif; fill: currentColor }
.candidate { fill: #3465a4 }
.baseline { fill: none; stroke: #c4a000; stroke-width: 2 }
.grid { stroke: currentColor; opacity: 0.2 }
svg .axis { font-size: 11px; opacity: 0.7 }
"""


def accuracy_bars(
    title: str,
    accuracy: Mapping[str, tuple[float, int]],
    baseline: Mapping[str, tuple[float, int]],
) -> str:
    """Return an SVG with a bar for each value, marked where the baseline's bar would end.

    Args:
        title: What the values are, for screen readers.
        accuracy: Accuracy in 0..1 and number of questions by value.
        baseline: The same for the model to compare with; empty if there is none.
    """
    height = ROW * len(accuracy)
    spoken = ", ".join(f"{value} {_share(*found)}" for value, found in accuracy.items())
    lines = [
        f'<svg viewBox="0 0 {NAMES + BARS + NUMBERS} {height + AXIS}" role="img" '
        f'aria-label="{html.escape(f"{title}: {spoken}")}" width="{NAMES + BARS + NUMBERS}">',
    ]
    for percent in (0, 25, 50, 75, 100):
        x = NAMES + BARS * percent // 100
        lines += [
            f'<line class="grid" x1="{x}" x2="{x}" y1="0" y2="{height}"/>',
            f'<text class="axis" x="{x}" y="{height + 11}" text-anchor="middle">{percent}%</text>',
        ]
    for row, (value, (share, count)) in enumerate(accuracy.items()):
        top, text, shown = ROW * row + 4, ROW * row + 17, _share(share, count)
        lines += [
            f'<text x="{NAMES - 8}" y="{text}" text-anchor="end">{html.escape(value)}</text>',
            f'<rect class="candidate" x="{NAMES}" y="{top}" width="{share * BARS:.1f}" '
            f'height="{ROW - 8}"><title>{shown}</title></rect>',
            f'<text x="{NAMES + BARS + 8}" y="{text}">{shown}</text>',
        ]
        if value in baseline:
            end = NAMES + baseline[value][0] * BARS
            lines.append(
                f'<path class="baseline" d="M{end:.1f} {top - 2}v{ROW - 4}">'
                f"<title>last blessed model: {baseline[value][0]:.2%}</title></path>"
            )
    return "\n".join([*lines, "</svg>"])


def _share(share: float, count: int) -> str:
    return f"{share:.2%} of {count:,}"
