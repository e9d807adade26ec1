"""Regions and attention as an element of a web page that reacts to the mouse and the keyboard.

The element is drawn by `explorer.js`. It needs nothing but its attribute `data`, JSON with:

- `image`: the picture as a data URL, and its `alt`, `width` and `height`;
- `regions`: a list of `box` (x1, y1, x2, y2 in 0..1), `name` and `confidence` (in 0..1, or null);
- `words` and `attention`, null without a sentence: the word pieces; `layers`, `heads`, and the
  shares of `words_to_regions` [layers, heads, T, R] and `regions_to_words` [layers, heads, R, T] as
  base64 of little-endian uint16 (65535 = 1).
"""

import base64
import functools
import html
import importlib.resources
import io
import json
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from lxmert_tf.html_page import html_page
from lxmert_tf.regions.extractor import Regions

if TYPE_CHECKING:
    from lxmert_tf.visualization.attention_maps import AttentionMaps

# Longest side of the picture in a page, in pixels.
SHOWN_PIXELS = 900
JPEG_QUALITY = 88
# Pictures with at most so many colors are drawings, which PNG holds exactly and in less space.
DRAWING_COLORS = 256


def explorer_element(
    image: np.ndarray,
    regions: Regions | None,
    names: list[str],
    maps: "AttentionMaps | None" = None,
    alt: str = "The picture",
) -> str:
    """Return the element as HTML; its page needs `explorer_script`.

    Args:
        image: uint8 [height, width, 3].
        regions: The regions of the image; None if they are not known.
        names: The name of each region, or "".
        maps: Attention between the regions and a sentence; None for the regions alone.
        alt: Description of the picture for people who do not see it.
    """
    content = {
        "image": picture_url(image),
        "alt": alt,
        "width": image.shape[1],
        "height": image.shape[0],
        "regions": [] if regions is None else _regions(regions, names),
        "words": maps and maps.pieces,
        "attention": maps and _attention(maps),
    }
    data = html.escape(json.dumps(content, separators=(",", ":")))
    return f'<lxmert-explorer data="{data}"></lxmert-explorer>'


def explorer_page(title: str, element: str) -> str:
    """Return a page that shows an element without any other file.

    Args:
        title: The title.
        element: From `explorer_element`.
    """
    return html_page(title, f"<script>{explorer_script()}</script>\n{element}")


@functools.lru_cache(maxsize=1)
def explorer_script() -> str:
    """Return the JavaScript that draws the elements of a page."""
    folder = importlib.resources.files("lxmert_tf.visualization")
    script, css = (
        (folder / f"explorer.{kind}").read_text(encoding="utf-8") for kind in ("js", "css")
    )
    return (
        f"{script}\nLxmertExplorer.css = {json.dumps(css)};\n"
        'customElements.define("lxmert-explorer", LxmertExplorer);\n'
    )


def picture_url(image: np.ndarray, most: int = SHOWN_PIXELS) -> str:
    """Return a picture as a data URL: a JPEG, or a PNG if it has few colors.

    Args:
        image: uint8 [height, width, 3].
        most: Longest side in pixels; larger pictures are scaled down.
    """
    picture = Image.fromarray(image)
    is_drawing = picture.getcolors(DRAWING_COLORS) is not None
    picture.thumbnail((most, most))
    file = io.BytesIO()
    kind = "png" if is_drawing else "jpeg"
    picture.save(file, kind, quality=JPEG_QUALITY)
    return f"data:image/{kind};base64,{_base64(file.getvalue())}"


def shown_pixels(image: np.ndarray) -> np.ndarray:
    """Return a picture in the size of a page, which is all that `explorer_element` needs of it.

    Args:
        image: uint8 [height, width, 3].
    """
    picture = Image.fromarray(image)
    # Does nothing if the picture is smaller.
    picture.thumbnail((SHOWN_PIXELS, SHOWN_PIXELS))
    return np.asarray(picture)


def _regions(regions: Regions, names: list[str]) -> list[dict[str, Any]]:
    confidences = regions.object_confidences
    return [
        {
            "box": [round(float(v), 4) for v in box],
            "name": name,
            # Without a name, it is the confidence in nothing.
            "confidence": float(confidences[i]) if name and confidences is not None else None,
        }
        for i, (box, name) in enumerate(zip(regions.boxes, names))
    ]


def _attention(maps: "AttentionMaps") -> dict[str, Any]:
    to_regions, to_words = (
        np.stack(maps.layers[kind]) for kind in ("language_to_vision", "vision_to_language")
    )
    layers, heads = to_regions.shape[:2]
    return {
        "layers": layers,
        "heads": heads,
        "words_to_regions": _shares(to_regions),
        "regions_to_words": _shares(to_words),
    }


def _shares(shares: np.ndarray) -> str:
    return _base64(np.rint(shares * 65535).astype("<u2").tobytes())


def _base64(content: bytes) -> str:
    return base64.b64encode(content).decode("ascii")
