"""One spelling for answers that mean the same, so that they are found in a table."""

import collections
import pathlib
from typing import Any

from lxmert_tf.errors import InputError
from lxmert_tf.json_file import read_json
from lxmert_tf.text_file import read_lines

_ARTICLES = ("a ", "an ", "the ")
_NUMBERS = ("one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
_SAME = {word: str(number) for number, word in enumerate(_NUMBERS, start=1)} | {"grey": "gray"}


def normalize_answer(text: str) -> str:
    """The spelling under which the release looks an answer up in its table of 9500.

    Lower case; a full stop at the end and articles at the start off; an answer that is a number
    word from one to ten becomes digits, and grey gray. Words inside an answer stay as they are.
    """
    text = text.lower()
    if text.endswith("."):
        text = text[:-1].strip()
    for article in _ARTICLES:
        if text.startswith(article):
            text = text.removeprefix(article).strip()
    return _SAME.get(text, text)


def read_answer_table(path) -> list[str]:
    """The answers of a file, in the order of the logits.

    Args:
        path: a text file with an answer a line, or (named *.json) the release's JSON: a list of
            answers (`label2ans`), a list of objects with an answer under "ans" (`all_ans`), or an
            object that gives each answer its number (`ans2label`). The empty answer is one, too:
            VQA's table has it.

    Raises:
        InputError: the file is none of these, is empty, or an answer in it stands twice, has a
            line break in it, or lacks its number.
    """
    path = pathlib.Path(path)
    answers = _from_json(path) if path.suffix.lower() == ".json" else _from_lines(path)
    if not answers:
        raise InputError(f"{path}: holds no answers")
    answer, count = collections.Counter(answers).most_common(1)[0]
    if count > 1:
        raise InputError(f"{path}: the answer {answer!r} stands in it {count} times; once is right")
    for answer in answers:
        # A preset keeps an answer a line.
        if "\n" in answer or "\r" in answer:
            raise InputError(f"{path}: the answer {answer!r} has a line break in it")
    return answers


def _from_lines(path: pathlib.Path) -> list[str]:
    lines = read_lines(path)
    return [] if lines == [""] else lines


def _from_json(path: pathlib.Path) -> list[str]:
    content = read_json(path)
    if isinstance(content, list):
        return [_entry(value, place, path) for place, value in enumerate(content)]
    if isinstance(content, dict):
        return _by_number(content, path)
    raise InputError(f"{path}: must hold a list of answers, or an object of answers and numbers")


def _entry(value: Any, place: int, path: pathlib.Path) -> str:
    answer = value.get("ans") if isinstance(value, dict) else value
    if not isinstance(answer, str):
        raise InputError(
            f"{path}: entry {place} (counted from 0) is no answer; each must be a text, or an "
            'object with a text under "ans"'
        )
    return answer


def _by_number(numbers: dict[str, Any], path: pathlib.Path) -> list[str]:
    # Not isinstance: true is a number to Python.
    whole = all(type(number) is int for number in numbers.values())
    if not whole or sorted(numbers.values()) != list(range(len(numbers))):
        raise InputError(
            f"{path}: the answers' numbers must be 0 to {len(numbers) - 1}, each given once"
        )
    return sorted(numbers, key=numbers.__getitem__)
