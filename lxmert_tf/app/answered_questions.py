"""Questions with their pictures and the answers of a model, as HTML."""

import html
from collections.abc import Sequence

from lxmert_tf.evaluation.confusion import AnsweredQuestion, ShownImage
from lxmert_tf.regions.picture_finder import PictureFinder
from lxmert_tf.visualization.explorer import picture_url

# Longest side of a picture, in pixels.
SIDE = 320
NOT_FOUND = (
    "Where a picture was not found, you see the boxes of its regions; --pictures says where the "
    "pictures are."
)


def question_cards(questions: Sequence[AnsweredQuestion], pictures: PictureFinder) -> str:
    """Return a card for each question.

    Args:
        questions: The questions.
        pictures: Finds their pictures; of an image without one, the boxes are drawn.
    """
    cards, all_found = [], True
    for question in questions:
        shown = []
        for image in question.images:
            pixels = pictures.find(image.id, question.source)
            all_found = all_found and pixels is not None
            if pixels is None:
                shown.append(_drawn_boxes(image))
                continue
            alt = html.escape(f"Picture {image.id}")
            shown.append(f'<img src="{picture_url(pixels, SIDE)}" alt="{alt}">')
        cards.append(_card(question, "".join(shown)))
    hint = "" if all_found else f'<p class="hint">{NOT_FOUND}</p>'
    return f'{hint}<div class="answered">{"".join(cards)}</div>'


def _card(question: AnsweredQuestion, pictures: str) -> str:
    given, expected = html.escape(question.given), html.escape(question.expected)
    verdict = "right" if question.is_right else "wrong"
    score = f"{question.score:.0%} sure"
    if question.is_right:
        answers = f"<p>Answer: <strong>{given}</strong>, {score}</p>"
    else:
        earned = f" (earns {question.earned:.0%})" if question.earned else ""
        answers = (
            f"<p>Answer: <strong>{given}</strong>, {score}{earned}</p>"
            f"<p>Expected: <strong>{expected}</strong></p>"
        )
    return (
        f'<article class="{verdict}"><div class="pictures">{pictures}</div>'
        f"<h4>{html.escape(question.text)}</h4>{answers}</article>"
    )


def _drawn_boxes(image: ShownImage) -> str:
    """Return a drawing of the regions of an image whose picture is not there."""
    width, height = max(image.width, 1), max(image.height, 1)
    count = len(image.boxes)
    label = f"The boxes of {count} region{'s' if count != 1 else ''} of picture {image.id}"
    boxes = "".join(
        f'<rect x="{x1 * width:.1f}" y="{y1 * height:.1f}" width="{(x2 - x1) * width:.1f}" '
        f'height="{(y2 - y1) * height:.1f}"/>'
        for x1, y1, x2, y2 in image.boxes
    )
    return (
        f'<svg viewBox="0 0 {width} {height}" role="img" aria-label="{html.escape(label)}">'
        f"{boxes}</svg>"
    )
