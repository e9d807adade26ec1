"""Answer tables: the answers that a model can give, in the order of its logits."""

import collections
import dataclasses
import pathlib
from typing import TYPE_CHECKING, Any

from lxmert_tf.errors import InputError
from lxmert_tf.json_file import read_json
from lxmert_tf.text_file import read_lines

if TYPE_CHECKING:
    import tensorflow as tf

_ARTICLES = ("a ", "an ", "the ")
_NUMBERS = ("one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
_SYNONYMS = {word: str(number) for number, word in enumerate(_NUMBERS, start=1)} | {"grey": "gray"}

# An answer that is not in the table.
UNKNOWN = -1


@dataclasses.dataclass(frozen=True)
class AnswerTable:
    """Look-ups of answers in TensorFlow: answers to IDs, and to soft targets.

    Args:
        answers: The answers, in the order of the logits.

    Raises:
        InputError: An answer occurs twice.
    """

    answers: tuple[str, ...]

    def __post_init__(self):
        duplicate = _first_duplicate(self.answers)
        if duplicate is not None:
            raise InputError(f"duplicate answer {duplicate!r} in the answer table")

    def ids(self, texts: "tf.RaggedTensor") -> "tf.RaggedTensor":
        """Look up the IDs of answers.

        Args:
            texts: Ragged string [B, (a)].

        Returns:
            Ragged int64 [B, (a)]; -1 for answers that are not in the table.
        """
        # Workers of the ingestion use this module without TensorFlow.
        import tensorflow as tf

        table = tf.lookup.StaticHashTable(
            tf.lookup.KeyValueTensorInitializer(
                tf.constant(self.answers), tf.range(len(self.answers), dtype=tf.int64)
            ),
            default_value=UNKNOWN,
        )
        return texts.with_flat_values(table.lookup(texts.flat_values))

    def targets(self, texts: "tf.RaggedTensor", scores: "tf.RaggedTensor") -> "tf.Tensor":
        """Make soft targets.

        Args:
            texts: Ragged string [B, (a)], the answers to each question.
            scores: Ragged float32 [B, (a)], their scores in 0..1.

        Returns:
            float32 [B, A], the score of each answer of the table. Answers that are not in the table
            are ignored; of an answer that is given twice, the higher score counts.
        """
        import tensorflow as tf

        ids = self.ids(texts).flat_values
        known = ids != UNKNOWN
        where = tf.boolean_mask(tf.stack([texts.value_rowids(), ids], axis=1), known)
        zeros = tf.zeros([texts.nrows(), len(self.answers)])
        return tf.tensor_scatter_nd_max(zeros, where, tf.boolean_mask(scores.flat_values, known))


def normalize_answer(text: str) -> str:
    """Normalize an answer as the LXMERT release does before it looks it up in its table of 9500.

    Lower case; without a period at the end and articles at the start; number words from one to ten
    become digits, and grey becomes gray, if they are the whole answer.

    Example:
        >>> normalize_answer("The Two.")
        '2'
    """
    text = text.lower()
    if text.endswith("."):
        text = text[:-1].strip()
    for article in _ARTICLES:
        if text.startswith(article):
            text = text.removeprefix(article).strip()
    return _SYNONYMS.get(text, text)


def read_answer_table(path) -> list[str]:
    """Read the answers of a file, in the order of the logits.

    Args:
        path: A text file with one answer per line, or (named *.json) a JSON file of the LXMERT
            release: a list of answers (`label2ans`), a list of objects with an answer under "ans"
            (`all_ans`), or an object that maps answers to IDs (`ans2label`). The empty answer is
            valid; VQA's table has it.

    Returns:
        The answers.

    Raises:
        InputError: The file is none of these or empty, or an answer occurs twice, has a line break,
            or has no valid ID.
    """
    is_json = str(path).lower().endswith(".json")
    answers = _from_json(path) if is_json else _from_lines(path)
    if not answers:
        raise InputError(f"{path}: holds no answers")
    duplicate = _first_duplicate(answers)
    if duplicate is not None:
        raise InputError(f"{path}: duplicate answer {duplicate!r}")
    for answer in answers:
        # A preset keeps one answer per line.
        if "\n" in answer or "\r" in answer:
            raise InputError(f"{path}: the answer {answer!r} contains a line break")
    return answers


def _first_duplicate(answers) -> str | None:
    counts = collections.Counter(answers)
    return next((answer for answer, count in counts.items() if count > 1), None)


def _from_lines(path: pathlib.Path) -> list[str]:
    lines = read_lines(path)
    return [] if lines == [""] else lines


def _from_json(path: pathlib.Path) -> list[str]:
    content = read_json(path)
    if isinstance(content, list):
        return [_entry(value, index, path) for index, value in enumerate(content)]
    if isinstance(content, dict):
        return _by_id(content, path)
    raise InputError(f"{path}: must hold a list of answers, or an object that maps answers to IDs")


def _entry(value: Any, index: int, path: pathlib.Path) -> str:
    answer = value.get("ans") if isinstance(value, dict) else value
    if not isinstance(answer, str):
        raise InputError(
            f'{path}: [{index}] must be a string, or an object with a string under "ans"'
        )
    return answer


def _by_id(ids: dict[str, Any], path: pathlib.Path) -> list[str]:
    # Not isinstance: True is an int to Python.
    integers = all(type(value) is int for value in ids.values())
    if not integers or sorted(ids.values()) != list(range(len(ids))):
        raise InputError(f"{path}: the answers' IDs must be 0 to {len(ids) - 1}, each once")
    return sorted(ids, key=ids.__getitem__)
