"""Learning curves of a training log (`log.jsonl`), as SVG in the colors of the page around them."""

import html
import json
import math
from collections.abc import Sequence

from lxmert_tf.errors import InputError
from lxmert_tf.text_file import read_text

# Sizes in the units of the drawing, which is so small that its text can be read on a phone.
WIDTH, HEIGHT = 400, 216
LEFT, RIGHT, TOP, BOTTOM = 56, 12, 46, 34
COLORS = ("#4c7fc4", "#d97706", "#2f855a")
# The most steps between the lines of an axis.
TICKS = 5

# Steps with values.
Curve = list[tuple[int, float]]


def read_log(path) -> list[dict[str, float]]:
    """Return the lines of a training log; see `TrainingLog`.

    Args:
        path: The file `log.jsonl`.

    Raises:
        InputError: The file cannot be read, or a line is none of a training log.
    """
    lines = []
    for number, line in enumerate(read_text(path).splitlines(), start=1):
        try:
            values = {name: float(value) for name, value in json.loads(line).items()}
            lines.append(values | {"step": int(values["step"])})
        except (AttributeError, KeyError, TypeError, ValueError, OverflowError) as error:
            raise InputError(f"{path}:{number}: not a line of a training log") from error
    return lines


def learning_curves(log: Sequence[dict[str, float]]) -> str:
    """Return charts of the loss and of each accuracy, on the training and on the validation data.

    Args:
        log: From `read_log`. Without lines, there are no charts.
    """
    if not log:
        return ""
    names = [name for name in log[-1] if not name.startswith("val_")]
    shown = ["loss", *(name for name in names if name.endswith("accuracy"))]
    charts = []
    for name in shown:
        curves = {label: curve_of(log, key) for label, key in
                  (("training", name), ("validation", f"val_{name}"))}  # fmt: skip
        charts.append(curve_chart(name.replace("_", " "), {k: v for k, v in curves.items() if v}))
    grid = "display:grid;gap:1em;grid-template-columns:repeat(auto-fill,minmax(min(100%,22em),1fr))"
    return f'<div style="{grid}">{"".join(charts)}</div>'


def curve_of(log: Sequence[dict[str, float]], name: str) -> Curve:
    """Return the steps and values of a metric, where the log has it and it is finite."""
    return [
        (int(line["step"]), line[name]) for line in log if math.isfinite(line.get(name, math.nan))
    ]


def curve_chart(title: str, curves: dict[str, Curve]) -> str:
    """Return an SVG of curves over the steps of training.

    Args:
        title: What is measured.
        curves: The curves by name; none of them is empty.
    """
    if not curves:
        return ""
    values = [value for curve in curves.values() for _, value in curve]
    last = max(step for curve in curves.values() for step, _ in curve) or 1
    ticks = _ticks(min([0.0, *values]), max([1e-9, *values]))
    low, high = ticks[0], ticks[-1]
    across, down = WIDTH - LEFT - RIGHT, HEIGHT - TOP - BOTTOM

    def place(step: float, value: float) -> str:
        x, y = LEFT + across * step / last, TOP + down * (high - value) / (high - low)
        return f"{x:.1f},{y:.1f}"

    ends = ", ".join(f"{name} {curve[-1][1]:.4g}" for name, curve in curves.items())
    parts = [
        f'<svg class="curves" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" '
        f'aria-label="{html.escape(f"{title} over {last} steps; at the end: {ends}")}" '
        'style="width:100%;max-width:40em;height:auto;font:13px sans-serif;fill:currentColor">',
        f'<text x="{LEFT}" y="16" style="font-weight:bold">{html.escape(title)}</text>',
    ]
    for value in ticks:
        x, y = place(0, value).split(",")
        parts += [
            f'<path d="M{x} {y}H{WIDTH - RIGHT}" stroke="currentColor" opacity="0.2"/>',
            f'<text x="{LEFT - 6}" y="{float(y) + 4:.1f}" text-anchor="end">{value:.4g}</text>',
        ]
    for step in (0, last // 2, last):
        x, _ = place(step, low).split(",")
        anchor = "end" if step == last else "middle"
        parts.append(f'<text x="{x}" y="{HEIGHT - 16}" text-anchor="{anchor}">{step:,}</text>')
    parts.append(f'<text x="{LEFT + across / 2}" y="{HEIGHT - 2}" text-anchor="middle">step</text>')
    at = WIDTH - RIGHT
    # The names are below the title, which may be as wide as the drawing.
    for color, (name, curve) in reversed(list(zip(COLORS, curves.items()))):
        points = " ".join(place(step, value) for step, value in curve)
        parts.append(f'<polyline points="{points}" fill="none" stroke="{color}" stroke-width="2"/>')
        parts += [
            f'<circle cx="{x}" cy="{y}" r="3" fill="{color}"/>'
            for x, y in (place(*point).split(",") for point in curve if len(curve) < 20)
        ]
        parts.append(
            f'<text x="{at}" y="34" text-anchor="end" style="fill:{color}">'
            f"{html.escape(name)}</text>"
        )
        at -= 8 * len(name) + 16
    return "\n".join([*parts, "</svg>"])


def _ticks(low: float, high: float) -> list[float]:
    """Return round numbers with even steps, the first at most `low`, the last at least `high`."""
    power = 10 ** math.floor(math.log10((high - low) / TICKS))
    for step in (1, 2, 2.5, 5, 10, 20):
        first, last = math.floor(low / (step * power)), math.ceil(high / (step * power))
        if last - first <= TICKS:
            break
    return [step * power * i for i in range(first, last + 1)]
