"""Pictures that visitors can try: those of a folder, or of easy-VQA for models of flat shapes."""

import dataclasses
import html
import importlib.util
import pathlib
from collections.abc import Sequence

from lxmert_tf.errors import InputError
from lxmert_tf.regions.image import read_image
from lxmert_tf.regions.picture_finder import SUFFIXES
from lxmert_tf.text_file import read_lines
from lxmert_tf.visualization.explorer import picture_url

MOST = 8
THUMBNAIL = 96

# Runs in the page: a click on an example tells the server its number.
CHOOSE = """
element.addEventListener('click', (event) => {
  const button = event.target.closest('[data-example]');
  if (button) trigger('select', {example: Number(button.dataset.example)});
});
"""


@dataclasses.dataclass(frozen=True)
class Example:
    """A picture to try.

    Args:
        path: Its file.
        questions: Questions that suit it.
    """

    path: pathlib.Path
    questions: tuple[str, ...] = ()


def examples_in(folder) -> list[Example]:
    """Return the first pictures of a folder, by name.

    Args:
        folder: The folder. Its file `questions.txt`, if there is one, has a question per line.

    Raises:
        InputError: The folder is missing or has no pictures, or the questions are not text.
    """
    folder = pathlib.Path(folder)
    if not folder.is_dir():
        raise InputError(f"examples not found: {folder}")
    paths = sorted(path for path in folder.iterdir() if path.suffix.lower() in SUFFIXES)
    if not paths:
        raise InputError(f"{folder}: no pictures; their names must end in {', '.join(SUFFIXES)}")
    listed = folder / "questions.txt"
    lines = read_lines(listed) if listed.is_file() else []
    questions = tuple(line.strip() for line in lines if line.strip())
    return [Example(path, questions) for path in paths[:MOST]]


def easy_vqa_examples() -> list[Example]:
    """Return test pictures of easy-VQA with their questions; none if it is not installed."""
    if importlib.util.find_spec("easy_vqa") is None:
        return []
    import easy_vqa

    questions: dict[int, list[str]] = {}
    for question, _, image in zip(*easy_vqa.get_test_questions()):
        questions.setdefault(image, []).append(question)
    paths = sorted(easy_vqa.get_test_image_paths().items())[:MOST]
    return [Example(pathlib.Path(path), _varied(questions[number])) for number, path in paths]


def _varied(questions: list[str]) -> tuple[str, ...]:
    """Return one question of each kind, which its first word tells."""
    return tuple({question.split()[0]: question for question in questions}.values())


def example_buttons(examples: Sequence[Example]) -> str:
    """Return a row of small pictures to choose from, as HTML."""
    buttons = []
    for number, example in enumerate(examples):
        url = picture_url(read_image(example.path), THUMBNAIL)
        buttons.append(
            f'<button type="button" class="example" data-example="{number}">'
            f'<img src="{url}" alt="Example picture {number + 1}: '
            f'{html.escape(example.path.stem)}"></button>'
        )
    return f'<div class="examples" role="group" aria-label="Examples">{"".join(buttons)}</div>'
