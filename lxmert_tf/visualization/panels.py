"""A figure of panels whose sizes are in inches: it grows with its content, its writing does not."""

import dataclasses
from collections.abc import Callable, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

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


FONT_SIZE = 7.5
# Of a line and of an average character at FONT_SIZE, in inches.
LINE_HEIGHT = 0.15
CHARACTER_WIDTH = 0.066


def text_width(texts) -> float:
    """The inches that the longest of some texts takes at FONT_SIZE."""
    return CHARACTER_WIDTH * max(map(len, texts), default=0)


def text_panel(text: str, width: float, font_size: float = FONT_SIZE, **style) -> Panel:
    """Text, with its line breaks.

    Args:
        text: a line or several.
        width: in inches; nothing is wrapped.
        font_size: in points.
        **style: of `matplotlib.text.Text`.
    """
    lines = text.count("\n") + 1
    height = LINE_HEIGHT * font_size / FONT_SIZE * lines

    def draw(place):
        axes = place(0, 0, width, height)
        axes.set_axis_off()
        axes.text(0, 1, text, va="top", fontsize=font_size, **style)

    return Panel(width, height, draw)


CELL = 0.27
AXIS_NAME = 0.22
TITLE = 0.5
COLOR_BAR = 0.12
COLOR_BAR_NUMBERS = 0.45
COLOR_MAP = "Blues"
# Numbers turn white on a cell darker than this share of the darkest.
DARK = 0.6


class HeatMap:
    """A panel of a matrix whose rows look at its columns.

    Args:
        shares: [rows, columns], each row a distribution.
        most: the share that is darkest.
        title: two lines.
        rows, columns: names, and colours of their writing.
        row_axis, column_axis: what they are.
    """

    def __init__(
        self,
        shares: np.ndarray,
        most: float,
        title: str,
        rows: Sequence[tuple[str, object]],
        columns: Sequence[tuple[str, object]],
        row_axis: str,
        column_axis: str,
    ):
        self._shares, self._most = shares, most
        self._title = title
        self._rows, self._columns = rows, columns
        self._row_axis, self._column_axis = row_axis, column_axis
        self._left = AXIS_NAME + text_width(name for name, _ in rows) + 0.1
        self._below = AXIS_NAME + text_width(name for name, _ in columns) + 0.1
        self._width, self._height = (CELL * len(names) for names in (columns, rows))

    def panel(self) -> Panel:
        """The panel, as large as its rows, columns and names need."""
        bar = 0.1 + COLOR_BAR + COLOR_BAR_NUMBERS
        width = max(self._left + self._width + bar, text_width(self._title.splitlines()) * 1.3)
        return Panel(width, TITLE + self._height + self._below, self._draw)

    def _draw(self, place: Place) -> None:
        axes = place(self._left, TITLE, self._width, self._height)
        image = axes.imshow(self._shares, COLOR_MAP, vmin=0, vmax=self._most, aspect="auto")
        self._write_numbers(axes)
        title, subtitle = self._title.splitlines()
        above = 1 + LINE_HEIGHT * 1.8 / self._height
        axes.text(0, above, title, fontsize=10, weight="bold", transform=axes.transAxes)
        above = 1 + LINE_HEIGHT * 0.55 / self._height
        axes.text(0, above, subtitle, fontsize=8, color="dimgray", transform=axes.transAxes)
        names, colors = zip(*self._rows)
        axes.set_yticks(range(len(names)), names, fontsize=FONT_SIZE)
        _color_writing(axes.get_yticklabels(), colors)
        names, colors = zip(*self._columns)
        axes.set_xticks(range(len(names)), names, fontsize=FONT_SIZE, rotation=90)
        _color_writing(axes.get_xticklabels(), colors)
        axes.tick_params(length=0)
        axes.set_ylabel(self._row_axis, fontsize=FONT_SIZE, color="dimgray")
        axes.set_xlabel(self._column_axis, fontsize=FONT_SIZE, color="dimgray")
        axes.spines[:].set_visible(False)
        self._draw_color_bar(place, image)

    def _write_numbers(self, axes) -> None:
        """Whole percents; cells below half of one stay empty."""
        for (row, column), share in np.ndenumerate(self._shares):
            if share >= 0.005:
                color = "white" if share > DARK * self._most else "black"
                axes.text(
                    column, row, f"{share:.0%}"[:-1], ha="center", va="center",
                    fontsize=FONT_SIZE - 1, color=color,
                )  # fmt: skip

    def _draw_color_bar(self, place: Place, image) -> None:
        height = min(self._height, 2.5)
        bar = place(self._left + self._width + 0.1, TITLE, COLOR_BAR, height)
        # Steps that are whole percents.
        ticks = MaxNLocator(6, steps=[1, 2, 5, 10])
        image.figure.colorbar(image, cax=bar, ticks=ticks, format=lambda share, _: f"{share:.0%}")
        bar.tick_params(labelsize=FONT_SIZE - 1, length=2)
        bar.spines[:].set_visible(False)


def _color_writing(labels, colors) -> None:
    for label, color in zip(labels, colors):
        label.set_color(color)
