"""Figures made of panels with sizes in inches, so that text has the same size in any figure."""

import dataclasses
import pathlib
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from lxmert_tf.atomic_write import atomic_file
from lxmert_tf.errors import InputError

DPI = 110
# Of a PNG, each way: a larger one takes gigabytes of memory.
MAX_PIXELS = 2**16 - 1

# All lengths are in inches.
MARGIN = 0.3
GAP = 0.28

# Text: font size in points, height of a line, and width of an average character.
FONT_SIZE = 7.5
LINE_HEIGHT = 0.15
CHARACTER_WIDTH = 0.066

# Heat maps.
CELL = 0.27
AXIS_NAME = 0.22
TITLE = 0.5
COLOR_BAR = 0.12
COLOR_BAR_NUMBERS = 0.45
COLOR_MAP = "Blues"
# Numbers are white on cells above this share of the darkest.
WHITE_ABOVE = 0.6

# Adds axes at (x, y, width, height), measured from the upper left corner of a panel.
AddAxes = Callable[[float, float, float, float], Axes]


@dataclasses.dataclass(frozen=True)
class Panel:
    """A part of a page.

    Attributes:
        width: Width in inches.
        height: Height in inches.
        draw: Draws the panel on axes that it adds.
    """

    width: float
    height: float
    draw: Callable[[AddAxes], None]


@dataclasses.dataclass(frozen=True)
class Section:
    """A part of a page from its left to its right edge.

    Attributes:
        rows: Panels from left to right. The widest row determines the page's width.
        wrapped: Panels below the rows, as many side by side as fit.
    """

    rows: Sequence[Sequence[Panel]]
    wrapped: Sequence[Panel] = ()


def make_page(
    sections: Sequence[Section], min_width: float, max_pixels: int | None = None
) -> Figure:
    """Lay out sections from top to bottom.

    Args:
        sections: The sections.
        min_width: Smallest width of the page without margins, in inches.
        max_pixels: Largest width and height in pixels; None allows any.

    Raises:
        InputError: The page would be larger.
    """
    width = max([min_width, *(_row_width(row) for section in sections for row in section.rows)])
    rows = [row for s in sections for row in (*s.rows, *_wrap(s.wrapped, width))]
    heights = [max(panel.height for panel in row) for row in rows]
    page = (width + 2 * MARGIN, sum(heights) + GAP * (len(rows) - 1) + 2 * MARGIN)
    across, down = (round(side * DPI) for side in page)
    if max_pixels is not None and max(across, down) > max_pixels:
        raise InputError(
            f"the drawing would have {across:,} x {down:,} pixels, and at most {max_pixels:,} each "
            "way fit into a PNG; draw less at once, or an SVG"
        )
    figure = Figure(figsize=page, dpi=DPI)
    # This canvas needs no display; the figure keeps it.
    FigureCanvasAgg(figure)
    top = MARGIN
    for row, height in zip(rows, heights):
        left = MARGIN
        for panel in row:
            panel.draw(_add_axes_at(figure, page, left, top))
            left += panel.width + GAP
        top += height + GAP
    return figure


def write_page(path, sections: Sequence[Section], min_width: float) -> None:
    """Write sections into a PNG or SVG file, complete or not at all.

    Args:
        path: The file, whose name ends in .png or .svg; an existing one is replaced.
        sections: The sections, from top to bottom.
        min_width: Smallest width of the page without margins, in inches.

    Raises:
        InputError: A PNG would be too large.
    """
    is_svg = pathlib.Path(path).suffix.lower() == ".svg"
    # A $ in a text does not begin a formula; scripts that the font lacks are drawn as boxes.
    # The salt makes equal drawings equal files.
    settings: Any = {"text.parse_math": False, "svg.hashsalt": "lxmert"}
    with matplotlib.rc_context(settings), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph")
        figure = make_page(sections, min_width, None if is_svg else MAX_PIXELS)
        with atomic_file(path) as unfinished:
            if is_svg:
                figure.savefig(unfinished, format="svg", metadata={"Date": None})
            else:
                figure.savefig(unfinished, format="png")


def _add_axes_at(figure: Figure, page: tuple[float, float], left: float, top: float) -> AddAxes:
    def add_axes(x, y, width, height):
        bottom = page[1] - top - y - height
        return figure.add_axes(
            ((left + x) / page[0], bottom / page[1], width / page[0], height / page[1])
        )

    return add_axes


def _row_width(row: Sequence[Panel]) -> float:
    return sum(panel.width for panel in row) + GAP * (len(row) - 1)


def _wrap(panels: Sequence[Panel], width: float) -> list[list[Panel]]:
    rows: list[list[Panel]] = []
    for panel in panels:
        if rows and _row_width([*rows[-1], panel]) <= width:
            rows[-1].append(panel)
        else:
            rows.append([panel])
    return rows


def text_width(texts) -> float:
    """Return the width in inches of the longest text at FONT_SIZE."""
    return CHARACTER_WIDTH * max(map(len, texts), default=0)


def text_panel(text: str, width: float, font_size: float = FONT_SIZE, **style) -> Panel:
    """Return a panel of text.

    Args:
        text: One or more lines; they are not wrapped.
        width: Width in inches.
        font_size: Font size in points.
        **style: Properties of `matplotlib.text.Text`.
    """
    lines = text.count("\n") + 1
    height = LINE_HEIGHT * font_size / FONT_SIZE * lines

    def draw(add_axes):
        axes = add_axes(0, 0, width, height)
        axes.set_axis_off()
        axes.text(0, 1, text, va="top", fontsize=font_size, **style)

    return Panel(width, height, draw)


class HeatMap:
    """A matrix of attention, drawn with its numbers, names and color bar.

    Args:
        shares: float [rows, columns]; each row is a distribution.
        darkest: Share of the darkest color.
        title: Two lines.
        rows: Name and text color of each row.
        columns: Name and text color of each column.
        row_axis: Label of the rows.
        column_axis: Label of the columns.
    """

    def __init__(
        self,
        shares: np.ndarray,
        darkest: float,
        title: str,
        rows: Sequence[tuple[str, object]],
        columns: Sequence[tuple[str, object]],
        row_axis: str,
        column_axis: str,
    ):
        self._shares, self._darkest = shares, darkest
        self._title = title
        self._rows, self._columns = rows, columns
        self._row_axis, self._column_axis = row_axis, column_axis
        self._left = AXIS_NAME + text_width(name for name, _ in rows) + 0.1
        self._below = AXIS_NAME + text_width(name for name, _ in columns) + 0.1
        self._width, self._height = (CELL * len(names) for names in (columns, rows))

    def panel(self) -> Panel:
        """Return a panel as large as the rows, columns and names need."""
        bar = 0.1 + COLOR_BAR + COLOR_BAR_NUMBERS
        width = max(self._left + self._width + bar, text_width(self._title.splitlines()) * 1.3)
        return Panel(width, TITLE + self._height + self._below, self._draw)

    def _draw(self, add_axes: AddAxes) -> None:
        axes = add_axes(self._left, TITLE, self._width, self._height)
        image = axes.imshow(self._shares, COLOR_MAP, vmin=0, vmax=self._darkest, aspect="auto")
        self._write_numbers(axes)
        title, subtitle = self._title.splitlines()
        above = 1 + LINE_HEIGHT * 1.8 / self._height
        axes.text(0, above, title, fontsize=10, weight="bold", transform=axes.transAxes)
        above = 1 + LINE_HEIGHT * 0.55 / self._height
        axes.text(0, above, subtitle, fontsize=8, color="dimgray", transform=axes.transAxes)
        names, colors = zip(*self._rows)
        axes.set_yticks(range(len(names)), names, fontsize=FONT_SIZE)
        _color_labels(axes.get_yticklabels(), colors)
        names, colors = zip(*self._columns)
        axes.set_xticks(range(len(names)), names, fontsize=FONT_SIZE, rotation=90)
        _color_labels(axes.get_xticklabels(), colors)
        axes.tick_params(length=0)
        axes.set_ylabel(self._row_axis, fontsize=FONT_SIZE, color="dimgray")
        axes.set_xlabel(self._column_axis, fontsize=FONT_SIZE, color="dimgray")
        axes.spines[:].set_visible(False)
        self._draw_color_bar(add_axes, image)

    def _write_numbers(self, axes) -> None:
        """Write whole percentages; cells below 0.5% stay empty."""
        for (row, column), share in np.ndenumerate(self._shares):
            if share >= 0.005:
                color = "white" if share > WHITE_ABOVE * self._darkest else "black"
                axes.text(
                    column, row, f"{share:.0%}"[:-1], ha="center", va="center",
                    fontsize=FONT_SIZE - 1, color=color,
                )  # fmt: skip

    def _draw_color_bar(self, add_axes: AddAxes, image) -> None:
        height = min(self._height, 2.5)
        bar = add_axes(self._left + self._width + 0.1, TITLE, COLOR_BAR, height)
        # Steps of whole percentages.
        ticks = MaxNLocator(6, steps=[1, 2, 5, 10])
        image.figure.colorbar(image, cax=bar, ticks=ticks, format=lambda share, _: f"{share:.0%}")
        bar.tick_params(labelsize=FONT_SIZE - 1, length=2)
        bar.spines[:].set_visible(False)


def _color_labels(labels, colors) -> None:
    for label, color in zip(labels, colors):
        label.set_color(color)
