"""A grammar whose sentences have a meaning."""

import bisect
import itertools
import random
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

_SYMBOL = re.compile(r"\{(\w+)\}")


class Rule(NamedTuple):
    """A phrase that a symbol may stand for.

    Args:
        weight: How often it is drawn, relative to the other phrases of the symbol.
        phrase: Words, and symbols in braces.
        meaning: The meaning of the phrase, or, if it has symbols, a function that returns it from
            the meanings of these, in their order.
    """

    weight: float
    phrase: str
    meaning: Any


class Grammar:
    """Draws sentences with their meanings, and finds the meanings of a sentence.

    Args:
        rules: Symbol -> its phrases.

    Raises:
        ValueError: A phrase has a symbol without phrases, or a weight is not above 0.

    Example:
        >>> grammar = Grammar({
        ...     "sum": [Rule(1, "{digit} plus {digit}", lambda one, two: one + two)],
        ...     "digit": [Rule(3, "one", 1), Rule(1, "two", 2)],
        ... })
        >>> grammar.parse("sum", "one plus two")
        [3]
    """

    def __init__(self, rules: Mapping[str, Sequence[Rule]]):
        self._rules = {
            symbol: [(_parts(rule.phrase), rule.meaning) for rule in phrases]
            for symbol, phrases in rules.items()
        }
        self._thresholds = {
            symbol: list(itertools.accumulate(rule.weight for rule in phrases))
            for symbol, phrases in rules.items()
        }
        for symbol, phrases in rules.items():
            for rule in phrases:
                if rule.weight <= 0:
                    raise ValueError(f"{symbol}: the weight of {rule.phrase!r} is {rule.weight}")
                for name in _SYMBOL.findall(rule.phrase):
                    if name not in rules:
                        raise ValueError(f"{symbol}: {rule.phrase!r} has the unknown {{{name}}}")

    @property
    def words(self) -> set[str]:
        """All words of the phrases."""
        return {
            part
            for phrases in self._rules.values()
            for parts, _ in phrases
            for part, is_symbol in parts
            if not is_symbol
        }

    def draw(self, symbol: str, generator: random.Random) -> tuple[str, Any]:
        """Draw a sentence.

        Args:
            symbol: What it is to be.
            generator: The source of randomness.

        Returns:
            The sentence, and its meaning.
        """
        words: list[str] = []
        meaning = self._draw(symbol, generator, words)
        return " ".join(words), meaning

    def parse(self, symbol: str, sentence: str) -> list[Any]:
        """Return the meanings of a sentence; none if it is not one of the symbol's sentences."""
        words = sentence.split()
        found = self._matches(symbol, words, 0, {})
        return [meaning for end, meaning in found if end == len(words)]

    def _draw(self, symbol: str, generator: random.Random, words: list[str]) -> Any:
        thresholds = self._thresholds[symbol]
        drawn = generator.random() * thresholds[-1]
        parts, meaning = self._rules[symbol][bisect.bisect_right(thresholds, drawn)]
        meanings = []
        for part, is_symbol in parts:
            if is_symbol:
                meanings.append(self._draw(part, generator, words))
            else:
                words.append(part)
        return meaning(*meanings) if meanings else meaning

    def _matches(
        self, symbol: str, words: list[str], start: int, known: dict[tuple[str, int], Any]
    ) -> list[tuple[int, Any]]:
        """Return where phrases of a symbol that start at a word end, and what they mean."""
        key = symbol, start
        if key not in known:
            known[key] = [
                (end, meaning(*meanings) if meanings else meaning)
                for parts, meaning in self._rules[symbol]
                for end, meanings in self._match_parts(parts, words, start, known)
            ]
        return known[key]

    def _match_parts(self, parts, words, start, known) -> Iterator[tuple[int, tuple]]:
        if not parts:
            yield start, ()
            return
        (part, is_symbol), *rest = parts
        if not is_symbol:
            if words[start : start + 1] == [part]:
                yield from self._match_parts(rest, words, start + 1, known)
            return
        for end, meaning in self._matches(part, words, start, known):
            for last, meanings in self._match_parts(rest, words, end, known):
                yield last, (meaning, *meanings)


def alternatives(weight: float, phrases: str, meaning: Any) -> list[Rule]:
    """Return rules of equal weight and one meaning.

    Args:
        weight: The sum of their weights.
        phrases: The phrases, with "|" between them.
        meaning: As for `Rule`.
    """
    parts = phrases.split("|")
    return [Rule(weight / len(parts), part.strip(), meaning) for part in parts]


def _parts(phrase: str) -> list[tuple[str, bool]]:
    """Return the words and the symbols of a phrase, and whether each is a symbol."""
    return [
        (match.group(1), True) if (match := _SYMBOL.fullmatch(word)) else (word, False)
        for word in phrase.split()
    ]
