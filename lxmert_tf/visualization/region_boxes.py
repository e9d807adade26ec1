"""The boxes of regions on their picture: numbered, or as strong as a word looks at them."""

import colorsys
from collections.abc import Sequence

import numpy as np
from matplotlib.patches import Rectangle
from matplotlib.patheffects import withStroke
from PIL import Image, ImageOps

from lxmert_tf.visualization.panels import CHARACTER_WIDTH, FONT_SIZE, LINE_HEIGHT, Panel, Place

# The longest side of a picture as it is drawn: more pixels take time and show nothing more.
DRAWN_PIXELS = 1000
# A picture longer than this many times its width is squeezed.
LONGEST = 3.0
CAPTION = 2.2 * LINE_HEIGHT
GOLDEN_RATIO = 0.618034
MOST_LUMINANCE = 0.45

Color = tuple[float, float, float]


def region_colors(count: int) -> list[Color]:
    """So many colours, of which neighbours differ much, all dark enough to write with on white."""
    # Hues by the golden ratio.
    return [
        _darkened(colorsys.hsv_to_rgb((0.6 + 0.618034 * i) % 1, 0.9, 0.9)) for i in range(count)
    ]


def _darkened(color: Color) -> Color:
    red, green, blue = color
    luminance = 0.2126 * red + 0.7152 * green + 0.0722 * blue
    factor = min(1.0, MOST_LUMINANCE / luminance)
    return red * factor, green * factor, blue * factor


class RegionPicture:
    """A picture and the boxes on it.

    Args:
        image: uint8 [height, width, 3].
        boxes: float [R, 4], x1 y1 x2 y2 divided by image width and height.
    """

    def __init__(self, image: np.ndarray, boxes: np.ndarray):
        picture = Image.fromarray(image)
        picture.thumbnail((DRAWN_PIXELS, DRAWN_PIXELS))
        self._picture = np.asarray(picture)
        # Light and gray, so that the boxes alone have colours.
        gray = np.asarray(ImageOps.autocontrast(picture.convert("L")))
        self._faded = 255 - (255 - gray) // 3
        height, width, _ = image.shape
        self._ratio = min(max(width / height, 1 / LONGEST), LONGEST)
        self._boxes = boxes
        self._colors = region_colors(len(boxes))
        # The large ones first, which else would lie on the small ones.
        areas = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
        self._order = np.argsort(-areas, kind="stable")

    def numbered(self, size: float) -> Panel:
        """The picture with the number of each region, its longer side of so many inches."""
        width, height = self._fit(size)

        def draw(place: Place) -> None:
            axes = self._show(place(0, 0, width, height), self._picture)
            label = (CHARACTER_WIDTH * 2.6 / width, LINE_HEIGHT * 1.05 / height)
            corners = _free_corners(self._boxes[self._order], label)
            for region, (x, y) in zip(self._order, corners):
                self._outline(axes, region)
                axes.text(
                    x + label[0] / 2, y + label[1] / 2, str(region), color="white",
                    fontsize=FONT_SIZE, weight="bold", ha="center", va="center",
                    bbox={"facecolor": self._colors[region], "edgecolor": "none", "pad": 1.5},
                )  # fmt: skip

        return Panel(width, height, draw)

    def looked_at(
        self, word: str, names: Sequence[str], shares: np.ndarray, most: float, size: float
    ) -> Panel:
        """The picture as one word sees it.

        Args:
            word: which.
            names: of the R regions.
            shares: [R], how much the word looks at each region.
            most: the share at which a box is opaque.
            size: of its longer side, in inches.
        """
        width, height = self._fit(size)

        def draw(place: Place) -> None:
            axes = self._show(place(0, CAPTION, width, height), self._faded)
            for region in self._order:
                self._outline(axes, region, shares[region] / most)
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
        # In the boxes' coordinates, from 0 to 1 downwards.
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


def _free_corners(boxes: np.ndarray, label: tuple[float, float]) -> list[tuple[float, float]]:
    """Where each box's number goes: as near to its upper left corner as no other number is."""
    taken: list[tuple[float, float]] = []
    for x1, y1, x2, y2 in boxes:
        x1, y1 = (min(max(v, 0.0), 1 - side) for v, side in zip((x1, y1), label))
        places = [
            (x, y)
            for y in np.arange(y1, max(y2 - label[1], y1 + 1e-6), label[1] * 1.1)
            for x in np.arange(x1, max(x2 - label[0], x1 + 1e-6), label[0] * 1.1)
        ]
        free = (p for p in places if not any(_overlap(p, other, label) for other in taken))
        taken.append(next(free, places[0]))
    return taken


def _overlap(one, other, label) -> bool:
    return all(abs(a - b) < side for a, b, side in zip(one, other, label))
