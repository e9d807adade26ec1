"""What one gets without looking at the picture: the commonest answer to each question."""

import collections
from collections.abc import Iterable


class MajorityBaseline:
    """The majority answer of a question's training twins; of all questions where it has none.

    Args:
        pairs: (question, answer) of the training data.
    """

    def __init__(self, pairs: Iterable[tuple[str, str]]):
        by_question = collections.defaultdict(collections.Counter)
        for question, answer in pairs:
            by_question[question][answer] += 1
        self._answers = {question: _top(counts) for question, counts in by_question.items()}
        self._default = _top(sum(by_question.values(), collections.Counter()))

    def answer(self, question: str) -> str:
        """The guess."""
        return self._answers.get(question, self._default)


def _top(counts: collections.Counter) -> str:
    return min(counts, key=lambda answer: (-counts[answer], answer))
