"""A question, its picture, and a model's answer as one small image, such as TensorBoard shows."""

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont, ImageOps

from lxmert_tf.evaluation.confusion import AnsweredQuestion, ShownImage

# In pixels: a picture's side, and the text below it. TensorBoard shows images 350 pixels wide, and
# enlarges smaller ones, whose text would be ragged.
PICTURE, MARGIN, LINE = 384, 12, 26
QUESTION_LINES = 2
TEXT_SIZE = 19
# Narrower pictures are drawings, whose edges stay sharp.
TINY = 200
PAPER, INK, RIGHT, WRONG, LINES = "white", "#1f2937", "#166534", "#b91c1c", "#64748b"


def answer_card(question: AnsweredQuestion, pictures: Sequence[np.ndarray | None]) -> np.ndarray:
    """Draw a question with the model's answer and the expected one.

    Args:
        question: The question.
        pictures: For each of its images uint8 [height, width, 3]; None draws the boxes of the
            regions on an empty page.

    Returns:
        uint8 [height, width, 3], whose size depends on the number of images alone.
    """
    width = PICTURE * len(question.images)
    height = PICTURE + 2 * MARGIN + (QUESTION_LINES + 2) * LINE
    card = Image.new("RGB", (width, height), PAPER)
    for i, (image, pixels) in enumerate(zip(question.images, pictures)):
        shown = _drawn_boxes(image) if pixels is None else Image.fromarray(pixels)
        method = Image.Resampling.NEAREST if shown.width < TINY else Image.Resampling.BICUBIC
        shown = ImageOps.contain(shown, (PICTURE, PICTURE), method)
        left, top = ((PICTURE - side) // 2 for side in shown.size)
        card.paste(shown, (i * PICTURE + left, top))
    draw, font = ImageDraw.Draw(card), ImageFont.load_default(TEXT_SIZE)
    given = f"{question.given} ({question.score:.0%})"
    lines = [(line, INK) for line in _wrapped(question.text, font, width - 2 * MARGIN)]
    lines.append((given, RIGHT if question.is_right else WRONG))
    if not question.is_right:
        lines.append((f"expected: {question.expected}", INK))
    for i, (line, color) in enumerate(lines):
        draw.text((MARGIN, PICTURE + MARGIN + i * LINE), line, fill=color, font=font)
    return np.asarray(card)


def _drawn_boxes(image: ShownImage) -> Image.Image:
    scale = PICTURE / max(image.width, image.height, 1)
    width, height = (max(1, round(side * scale)) for side in (image.width, image.height))
    drawing = Image.new("RGB", (width, height), "#f1f5f9")
    draw = ImageDraw.Draw(drawing)
    for x1, y1, x2, y2 in image.boxes:
        corners = (x1 * (width - 1), y1 * (height - 1), x2 * (width - 1), y2 * (height - 1))
        draw.rectangle(corners, outline=LINES)
    return drawing


def _wrapped(text: str, font, width: int) -> list[str]:
    """Return the first lines of a text, the last with an ellipsis if there would be more."""
    lines = [""]
    for word in text.split():
        longer = f"{lines[-1]} {word}".strip()
        if not lines[-1] or font.getlength(longer) <= width:
            lines[-1] = longer
        else:
            lines.append(word)
    if len(lines) <= QUESTION_LINES:
        return lines
    return [*lines[: QUESTION_LINES - 1], f"{lines[QUESTION_LINES - 1]} ..."]
