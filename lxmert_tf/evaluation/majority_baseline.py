"""A baseline that does not look at the image: the most common answer to each question."""

import collections
from collections.abc import Iterable


class MajorityBaseline:
    """The most common answer to the same question in the training data.

    For a question that is not in the training data, it is the most common answer to any question.

    Args:
        answered: The (question, answer) tuples of the training data.
    """

    def __init__(self, answered: Iterable[tuple[str, str]]):
        by_question: dict[str, collections.Counter[str]] = collections.defaultdict(
            collections.Counter
        )
        for question, answer in answered:
            by_question[question][answer] += 1
        self._answers = {question: _top(counts) for question, counts in by_question.items()}
        self._default = _top(sum(by_question.values(), collections.Counter()))

    def answer(self, question: str) -> str:
        """Return the most common answer to a question."""
        return self._answers.get(question, self._default)


def _top(counts: collections.Counter) -> str:
    return min(counts, key=lambda answer: (-counts[answer], answer))
