"""Which answers a model gives in place of which others, with a few examples of each confusion."""

import bisect
import collections
import dataclasses
import json
from typing import Literal

from lxmert_tf.errors import InputError
from lxmert_tf.json_file import check_json, read_json
from lxmert_tf.text_file import write_text

# Examples that are kept: of a pair of answers, of all wrong answers, and of all right ones. They
# bound the memory and the file, whatever the number of questions.
EXAMPLES_PER_CELL = 8
MOST_WRONG, MOST_RIGHT = 1000, 200
# The answer that is expected where a question has none.
NO_ANSWER = "(no answer)"

# The expected and the given answer.
Cell = tuple[str, str]


@dataclasses.dataclass(frozen=True)
class ShownImage:
    """An image as it can be shown without its pixels.

    Args:
        id: Its id.
        height: In pixels.
        width: In pixels.
        boxes: x1, y1, x2, y2 in 0..1 of each region.
    """

    id: str
    height: int
    width: int
    boxes: list[tuple[float, float, float, float]]


@dataclasses.dataclass(frozen=True)
class AnsweredQuestion:
    """A question, or a statement, with a model's answer.

    Args:
        id: Its id.
        text: The question.
        source: The data set that it is from.
        expected: The best answer of the data, `NO_ANSWER` if there is none. It is the given
            answer if no other earns more.
        given: The model's answer.
        score: The model's score of it, in 0..1.
        earned: What the given answer earns, in 0..1.
        images: The image, or the two images of a statement.
    """

    id: str
    text: str
    source: str
    expected: str
    given: str
    score: float
    earned: float
    images: tuple[ShownImage, ...]

    @property
    def is_right(self) -> bool:
        """Whether no other answer would have earned more."""
        return self.expected == self.given


@dataclasses.dataclass(frozen=True)
class _File:
    """The content of a file of `Confusion.write`."""

    model: str
    # Rows of expected answer, given answer, and number of questions.
    counts: list[tuple[str, str, int]]
    examples: list[AnsweredQuestion]
    format: Literal[1] = 1


class Confusion:
    """Counts of expected and given answers, and examples of them.

    Of the wrong answers, the examples are those of which the model was surest; of the right ones,
    those of which it was least sure. The order in which questions are added does not matter.

    Args:
        model: Name of the model.

    Attributes:
        model: As given.
        counts: Number of questions by expected and given answer.
    """

    def __init__(self, model: str = ""):
        self.model = model
        self.counts: collections.Counter[Cell] = collections.Counter()
        self._wrong, self._right = _Examples(MOST_WRONG), _Examples(MOST_RIGHT)

    def add(self, question: AnsweredQuestion) -> None:
        """Count a question, and keep it if it is a better example than others."""
        self.counts[question.expected, question.given] += 1
        self._keep(question)

    def worst(self, most: int) -> list[AnsweredQuestion]:
        """Return the wrong answers that earn the least, the surest first.

        Args:
            most: The most that are returned.
        """
        return self._wrong.ordered()[:most]

    def examples(self, cells: set[Cell], most: int) -> list[AnsweredQuestion]:
        """Return the examples of some pairs of answers, the best examples first.

        Args:
            cells: Pairs of expected and given answer.
            most: The most that are returned.
        """
        kept = self._wrong.ordered() + self._right.ordered()
        return [q for q in kept if (q.expected, q.given) in cells][:most]

    def write(self, path) -> None:
        """Write a file for `read_confusion`.

        Raises:
            InputError: The file cannot be written.
        """
        content = _File(
            self.model,
            [(*cell, count) for cell, count in sorted(self.counts.items())],
            self._wrong.ordered() + self._right.ordered(),
        )
        write_text(path, json.dumps(dataclasses.asdict(content), ensure_ascii=False) + "\n")

    def _keep(self, question: AnsweredQuestion) -> None:
        if question.is_right:
            self._right.add(question, (question.score, question.id))
        else:
            self._wrong.add(question, (question.earned, -question.score, question.id))


def read_confusion(path) -> Confusion:
    """Read a file of `Confusion.write`.

    Raises:
        InputError: The file is missing, or something else.
    """
    content = check_json(_File, read_json(path), str(path))
    confusion = Confusion(content.model)
    for expected, given, count in content.counts:
        if count < 1 or (expected, given) in confusion.counts:
            raise InputError(f"{path}: {expected!r}, {given!r}: must be counted once, at least 1")
        confusion.counts[expected, given] = count
    for question in content.examples:
        confusion._keep(question)
    return confusion


class _Examples:
    """The first few questions of each cell by rank, and the first of all of them.

    Args:
        most: The most questions of all cells.
    """

    def __init__(self, most: int):
        self._most = most
        self._cells: dict[Cell, list[tuple[tuple, AnsweredQuestion]]] = {}
        self._count = 0

    def add(self, question: AnsweredQuestion, rank: tuple) -> None:
        """Add a question with its rank, of which the lowest are kept."""
        rows = self._cells.setdefault((question.expected, question.given), [])
        self._count -= len(rows)
        bisect.insort(rows, (rank, question), key=lambda row: row[0])
        del rows[EXAMPLES_PER_CELL:]
        self._count += len(rows)
        # Not after each question, because it looks at all of them.
        if self._count > 2 * self._most:
            self._prune()

    def ordered(self) -> list[AnsweredQuestion]:
        """Return the questions that are kept, by rank."""
        self._prune()
        return [question for _, question in self._ranked()]

    def _prune(self) -> None:
        kept = self._ranked()[: self._most]
        self._cells = {}
        for rank, question in kept:
            cell = question.expected, question.given
            self._cells.setdefault(cell, []).append((rank, question))
        self._count = len(kept)

    def _ranked(self) -> list[tuple[tuple, AnsweredQuestion]]:
        rows = (row for rows in self._cells.values() for row in rows)
        return sorted(rows, key=lambda row: row[0])
