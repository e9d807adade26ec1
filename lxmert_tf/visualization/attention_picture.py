"""Attention drawn as in the paper's appendix: the picture, heat maps, what each word looks at."""

import os
import pathlib
import tempfile
import textwrap
import warnings
from collections.abc import Sequence

import matplotlib
import numpy as np
from matplotlib.figure import Figure

from lxmert_tf.visualization import KINDS, REGIONS, WORDS
from lxmert_tf.visualization.attention_maps import (
    MEAN,
    AttentionMaps,
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
LEAST_WIDTH = 9.0
PICTURE_SIZE = 5.0
SMALL_PICTURE_SIZE = 1.55

# So many times an even share is drawn strongest, or what is more: nearly even ones stay pale.
STRONG = 3.0


def draw_attention(
    maps: AttentionMaps,
    image: np.ndarray,
    sentence: str,
    path,
    kinds: Sequence[str] = tuple(KINDS),
    layer: int = -1,
    head: int | str = MEAN,
) -> None:
    """Writes a PNG, whole or not at all.

    Args:
        maps: of the sentence and the image.
        image: uint8 [height, width, 3].
        sentence: in words.
        path: the file; an older one is replaced.
        kinds: which of `KINDS` are drawn.
        layer, head: see `AttentionMaps.select`.

    Raises:
        InputError: there is no such layer or head.
    """
    drawing = _Drawing(maps, image, layer, head)
    # Word pieces may hold a $, which is no formula here; scripts that the font lacks are boxes.
    with matplotlib.rc_context({"text.parse_math": False}), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph")
        _write(drawing.page(sentence, [kind for kind in KINDS if kind in kinds]), path)


class _Drawing:
    """One layer and head of each kind, as panels."""

    def __init__(self, maps: AttentionMaps, image: np.ndarray, layer: int, head: int | str):
        self._maps = maps
        self._layer, self._head = layer, head
        self._picture = RegionPicture(image, maps.regions.boxes)
        self._colors = region_colors(len(maps.regions))
        self._names = [f"{i}  {name}".rstrip() for i, name in enumerate(maps.region_names)]

    def page(self, sentence: str, kinds: list[str]) -> Figure:
        """All of it."""
        pairs = [("language", "vision"), ("language_to_vision", "vision_to_language")]
        heat_maps = [[self._heat_map(kind) for kind in pair if kind in kinds] for pair in pairs]
        title = "\n".join(textwrap.wrap(textwrap.shorten(sentence, 300), 75))
        sections = [
            [text_panel(title, LEAST_WIDTH, font_size=14, weight="bold")],
            [self._picture.numbered(PICTURE_SIZE), *self._legend()],
            *filter(None, heat_maps),
        ]
        if "language_to_vision" in kinds:
            heading = f"What each word looks at: {self._which('language_to_vision')}"
            heading = text_panel(heading, LEAST_WIDTH, font_size=10, weight="bold")
            sections += [[heading], self._words()]
        return make_page(sections, LEAST_WIDTH)

    def _legend(self) -> list[Panel]:
        """The names of the regions in their colours, in columns as high as the picture."""
        lines = int(PICTURE_SIZE / LINE_HEIGHT)
        named = [i for i, name in enumerate(self._maps.region_names) if name]
        starts = range(0, len(named), lines)
        return [self._legend_column(named[start : start + lines]) for start in starts]

    def _legend_column(self, numbers: Sequence[int]) -> Panel:
        width = text_width(self._names[i] for i in numbers) * 1.2
        height = LINE_HEIGHT * len(numbers)

        def draw(place):
            axes = place(0, 0, width, height)
            axes.set_axis_off()
            for line, i in enumerate(numbers):
                axes.text(
                    0, 1 - line / len(numbers), self._names[i], color=self._colors[i], va="top",
                    fontsize=8, weight="bold",
                )  # fmt: skip

        return Panel(width, height, draw)

    def _heat_map(self, kind: str) -> Panel:
        title, rows, columns = KINDS[kind]
        sides = {
            WORDS: [(piece, "black") for piece in self._maps.pieces],
            REGIONS: list(zip(self._names, self._colors)),
        }
        shares = self._maps.select(kind, self._layer, self._head)
        return HeatMap(
            shares,
            _most(shares),
            f"{title}\n{self._which(kind)}; a row is 100 %",
            sides[rows],
            sides[columns],
            f"{rows} looking",
            f"{columns} looked at",
        ).panel()

    def _which(self, kind: str) -> str:
        layers = self._maps.layers[kind]
        layer = index_of(kind, "layer", self._layer, len(layers))
        heads = len(layers[layer])
        which = f"layer {layer} of 0 to {len(layers) - 1}"
        if self._head == MEAN:
            return f"{which}, mean of {heads} heads"
        return f"{which}, head {index_of(kind, 'head', self._head, heads)} of 0 to {heads - 1}"

    def _words(self) -> list[Panel]:
        shares = self._maps.select("language_to_vision", self._layer, self._head)
        return [
            self._picture.looked_at(piece, self._names, row, _most(shares), SMALL_PICTURE_SIZE)
            for piece, row in zip(self._maps.pieces, shares)
        ]


def _most(shares: np.ndarray) -> float:
    """The share that is drawn strongest."""
    return max(shares.max(), min(1.0, STRONG / shares.shape[1]))


def _write(figure: Figure, path) -> None:
    path = pathlib.Path(path)
    with tempfile.TemporaryDirectory(prefix=f".{path.name}-", dir=path.parent) as folder:
        fresh = pathlib.Path(folder) / "picture.png"
        figure.savefig(fresh, format="png")
        os.replace(fresh, path)
