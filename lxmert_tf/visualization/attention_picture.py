"""Attention as a picture: regions, heat maps, and an image per word, as in the paper's appendix."""

import textwrap
import warnings
from collections.abc import Sequence

import matplotlib
import numpy as np
from matplotlib.figure import Figure

from lxmert_tf.atomic_write import atomic_file
from lxmert_tf.visualization import KINDS, REGIONS, WORDS
from lxmert_tf.visualization.attention_maps import (
    MEAN,
    AttentionMaps,
    count_of,
    index_of,
)
from lxmert_tf.visualization.panels import (
    LINE_HEIGHT,
    HeatMap,
    Panel,
    make_page,
    text_panel,
    text_width,
)
from lxmert_tf.visualization.region_boxes import RegionPicture, region_colors

# In inches.
MIN_WIDTH = 9.0
PICTURE_SIZE = 5.0
SMALL_PICTURE_SIZE = 1.55

# At least this many times a uniform share is drawn in the darkest color, so that nearly uniform
# attention stays pale.
DARKEST_RATIO = 3.0


def draw_attention(
    maps: AttentionMaps,
    image: np.ndarray,
    sentence: str,
    path,
    kinds: Sequence[str] = tuple(KINDS),
    layer: int = -1,
    head: int | str = MEAN,
) -> None:
    """Draw attention into a PNG file, complete or not at all.

    Args:
        maps: Attention of the sentence and the image, from `attention_maps`.
        image: uint8 [height, width, 3].
        sentence: The sentence.
        path: The file; an existing one is replaced.
        kinds: The kinds of `KINDS` to draw.
        layer: See `AttentionMaps.select`.
        head: See `AttentionMaps.select`.

    Raises:
        InputError: The layer or head does not exist.
    """
    drawing = _Drawing(maps, image, layer, head)
    # A $ in a word piece does not begin a formula; scripts that the font lacks are drawn as boxes.
    with matplotlib.rc_context({"text.parse_math": False}), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph")
        figure = drawing.page(sentence, [kind for kind in KINDS if kind in kinds])
        with atomic_file(path) as unfinished:
            figure.savefig(unfinished, format="png")


class _Drawing:
    """Draws one layer and head of each kind as panels."""

    def __init__(self, maps: AttentionMaps, image: np.ndarray, layer: int, head: int | str):
        self._maps = maps
        self._layer, self._head = layer, head
        self._picture = RegionPicture(image, maps.regions.boxes)
        self._colors = region_colors(len(maps.regions))
        self._names = [f"{i}  {name}".rstrip() for i, name in enumerate(maps.region_names)]

    def page(self, sentence: str, kinds: list[str]) -> Figure:
        """Return the whole figure."""
        pairs = [("language", "vision"), ("language_to_vision", "vision_to_language")]
        heat_maps = [[self._heat_map(kind) for kind in pair if kind in kinds] for pair in pairs]
        title = "\n".join(textwrap.wrap(textwrap.shorten(sentence, 300), 75))
        rows = [
            [text_panel(title, MIN_WIDTH, font_size=14, weight="bold")],
            [self._picture.numbered(PICTURE_SIZE), *self._legend()],
            *filter(None, heat_maps),
        ]
        if "language_to_vision" in kinds:
            name = self._map_name("language_to_vision")
            text = f"Attention of each word to the regions: {name}"
            heading = text_panel(text, MIN_WIDTH, font_size=10, weight="bold")
            return make_page([*rows, [heading]], self._word_pictures(), MIN_WIDTH)
        return make_page(rows, [], MIN_WIDTH)

    def _legend(self) -> list[Panel]:
        """Return the names of the regions in their colors, in columns as high as the picture."""
        lines = int(PICTURE_SIZE / LINE_HEIGHT)
        named = [i for i, name in enumerate(self._maps.region_names) if name]
        starts = range(0, len(named), lines)
        return [self._legend_column(named[start : start + lines]) for start in starts]

    def _legend_column(self, numbers: Sequence[int]) -> Panel:
        width = text_width(self._names[i] for i in numbers) * 1.2
        height = LINE_HEIGHT * len(numbers)

        def draw(add_axes):
            axes = add_axes(0, 0, width, height)
            axes.set_axis_off()
            for line, i in enumerate(numbers):
                axes.text(
                    0, 1 - line / len(numbers), self._names[i], color=self._colors[i], va="top",
                    fontsize=8, weight="bold",
                )  # fmt: skip

        return Panel(width, height, draw)

    def _heat_map(self, kind: str) -> Panel:
        title, rows, columns = KINDS[kind]
        sides: dict[str, list[tuple[str, object]]] = {
            WORDS: [(piece, "black") for piece in self._maps.pieces],
            REGIONS: [*zip(self._names, self._colors)],
        }
        shares = self._maps.select(kind, self._layer, self._head)
        return HeatMap(
            shares,
            _darkest(shares),
            f"{title}\n{self._map_name(kind)}; each row sums to 100%",
            sides[rows],
            sides[columns],
            f"queries: {rows}",
            f"keys: {columns}",
        ).panel()

    def _map_name(self, kind: str) -> str:
        layers = self._maps.layers[kind]
        layer = index_of(kind, "layer", self._layer, len(layers))
        heads = len(layers[layer])
        name = _number_of("layer", layer, len(layers))
        if self._head == MEAN:
            return f"{name}, mean of {count_of('head', heads)}"
        head = index_of(kind, "head", int(self._head), heads)
        return f"{name}, {_number_of('head', head, heads)}"

    def _word_pictures(self) -> list[Panel]:
        shares = self._maps.select("language_to_vision", self._layer, self._head)
        return [
            self._picture.attended(piece, self._names, row, _darkest(shares), SMALL_PICTURE_SIZE)
            for piece, row in zip(self._maps.pieces, shares)
        ]


def _number_of(what: str, number: int, count: int) -> str:
    """Return the number of a layer or head, and the numbers that there are."""
    others = f"{what}s 0 to {count - 1}" if count > 1 else "the only one"
    return f"{what} {number} ({others})"


def _darkest(shares: np.ndarray) -> float:
    """Return the share that is drawn in the darkest color."""
    return max(shares.max(), min(1.0, DARKEST_RATIO / shares.shape[1]))
