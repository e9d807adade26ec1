"""Scores of a task, as a table for people and as JSON for programs."""

import collections
import dataclasses
import math
from collections.abc import Collection, Hashable, Iterable, Mapping
from typing import Any

from rich.table import Table
from rich.text import Text

from lxmert_tf.terminal import make_console

PERCENT = "%"
# Names of scores, and of the group of those over all questions.
OVERALL_GROUP = "overall"
ACCURACY = "accuracy"
CONSISTENCY = "consistency"
# The type of questions without one.
NO_TYPE = "(none)"


@dataclasses.dataclass(frozen=True)
class Score:
    """One score.

    Args:
        name: The measure, or the type of question.
        value: Unrounded, in `unit`.
        count: The number of questions (sentences for NLVR2's consistency) that it is the mean of.
        unit: "%", or "" for a plain number that is better if lower (GQA's distribution).
    """

    name: str
    value: float
    count: int
    unit: str = PERCENT

    @classmethod
    def mean(cls, name: str, earned: Collection[float]) -> "Score":
        """Make a score of the mean of points in 0..1 (at least one), in percent."""
        return cls(name, 100 * math.fsum(earned) / len(earned), len(earned))

    @property
    def rounded(self) -> float:
        """The value with two decimals, as the official evaluations report it."""
        return round(self.value, 2)


def means_by_type(types: Iterable[str], earned: Iterable[float]) -> tuple[Score, ...]:
    """Compute the mean score of each type.

    Args:
        types: The type of each question.
        earned: The points of each question, in 0..1.

    Returns:
        The scores, sorted by type; none if no question has a type.
    """
    parts: dict[str, list[float]] = collections.defaultdict(list)
    for name, points in zip(types, earned):
        parts[name or NO_TYPE].append(points)
    if parts.keys() == {NO_TYPE}:
        return ()
    return tuple(Score.mean(name, points) for name, points in sorted(parts.items()))


def score_consistency(earned: Iterable[tuple[Hashable, float]]) -> Score:
    """Compute the share of sentences whose examples are all right.

    Args:
        earned: The sentence and the points, 0 or 1, of each example (at least one).
    """
    by_sentence: dict[Hashable, bool] = {}
    for sentence, points in earned:
        by_sentence[sentence] = by_sentence.get(sentence, True) and points == 1
    return Score.mean(CONSISTENCY, list(map(float, by_sentence.values())))


@dataclasses.dataclass(frozen=True)
class ScoreReport:
    """All scores of one task.

    Args:
        task: "vqa", "gqa", "nlvr" or "nlvr2".
        groups: {name of a group: its scores}; "overall" comes first.
    """

    task: str
    groups: Mapping[str, tuple[Score, ...]]

    def to_dict(self) -> dict[str, Any]:
        """Return {"task", "scores": {group: {name: {"value", "rounded", "count", "unit"}}}}."""
        scores = {
            group: {
                score.name: {
                    "value": score.value,
                    "rounded": score.rounded,
                    "count": score.count,
                    "unit": score.unit,
                }
                for score in rows
            }
            for group, rows in self.groups.items()
        }
        return {"task": self.task, "scores": scores}

    def print(self) -> None:
        """Print a table to the standard output."""
        table = Table("", title=f"Scores ({self.task})")
        table.add_column("count", justify="right")
        table.add_column("score", justify="right")
        for group, rows in self.groups.items():
            table.add_row(Text(group, style="bold"))
            for score in rows:
                hint = "" if score.unit else " (lower is better)"
                table.add_row(
                    f"  {score.name}{hint}", f"{score.count:,}", f"{score.rounded:.2f}{score.unit}"
                )
            table.add_section()
        make_console().print(table)
