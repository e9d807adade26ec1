"""A matrix of shares as a heat map with its numbers written in."""

from collections.abc import Sequence

import numpy as np
from matplotlib.ticker import MaxNLocator

from lxmert_tf.visualization.page import Panel, Place
from lxmert_tf.visualization.text_panel import FONT_SIZE, LINE_HEIGHT, text_width

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
