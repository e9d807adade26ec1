"""Lines of text as panels, and how much room text takes."""

from lxmert_tf.visualization.page import Panel

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
