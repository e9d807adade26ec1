"""The times of steps that take turns over a few different batches."""

import statistics
from collections.abc import Callable, Sequence

# Every batch's shape is met before the clock runs, and there are at least as many steps as this.
WARM_UP = 3


class StepTimes:
    """Seconds of steps, by batch.

    Batches differ in their longest sentence, so that steps are only compared with those on the same
    batch: the time of a pass over all is the sum of each one's median, or best.

    Args:
        examples: of each batch.
    """

    def __init__(self, examples: Sequence[int]):
        self._examples = list(examples)
        self._seconds: list[list[float]] = [[] for _ in examples]

    def add(self, batch: int, seconds: float) -> None:
        """One step's time."""
        self._seconds[batch].append(seconds)

    @property
    def median(self) -> float:
        """Seconds of a typical pass."""
        return self._pass(statistics.median)

    @property
    def best(self) -> float:
        """Seconds of a pass with nothing else going on."""
        return self._pass(min)

    @property
    def median_rate(self) -> float:
        """Examples per second of a typical pass."""
        return sum(self._examples) / self.median

    @property
    def best_rate(self) -> float:
        """Examples per second of the best pass."""
        return sum(self._examples) / self.best

    def _pass(self, typical: Callable[[list[float]], float]) -> float:
        return sum(typical(seconds) for seconds in self._seconds)
