"""Boxes of regions on their image: numbered, or with a word's attention as opacity."""

import colorsys
from collections.abc import Sequence

import numpy as np
from matplotlib.patches import Rectangle
from matplotlib.patheffects import withStroke
from PIL import Image, ImageOps

from lxmert_tf.visualization.panels import (
    CHARACTER_WIDTH,
    FONT_SIZE,
    LINE_HEIGHT,
    AddAxes,
    Panel,
    text_width,
)

# Longest side of a drawn image; more pixels take time and would not be visible.
DRAWN_PIXELS = 1000
# An image with sides in a larger ratio is squeezed.
LARGEST_RATIO = 3.0
CAPTION = 2.2 * LINE_HEIGHT
GOLDEN_RATIO = 0.618034
MAX_LUMINANCE = 0.45

Color = tuple[float, float, float]


def region_colors(count: int) -> list[Color]:
    """Return colors that are readable on white, with neighbors that differ.

    Args:
        count: Number of colors.
    """
    # Steps of the golden ratio spread any number of hues.
    return [
        _darken(colorsys.hsv_to_rgb((0.6 + GOLDEN_RATIO * i) % 1, 0.9, 0.9)) for i in range(count)
    ]


def _darken(color: Color) -> Color:
    red, green, blue = color
    luminance = 0.2126 * red + 0.7152 * green + 0.0722 * blue
    factor = min(1.0, MAX_LUMINANCE / luminance)
    return red * factor, green * factor, blue * factor


class RegionPicture:
    """Draws an image with boxes on it.

    Args:
        image: uint8 [height, width, 3].
        boxes: float [R, 4]: x1, y1, x2, y2, divided by image width and height.
    """

    def __init__(self, image: np.ndarray, boxes: np.ndarray):
        picture = Image.fromarray(image)
        picture.thumbnail((DRAWN_PIXELS, DRAWN_PIXELS))
        self._picture = np.asarray(picture)
        # Light and gray, so that only the boxes have colors.
        gray = np.asarray(ImageOps.autocontrast(picture.convert("L")))
        self._faded = 255 - (255 - gray) // 3
        height, width, _ = image.shape
        self._ratio = min(max(width / height, 1 / LARGEST_RATIO), LARGEST_RATIO)
        self._boxes = boxes
        self._colors = region_colors(len(boxes))
        # Large boxes first, so that small ones are drawn on top.
        areas = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
        self._order = np.argsort(-areas, kind="stable")

    def numbered(self, size: float) -> Panel:
        """Return a panel of the image with the number of each region.

        Args:
            size: Longer side in inches.
        """
        width, height = self._fit(size)

        def draw(add_axes: AddAxes) -> None:
            axes = self._show(add_axes(0, 0, width, height), self._picture)
            label = (CHARACTER_WIDTH * 2.6 / width, LINE_HEIGHT * 1.05 / height)
            corners = _free_corners(self._boxes[self._order], label)
            for region, (x, y) in zip(self._order, corners):
                self._outline(axes, region)
                axes.text(
                    x + label[0] / 2, y + label[1] / 2, str(region + 1), color="white",
                    fontsize=FONT_SIZE, weight="bold", ha="center", va="center",
                    bbox={"facecolor": self._colors[region], "edgecolor": "none", "pad": 1.5},
                )  # fmt: skip

        return Panel(width, height, draw)

    def legend(self, lines: Sequence[str | None], size: float) -> list[Panel]:
        """Return text about the regions in their colors, in columns as high as the picture.

        Args:
            lines: A line for each of the R regions, or None to leave it out.
            size: Height of a column in inches.
        """
        most = int(size / LINE_HEIGHT)
        shown = [(line, self._colors[i]) for i, line in enumerate(lines) if line is not None]
        return [_column(shown[start : start + most]) for start in range(0, len(shown), most)]

    def attended(
        self, word: str, names: Sequence[str], shares: np.ndarray, opaque: float, size: float
    ) -> Panel:
        """Return a panel of one word's attention to the regions.

        Args:
            word: The word piece.
            names: Names of the R regions.
            shares: float [R]: attention to each region.
            opaque: Share at which a box is opaque.
            size: Longer side in inches.
        """
        width, height = self._fit(size)

        def draw(add_axes: AddAxes) -> None:
            axes = self._show(add_axes(0, CAPTION, width, height), self._faded)
            for region in self._order:
                self._outline(axes, region, shares[region] / opaque)
            best = int(np.argmax(shares))
            line = LINE_HEIGHT / height
            axes.text(0, -1.25 * line, word, fontsize=9, weight="bold")
            axes.text(
                0, -0.3 * line, f"{shares[best]:.0%} at {names[best]}", fontsize=FONT_SIZE - 0.5,
                color=self._colors[best],
            )  # fmt: skip

        return Panel(width, height + CAPTION, draw)

    def _fit(self, size: float) -> tuple[float, float]:
        return min(size, size * self._ratio), min(size, size / self._ratio)

    def _show(self, axes, picture):
        # In the coordinates of the boxes: 0 to 1, downwards.
        axes.imshow(picture, "gray", vmin=0, vmax=255, extent=(0, 1, 1, 0), aspect="auto")
        axes.set_xticks([])
        axes.set_yticks([])
        axes.spines[:].set_color("lightgray")
        return axes

    def _outline(self, axes, region: int, strength: float | None = None) -> None:
        x1, y1, x2, y2 = self._boxes[region]
        color = self._colors[region]
        box = Rectangle((x1, y1), x2 - x1, y2 - y1, edgecolor=color, facecolor="none", lw=1.8)
        if strength is None:
            box.set_path_effects([withStroke(linewidth=3.2, foreground="white")])
        else:
            box.set_facecolor((*color, 0.6 * strength))
            box.set_edgecolor((*color, strength))
        axes.add_patch(box)


def _column(lines: Sequence[tuple[str, Color]]) -> Panel:
    width = text_width(text for text, _ in lines) * 1.2
    height = LINE_HEIGHT * len(lines)

    def draw(add_axes: AddAxes) -> None:
        axes = add_axes(0, 0, width, height)
        axes.set_axis_off()
        for number, (text, color) in enumerate(lines):
            axes.text(
                0, 1 - number / len(lines), text, color=color, va="top", fontsize=8, weight="bold"
            )  # fmt: skip

    return Panel(width, height, draw)


def _free_corners(boxes: np.ndarray, label: tuple[float, float]) -> list[tuple[float, float]]:
    """Return a place for each box's number: near its upper left corner, on no other number."""
    taken: list[tuple[float, float]] = []
    for x1, y1, x2, y2 in boxes:
        x1, y1 = (min(max(v, 0.0), 1 - side) for v, side in zip((x1, y1), label))
        candidates = [
            (x, y)
            for y in np.arange(y1, max(y2 - label[1], y1 + 1e-6), label[1] * 1.1)
            for x in np.arange(x1, max(x2 - label[0], x1 + 1e-6), label[0] * 1.1)
        ]
        free = (p for p in candidates if not any(_overlap(p, other, label) for other in taken))
        taken.append(next(free, candidates[0]))
    return taken


def _overlap(one, other, label) -> bool:
    return all(abs(a - b) < side for a, b, side in zip(one, other, label))
