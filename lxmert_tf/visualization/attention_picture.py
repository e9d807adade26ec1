"""Attention as a picture: regions, heat maps, and an image per word, as in the paper's appendix."""

import itertools
import textwrap
from collections.abc import Sequence

import numpy as np

from lxmert_tf.visualization import KINDS, REGIONS, WORDS
from lxmert_tf.visualization.attention_maps import (
    MEAN,
    AttentionMaps,
    count_of,
    index_of,
)
from lxmert_tf.visualization.panels import (
    HeatMap,
    Panel,
    Section,
    text_panel,
    write_page,
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
    layers: Sequence[int] = (-1,),
    heads: Sequence[int | str] = (MEAN,),
) -> None:
    """Draw attention into a PNG or SVG file, complete or not at all.

    Args:
        maps: Attention of the sentence and the image, from `attention_maps`.
        image: uint8 [height, width, 3].
        sentence: The sentence.
        path: The file, whose name ends in .png or .svg; an existing one is replaced.
        kinds: The kinds of `KINDS` to draw.
        layers: The layers to draw one below the other; see `AttentionMaps.select`.
        heads: The heads to draw of each layer; see `AttentionMaps.select`.

    Raises:
        InputError: A layer or head does not exist, or a PNG would be too large.
    """
    drawing = _Drawing(maps, image)
    chosen = [kind for kind in KINDS if kind in kinds]
    maps_drawn = itertools.product(layers, heads)
    sections = [drawing.section(chosen, layer, head) for layer, head in maps_drawn]
    write_page(path, [drawing.picture(sentence), *sections], MIN_WIDTH)


class _Drawing:
    """Draws layers and heads as sections of a page."""

    def __init__(self, maps: AttentionMaps, image: np.ndarray):
        self._maps = maps
        self._picture = RegionPicture(image, maps.regions.boxes)
        self._colors = region_colors(len(maps.regions))
        self._names = [f"{i}  {name}".rstrip() for i, name in enumerate(maps.region_names, start=1)]

    def picture(self, sentence: str) -> Section:
        """Return the sentence and the image with its regions."""
        title = "\n".join(textwrap.wrap(textwrap.shorten(sentence, 300), 75))
        named = zip(self._names, self._maps.region_names)
        legend = [line if name else None for line, name in named]
        return Section(
            [
                [text_panel(title, MIN_WIDTH, font_size=14, weight="bold")],
                [self._picture.numbered(PICTURE_SIZE), *self._picture.legend(legend, PICTURE_SIZE)],
            ]
        )

    def section(self, kinds: list[str], layer: int, head: int | str) -> Section:
        """Return one layer and head of each kind."""
        pairs = [("language", "vision"), ("language_to_vision", "vision_to_language")]
        drawn = [[kind for kind in pair if kind in kinds] for pair in pairs]
        rows = [[self._heat_map(kind, layer, head) for kind in pair] for pair in drawn if pair]
        if "language_to_vision" not in kinds:
            return Section(rows)
        name = self._map_name("language_to_vision", layer, head)
        text = f"Attention of each word to the regions: {name}"
        heading = text_panel(text, MIN_WIDTH, font_size=10, weight="bold")
        return Section([*rows, [heading]], self._word_pictures(layer, head))

    def _heat_map(self, kind: str, layer: int, head: int | str) -> Panel:
        title, rows, columns = KINDS[kind]
        sides: dict[str, list[tuple[str, object]]] = {
            WORDS: [(piece, "black") for piece in self._maps.pieces],
            REGIONS: [*zip(self._names, self._colors)],
        }
        shares = self._maps.select(kind, layer, head)
        return HeatMap(
            shares,
            _darkest(shares),
            f"{title}\n{self._map_name(kind, layer, head)}; each row sums to 100%",
            sides[rows],
            sides[columns],
            f"queries: {rows}",
            f"keys: {columns}",
        ).panel()

    def _map_name(self, kind: str, layer: int, head: int | str) -> str:
        """Return the name of a map, counted from 1 as people do."""
        layers = self._maps.layers[kind]
        number = index_of(kind, "layer", layer, len(layers))
        heads = len(layers[number])
        name = f"layer {number + 1} of {len(layers)}"
        if head == MEAN:
            return f"{name}, mean of {count_of('head', heads)}"
        return f"{name}, head {index_of(kind, 'head', int(head), heads) + 1} of {heads}"

    def _word_pictures(self, layer: int, head: int | str) -> list[Panel]:
        shares = self._maps.select("language_to_vision", layer, head)
        return [
            self._picture.attended(piece, self._names, row, _darkest(shares), SMALL_PICTURE_SIZE)
            for piece, row in zip(self._maps.pieces, shares)
        ]


def _darkest(shares: np.ndarray) -> float:
    """Return the share that is drawn in the darkest color."""
    return max(shares.max(), min(1.0, DARKEST_RATIO / shares.shape[1]))
