"""Tests of grammars whose sentences have a meaning."""

import collections
import random

import pytest

from pipeline.statements.grammar import Grammar, Rule, alternatives

RULES = {
    "sum": [
        Rule(1, "{digit}", lambda digit: digit),
        Rule(1, "{digit} plus {sum}", lambda digit, rest: digit + rest),
    ],
    "digit": [*alternatives(3, "one|a single one", 1), Rule(1, "two", 2)],
}


@pytest.mark.parametrize(
    "sentence, meanings",
    [
        ("two", [2]),
        ("one plus two plus a single one", [4]),
        ("two plus", []),
        ("three", []),
        ("", []),
    ],
)
def test_a_sentence_has_the_meaning_of_its_parts(sentence, meanings):
    assert Grammar(RULES).parse("sum", sentence) == meanings


def test_drawn_sentences_have_their_meanings():
    grammar, generator = Grammar(RULES), random.Random(0)
    for _ in range(200):
        sentence, meaning = grammar.draw("sum", generator)
        assert grammar.parse("sum", sentence) == [meaning]


def test_phrases_are_drawn_by_weight():
    grammar, generator = Grammar(RULES), random.Random(0)
    counts = collections.Counter(grammar.draw("digit", generator)[0] for _ in range(4000))
    assert counts["two"] == pytest.approx(1000, abs=120)
    assert counts["one"] == pytest.approx(1500, abs=150)


def test_words_are_those_of_all_phrases():
    assert Grammar(RULES).words == {"plus", "one", "a", "single", "two"}


@pytest.mark.parametrize(
    "rule, message", [(Rule(1, "{three}", None), "unknown {three}"), (Rule(0, "two", 2), "is 0")]
)
def test_wrong_rules_are_refused(rule, message):
    with pytest.raises(ValueError, match=message):
        Grammar({"sum": [rule]})
