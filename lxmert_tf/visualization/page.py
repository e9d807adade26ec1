"""A figure of panels whose sizes are in inches: it grows with its content, its writing does not."""

import dataclasses
from collections.abc import Callable, Sequence

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

MARGIN = 0.3
GAP = 0.28
DPI = 110

# Makes axes at (x, y, width, height), from the panel's upper left corner downwards.
Place = Callable[[float, float, float, float], Axes]


@dataclasses.dataclass(frozen=True)
class Panel:
    """A part of a page.

    Args:
        width, height: in inches.
        draw: draws it, with axes that it asks for.
    """

    width: float
    height: float
    draw: Callable[[Place], None]


def make_page(sections: Sequence[Sequence[Panel]], least_width: float) -> Figure:
    """Lays panels out from left to right; a section starts a row, and so does what doesn't fit.

    Args:
        sections: the widest of all but the last makes the page's width.
        least_width: of the page without its margins, in inches.
    """
    width = max([least_width, *map(_row_width, sections[:-1])])
    rows = [row for section in sections for row in _rows(section, width)]
    heights = [max(panel.height for panel in row) for row in rows]
    page = (width + 2 * MARGIN, sum(heights) + GAP * (len(rows) - 1) + 2 * MARGIN)
    figure = Figure(figsize=page, dpi=DPI)
    # The canvas without a display; the figure keeps it.
    FigureCanvasAgg(figure)
    top = MARGIN
    for row, height in zip(rows, heights):
        left = MARGIN
        for panel in row:
            panel.draw(_place(figure, page, left, top))
            left += panel.width + GAP
        top += height + GAP
    return figure


def _place(figure: Figure, page: tuple[float, float], left: float, top: float) -> Place:
    def place(x, y, width, height):
        bottom = page[1] - top - y - height
        return figure.add_axes(
            ((left + x) / page[0], bottom / page[1], width / page[0], height / page[1])
        )

    return place


def _row_width(row: Sequence[Panel]) -> float:
    return sum(panel.width for panel in row) + GAP * (len(row) - 1)


def _rows(section: Sequence[Panel], width: float) -> list[list[Panel]]:
    rows: list[list[Panel]] = []
    for panel in section:
        if rows and _row_width([*rows[-1], panel]) <= width:
            rows[-1].append(panel)
        else:
            rows.append([panel])
    return rows
