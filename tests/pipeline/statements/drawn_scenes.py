"""Images in the manner of NLVR, drawn from descriptions of their boxes."""

import numpy as np
from PIL import Image, ImageDraw

from pipeline.statements.scenes import COLORS, Scenes, read_scenes

_WIDTH, _GAP = 100, 50
_SIDES = {"small": 10, "medium": 20, "big": 30}


def draw(*boxes: str) -> np.ndarray:
    """Return the pixels of three boxes.

    Args:
        *boxes: Objects with commas between them, each "size color shape left top" in pixels of its
            box, such as "small black circle 20 30".
    """
    image = Image.new("RGB", (3 * _WIDTH + 2 * _GAP, _WIDTH), (128, 128, 128))
    pen = ImageDraw.Draw(image)
    for number, box in enumerate(boxes):
        start = number * (_WIDTH + _GAP)
        pen.rectangle((start, 0, start + _WIDTH - 1, _WIDTH - 1), fill=(211, 211, 211))
        for described in filter(None, box.split(",")):
            size, color, shape, left, top = described.split()
            side = _SIDES[size] - 1
            x, y = start + int(left), int(top)
            corners = (x, y, x + side, y + side)
            if shape == "circle":
                pen.ellipse(corners, fill=COLORS[color])
            elif shape == "square":
                pen.rectangle(corners, fill=COLORS[color])
            else:
                pen.polygon([(x, y + side), (x + side, y + side), (x + side / 2, y)], COLORS[color])
    return np.asarray(image)


def tower(*colors: str) -> str:
    """Return the description of a tower for `draw`, from its base to its top."""
    return ",".join(
        f"medium {color} square 40 {80 - 21 * level}" for level, color in enumerate(colors)
    )


def scenes(*boxes: str) -> Scenes:
    """Return the scene of one image; the arguments are those of `draw`."""
    return read_scenes([("drawn", draw(*boxes))])


# One image of scattered objects, and one of towers.
OBJECTS = scenes(
    "small black circle 20 30,big yellow triangle 50 70,medium yellow square 80 10",
    "medium blue square 80 80,medium blue circle 10 10",
    "big black triangle 30 40",
)
STACKS = scenes(tower("black", "blue", "yellow"), tower("blue", "blue"), tower("yellow"))
