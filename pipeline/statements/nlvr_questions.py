"""Questions about NLVR's images, and statements simpler than NLVR's own.

A statement tells one bit about an image, and only to a model that understands all of it. A question
for a number or a color tells more, and to a model that understands a part. So a model that starts
from nothing learns to find, count, and compare from questions, and then statements come easily;
docs/experiments.md has figures.
"""

from collections.abc import Sequence
from typing import NamedTuple

from pipeline.statements.grammar import Rule
from pipeline.statements.meanings import (
    Meaning,
    at_base,
    at_least,
    at_top,
    both,
    color_of,
    count_boxes,
    count_objects,
    exactly,
    holds,
    holds_only,
    number_in_box,
    number_of_boxes,
    number_of_objects,
    of_height,
    over,
)
from pipeline.statements.nlvr_rules import SCATTERED, TOWERS, nlvr_rules
from pipeline.statements.scenes import BOXES, COLORS, MOST_OBJECTS

TRUTHS = ("False", "True")
NUMBERS = tuple(map(str, range(BOXES * MOST_OBJECTS + 1)))


class SentenceKind(NamedTuple):
    """A kind of sentences.

    Args:
        answers: The answers. A meaning is the index of one, or negative where there is none.
        scattered: The symbol of sentences about scattered objects; None if there are none.
        towers: The symbol of sentences about towers of blocks; None if there are none.
        shares: How often each lesson draws the kind, relative to its other kinds.
        most_words: Words of the longest sentence.
        tells_boxes_apart: Whether answers depend on the order of the boxes.
    """

    answers: Sequence[str]
    scattered: str | None
    towers: str | None
    shares: tuple[float, ...] = ()
    most_words: int = 30
    tells_boxes_apart: bool = False


STATEMENTS = SentenceKind(TRUTHS, SCATTERED, TOWERS)
# Number of lessons: to find and count objects, to compare boxes, and the whole grammar.
LESSONS = 3
# In a mixture of all kinds from the start, counting in one box was not learned.
_KINDS = (
    SentenceKind(
        NUMBERS, "plain_number_in_box", "number_in_tower", (6, 0.5, 0.5), tells_boxes_apart=True
    ),
    SentenceKind(NUMBERS, "plain_number_of_objects", "number_of_blocks", (2, 0.5, 0.5)),
    SentenceKind(TRUTHS, "existing_object", "existing_block", (2, 0.5, 0.5)),
    SentenceKind(tuple(COLORS), None, "color_in_tower", (0, 1, 0.5), tells_boxes_apart=True),
    SentenceKind(NUMBERS, "plain_number_of_boxes", "plain_number_of_towers", (0, 5, 1)),
    SentenceKind(TRUTHS, "plain_scattered", "plain_towers", (0, 1, 1)),
    SentenceKind(NUMBERS, "number_in_box", "number_in_tower", (0, 0, 1), tells_boxes_apart=True),
    SentenceKind(NUMBERS, "number_in_contact", None, (0, 0, 1)),
    SentenceKind(NUMBERS, "number_of_boxes", "number_of_towers", (0, 0, 1), most_words=12),
    SentenceKind(NUMBERS, "number_of_boxes", "number_of_towers", (0, 0, 1.5)),
    SentenceKind(TRUTHS, SCATTERED, TOWERS, (0, 0, 1), most_words=10),
    SentenceKind(TRUTHS, SCATTERED, TOWERS, (0, 0, 1), most_words=14),
    SentenceKind(TRUTHS, SCATTERED, TOWERS, (0, 0, 3)),
)


def kinds_of_lesson(lesson: int) -> dict[SentenceKind, float]:
    """Return the kinds of sentences of a lesson, and how often each is drawn, relatively.

    Args:
        lesson: 1 to `LESSONS`, from simple questions to the whole grammar; 0 for statements alone.
    """
    if lesson == 0:
        return {STATEMENTS: 1}
    shares = {kind: kind.shares[lesson - 1] for kind in _KINDS}
    return {kind: share for kind, share in shares.items() if share}


def sentence_rules() -> dict[str, list[Rule]]:
    """Return the rules of all kinds of sentences, NLVR's statements included."""
    return {
        **nlvr_rules(),
        **_plain_rules(),
        **_question_rules(),
        "plain_scattered": _plain_scattered_rules(),
        "plain_towers": _plain_towers_rules(),
        "existing_object": _existence_rules("object"),
        "existing_block": _existence_rules("colored_block"),
    }


def _plain_rules() -> dict[str, list[Rule]]:
    """Phrases of few words for objects, boxes, and towers."""
    rules = {
        f"plain_object{s}": [
            Rule(3, f"{{color}} {{item{s}}}", lambda color, _: color),
            Rule(1, f"{{item{s}}}", lambda item: item),
            Rule(1, f"{{shape{s}}}", lambda shape: shape),
        ]
        for s in ("", "s")
    }
    return rules | {
        "plain_contents": [
            Rule(5, "{a_count} {plain_object}", holds),
            Rule(5, "{count} {plain_objects}", holds),
            Rule(1.5, "only {plain_objects}", holds_only),
            Rule(0.5, "{few} {items}", lambda number, _: of_height(exactly(number))),
            Rule(0.5, "exactly {few} {items}", lambda number, _: of_height(exactly(number))),
        ],
        "plain_tower": [
            Rule(3, "{height}", lambda height: height),
            Rule(2, "{a_count} {colored_block}", holds),
            Rule(2, "{blocks_count} {colored_blocks}", holds),
            Rule(1, "only {colored_blocks}", holds_only),
            Rule(2, "a {colored_block} {at_top}", lambda block, _: at_top(block)),
            Rule(2, "a {colored_block} {at_base}", lambda block, _: at_base(block)),
            Rule(2, "a {colored_block} {over} a {colored_block}", lambda a, _, b: over(a, b)),
        ],
    }


def _question_rules() -> dict[str, list[Rule]]:
    def question(phrase: str, meaning) -> list[Rule]:
        return [Rule(1, phrase, meaning)]

    rules = {
        "side": [Rule(1, side, box) for box, side in enumerate(("left", "middle", "right"))],
        "level": [Rule(1, "base", 0), Rule(1, "second block", 1), Rule(1, "top", -1)],
        "color_in_tower": question(
            "what color is the {level} of the tower in the {side} box",
            lambda level, box: lambda scenes: color_of(level)(scenes)[:, box],
        ),
        "number_in_contact": question(
            "how many {objects} are {contact}",
            lambda o, contact: number_of_objects(both(o, contact)),
        ),
        "number_of_boxes": question("how many boxes with {contents}", number_of_boxes),
        "plain_number_of_boxes": question("how many boxes with {plain_contents}", number_of_boxes),
        "number_of_towers": question("how many towers with {tower}", number_of_boxes),
        "plain_number_of_towers": question("how many towers with {plain_tower}", number_of_boxes),
    }
    for place, objects in (("tower", "colored_blocks"), ("box", "objects")):
        phrase = f"how many {{{objects}}} in the {{side}} box"
        rules[f"number_in_{place}"] = question(phrase, number_in_box)
    rules["plain_number_in_box"] = question(
        "how many {plain_objects} in the {side} box", number_in_box
    )
    rules["number_of_blocks"] = question("how many {colored_blocks}", number_of_objects)
    rules["plain_number_of_objects"] = question("how many {plain_objects}", number_of_objects)
    return rules


def _plain_scattered_rules() -> list[Rule]:
    held = "{plain_contents}"
    return [
        Rule(6, f"there is {{a_count}} {{box}} {{with}} {held}", _counted_boxes),
        Rule(2, f"there are {{boxes_count}} {{boxes}} {{with}} {held}", _counted_boxes),
        Rule(1, f"there is no {{box}} {{with}} {held}", lambda _, __, h: _no_box(h)),
        Rule(1, f"{{one}} of the {{box}} has {held}", lambda _, __, h: count_boxes(at_least(1), h)),
        Rule(1, "there is {a_count} {plain_object}", count_objects),
        Rule(1, "there are {count} {plain_objects}", count_objects),
    ]


def _plain_towers_rules() -> list[Rule]:
    tower = "{plain_tower}"
    return [
        Rule(6, f"there is {{a_count}} tower {{with}} {tower}", lambda n, _, t: count_boxes(n, t)),
        Rule(
            2,
            f"there are {{boxes_count}} towers {{with}} {tower}",
            lambda n, _, t: count_boxes(n, t),
        ),
        Rule(1, f"there is no tower {{with}} {tower}", lambda _, t: _no_box(t)),
        Rule(1, "there is {a_count} {colored_block}", count_objects),
        Rule(1, "there are {count} {colored_blocks}", count_objects),
    ]


def _existence_rules(symbol: str) -> list[Rule]:
    return [
        Rule(6, f"there is a {{{symbol}}}", lambda objects: count_objects(at_least(1), objects)),
        Rule(1, f"there is no {{{symbol}}}", lambda objects: count_objects(exactly(0), objects)),
    ]


def _counted_boxes(count, box, with_, contents: Meaning) -> Meaning:
    return count_boxes(count, contents)


def _no_box(contents: Meaning) -> Meaning:
    return count_boxes(exactly(0), contents)
