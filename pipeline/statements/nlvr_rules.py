"""The phrases of NLVR's statements (Suhr et al. 2017), and what they mean.

Patterns that occur in the training statements, so that a model sees the words that people used,
misspelled ones included. Where a phrase is vague, its meaning is the one that agrees with the
labels: "a box with two items" has at least two, "a tower with two blocks" exactly two.
"""

from pipeline.statements.grammar import Rule, alternatives
from pipeline.statements.meanings import (
    Count,
    Meaning,
    all_colors,
    any_object,
    at_base,
    at_least,
    at_level,
    at_most,
    at_top,
    both,
    color_of,
    count_boxes,
    count_objects,
    equal,
    every_object,
    exactly,
    extreme_box,
    height,
    holds,
    holds_any,
    holds_only,
    holds_others,
    in_middle,
    kinds,
    objects_without,
    of_color,
    of_height,
    of_shape,
    of_size,
    only_colors,
    over,
    stacked,
    touching,
)
from pipeline.statements.scenes import COLORS, SHAPES

# The symbols of statements about scattered objects, and about towers of blocks.
SCATTERED = "scattered"
TOWERS = "towers"

_NUMBERS = {2: "two|2", 3: "three|3", 4: "four|4", 5: "five|5", 6: "six|6", 7: "seven|7"}
_ONE = at_least(1)


def nlvr_rules() -> dict[str, list[Rule]]:
    """Return the rules, with weights near the frequencies in the training statements."""
    return {
        **_number_rules(),
        **_object_rules(),
        **_contact_rules(),
        **_content_rules(),
        **_tower_rules(),
        SCATTERED: _scattered_rules(),
        TOWERS: _tower_statement_rules(),
    }


def _number_rules() -> dict[str, list[Rule]]:
    weights = {2: 10, 3: 7, 4: 4, 5: 3, 6: 1.5, 7: 1}
    numbers = [rule for n, w in weights.items() for rule in alternatives(w, _NUMBERS[n], n)]
    few = [rule for n in (2, 3, 4) for rule in alternatives(weights[n], _NUMBERS[n], n)]
    boxes = [rule for n, w in ((2, 3), (3, 1)) for rule in alternatives(w, _NUMBERS[n], n)]
    return {
        "number": numbers,
        "few": few,
        "two_or_three": boxes,
        "one": alternatives(1, "one|1", 1),
        "a_count": _singular_counts(),
        "count": _plural_counts("number", at_least),
        "blocks_count": _plural_counts("few", exactly),
        "boxes_count": _plural_counts("two_or_three", at_least),
    }


def _singular_counts() -> list[Rule]:
    return [
        *alternatives(6, "a|one|1", at_least(1)),
        Rule(2, "at least {one}", at_least),
        Rule(2, "exactly {one}", exactly),
        Rule(1, "only {one}", exactly),
        Rule(0.1, "atleast {one}", at_least),
        Rule(0.1, "at most {one}", at_most),
    ]


def _plural_counts(number: str, bare) -> list[Rule]:
    return [
        Rule(5, f"{{{number}}}", bare),
        Rule(2, f"at least {{{number}}}", at_least),
        Rule(0.1, f"atleast {{{number}}}", at_least),
        Rule(2.5, f"exactly {{{number}}}", exactly),
        Rule(0.7, f"only {{{number}}}", exactly),
        Rule(0.4, f"at most {{{number}}}", at_most),
        Rule(0.2, f"less than {{{number}}}", lambda n: at_most(n - 1)),
        Rule(0.2, f"more than {{{number}}}", lambda n: at_least(n + 1)),
        Rule(0.1, f"not more than {{{number}}}", at_most),
    ]


def _object_rules() -> dict[str, list[Rule]]:
    rules = {
        "color": [Rule(1, color, of_color(color)) for color in COLORS],
        "size": [
            Rule(2, "small", of_size("small")),
            *alternatives(1, "medium|medium size", of_size("medium")),
            Rule(1, "big", of_size("big")),
        ],
        "block": alternatives(3, "block|block|block|item|object", any_object),
        "blocks": alternatives(3, "blocks|blocks|blocks|items|objects", any_object),
    }
    for one, s in (("", ""), ("s", "s")):
        rules[f"item{one}"] = [
            *alternatives(3, f"item{s}|object{s}", any_object),
            Rule(0.5, f"block{s}", any_object),
        ]
        rules[f"shape{one}"] = [Rule(1, shape + s, of_shape(shape)) for shape in SHAPES]
        rules[f"object{one}"] = [
            Rule(2, f"{{item{one}}}", lambda item: item),
            Rule(3, f"{{shape{one}}}", lambda shape: shape),
            Rule(8, f"{{color}} {{item{one}}}", both),
            Rule(8, f"{{color}} {{shape{one}}}", both),
            Rule(0.5, f"{{size}} {{color}} {{shape{one}}}", both),
            Rule(0.2, f"{{size}} {{color}} {{item{one}}}", both),
            Rule(0.2, f"{{size}} {{shape{one}}}", both),
            Rule(0.1, f"{{color}} {{shape{one}}} of {{size}} size", both),
        ]
        rules[f"colored_block{one}"] = [Rule(1, f"{{color}} {{block{one}}}", both)]
    return rules


def _contact_rules() -> dict[str, list[Rule]]:
    sides = touching("left", "top", "right", "bottom")
    beside, above_or_below = touching("left", "right"), touching("top", "bottom")
    corner = both(beside, above_or_below)
    edges = [
        *alternatives(8, "the edge|the edge|any edge|an edge|the wall|the wall|the side", sides),
        *alternatives(1, "one edge|the side of the box|a wall of a box|the edge of a box", sides),
        *alternatives(3, "the base|the bottom base", touching("bottom")),
        *alternatives(4, "the bottom of a box|the bottom of a box|the bottom", touching("bottom")),
        *alternatives(3, "right wall of a box|the right wall", touching("right")),
        *alternatives(0.5, "left wall of a box|the left wall", touching("left")),
        *alternatives(0.2, "the top|the roof of a box", touching("top")),
        *alternatives(3, "a corner|the corner|a corner of a box|the corner of the box", corner),
    ]
    for side in ("right", "left"):
        edges.append(Rule(0.1, f"the {side} corner", both(touching(side), above_or_below)))
        for end in ("bottom", "top"):
            meaning = both(touching(side), touching(end))
            edges.append(Rule(0.2, f"{end} {side} corner of a box", meaning))
    return {
        "edge": edges,
        "contact": [
            Rule(6, "touching {edge}", lambda edge: edge),
            Rule(4, "closely touching {edge}", lambda edge: edge),
            Rule(0.2, "attached to {edge}", lambda edge: edge),
            Rule(3, "not touching {edge}", objects_without),
        ],
    }


def _content_rules() -> dict[str, list[Rule]]:
    """What a box holds: phrases after "a box with"."""
    held = [
        Rule(5, "{a_count} {object}", holds),
        Rule(5, "{count} {objects}", holds),
        Rule(0.2, "{objects}", holds_any),
        Rule(1, "{a_count} {object} {contact}", _touching_objects),
        Rule(0.7, "{count} {objects} {contact}", _touching_objects),
    ]
    contents = [
        Rule(9, "{held}", lambda held: held),
        Rule(5, "{held} and {held}", both),
        Rule(2, "{held} , {held} and {held}", both),
        Rule(0.5, "{held} {held} and {held}", both),
        Rule(0.5, "{a_count} {color} and {a_count} {color} {item}", _two_counts),
        Rule(0.4, "{count} {color} and {a_count} {color} {item}", _two_counts),
        Rule(0.4, "{count} {color} and {count} {color} {items}", _two_counts),
        Rule(0.3, "{count} {color} , {count} {color} and {a_count} {color} {item}", _three_counts),
        Rule(1.5, "only {objects}", holds_only),
        Rule(0.2, "only {color} {items} and {held}", lambda c, i, h: both(holds_only(c), h)),
        Rule(0.3, "no {objects}", lambda objects: holds(exactly(0), objects)),
        Rule(0.2, "{a_count} {object} and other {items}", _and_others),
        Rule(0.2, "{count} {objects} and other {items}", _and_others),
        Rule(0.3, "only {one} {object} and it is {contact}", _only_one_touching),
        Rule(0.2, "a {object} and it is {contact}", lambda o, c: holds_any(both(o, c))),
        Rule(0.2, "{number} {items} and {one} is {contact}", _of_them_touch),
        Rule(0.2, "{number} {items} of which {one} is {contact}", _of_them_touch),
        Rule(0.2, "{number} {items} of which {number} are {shapes}", _of_which),
        Rule(0.3, "{number} {items} of which {one} is a {object}", _of_which),
        Rule(0.2, "exactly {number} {items} one of which is a {object}", _including),
        Rule(0.3, "exactly {number} {items} including a {object}", _including),
        Rule(0.2, "exactly {number} {items} including {object}", _including),
        Rule(
            0.3,
            "multiple {items} and there is a {object}",
            lambda i, o: both(_many(2), holds_any(o)),
        ),
        Rule(0.2, "only {one} {size} {item}", lambda n, z, i: holds(exactly(1), z)),
        Rule(0.1, "{items} of the same shape", lambda i: kinds(exactly(1), "shape")),
        *_shared_contents("number"),
    ]
    contents += [
        Rule(0.2, f"{{single}} {phrase} a {{object}}", meaning)
        for phrase, meaning in (
            ("and it is", lambda single, objects: both(single, holds_any(objects))),
            ("which is", lambda single, objects: both(single, holds_any(objects))),
            ("that is not", lambda single, objects: both(single, holds_others(objects))),
        )
    ]
    return {
        "held": held,
        "contents": contents,
        "single": alternatives(
            1,
            "only one item|only one object|only 1 item|exactly one object|one item|exactly 1 item"
            "|only one block|exactly one block|a single block",
            of_height(exactly(1)),
        ),
        "with": alternatives(
            1, "with|with|with|that has|which has|that contains|which contains|having", None
        ),
        "box": alternatives(1, "box|box|box|box|grey box|grey square", None),
        "boxes": alternatives(1, "boxes|boxes|boxes|boxes|grey boxes|grey squares", None),
    }


def _shared_contents(number: str) -> list[Rule]:
    """Phrases that are said of boxes and of towers.

    Args:
        number: The symbol of their numbers.
    """
    n = f"{{{number}}}"
    rules = [
        Rule(2, "only {color} and {color} {items}", lambda c, d, _: only_colors(c, d)),
        Rule(0.2, "{color} and {color} {items}", lambda c, d, _: all_colors(c, d)),
        Rule(0.2, "{color} and {color} {items} only", lambda c, d, _: only_colors(c, d)),
        Rule(0.2, "only {color} color {items}", lambda c, _: holds_only(c)),
        Rule(0.4, "{items} of only {color} and {color} color", lambda _, c, d: only_colors(c, d)),
        Rule(0.2, "{items} of the same color", lambda _: kinds(exactly(1), "color")),
        Rule(0.2, "only one color", kinds(exactly(1), "color")),
        Rule(0.3, "{items} of {few} different colors", lambda _, k: kinds(exactly(k), "color")),
        Rule(0.2, "{items} of all three colors", lambda _: kinds(exactly(3), "color")),
        Rule(0.2, "{items} of all 3 different colors", lambda _: kinds(exactly(3), "color")),
        Rule(0.3, "many {items}", lambda _: _many(4)),
        Rule(0.1, "multiple {items}", lambda _: _many(2)),
        Rule(0.1, f"{n} {{items}} at most", lambda k, _: of_height(at_most(k))),
    ]
    for weight, bound, count in (
        (0.6, "", exactly),
        (0.2, "exactly", exactly),
        (0.2, "only", exactly),
        (0.2, "at least", at_least),
        (0.1, "at most", at_most),
    ):
        rules += _numbered_contents(weight, f"{bound} {n} {{items}}".strip(), count)
    for of in ("of which", "and", "and the"):
        rules += [
            Rule(0.4, f"{n} {{items}} {of} {n} are {{color}}", _of_which),
            Rule(0.2, f"{n} {{items}} {of} {{one}} is {{color}}", _of_which),
            Rule(0.1, f"multiple {{items}} {of} {n} are {{color}}", _of_many),
        ]
    for of in ("which is of {color} color", "that is {color}", "and it is {color}"):
        rules.append(Rule(0.2, f"{{single}} {of}", lambda s, c: both(s, holds_any(c))))
    for of in ("that is not {color}", "which is not {color}"):
        rules.append(Rule(0.1, f"{{single}} {of}", lambda s, c: both(s, holds_others(c))))
    return rules


def _numbered_contents(weight: float, items: str, count) -> list[Rule]:
    """Phrases that go on after a number of items."""

    def rule(phrase: str, meaning) -> Rule:
        return Rule(
            weight / 4,
            f"{items} {phrase}",
            lambda number, _, *rest: both(of_height(count(number)), meaning(*rest)),
        )

    return [
        rule("of the same color", lambda: kinds(exactly(1), "color")),
        rule("and they are the same colour", lambda: kinds(exactly(1), "color")),
        rule("of different color", lambda: kinds(at_least(2), "color")),
        rule("of {few} different colors", lambda number: kinds(exactly(number), "color")),
        rule("of {color} and {color} color", only_colors),
        rule("of only {color} and {color} color", only_colors),
        rule("and they are {color}", holds_only),
        rule("all of which are of {color} color", holds_only),
    ]


def _tower_rules() -> dict[str, list[Rule]]:
    """What a tower is like: phrases after "a tower with"."""
    block, blocks = "{colored_block}", "{colored_blocks}"
    parts = [
        Rule(2, "{blocks_count} {colored_blocks}", holds),
        Rule(3, "{a_count} {colored_block}", holds),
        Rule(0.3, "{blocks_count} {colored_blocks} and {a_count} {colored_block}", _two_objects),
        Rule(0.3, "{a_count} {colored_block} and {a_count} {colored_block}", _two_objects),
        Rule(0.2, "{a_count} {colored_block} and {blocks_count} {colored_blocks}", _two_objects),
        Rule(0.4, "{a_count} {color} and {a_count} {color} {block}", _two_counts),
        Rule(0.3, "{blocks_count} {color} and {a_count} {color} {block}", _two_counts),
        Rule(1.5, f"only {blocks}", holds_only),
        Rule(3, f"a {block} {{over}} a {block}", lambda a, o, b: over(a, b)),
        Rule(0.4, f"a {block} {{over}} the {block}", lambda a, o, b: over(a, b)),
        Rule(0.3, f"{block} {{over}} {block}", lambda a, o, b: over(a, b)),
        Rule(0.7, f"a {block} {{under}} a {block}", lambda a, u, b: over(b, a)),
        Rule(0.4, f"{{few}} {blocks} {{together}}", lambda n, b, _: stacked(n, b)),
        Rule(0.2, f"at least {{few}} {blocks} {{together}}", lambda n, b, _: stacked(n, b)),
        Rule(0.3, f"a {block} in the middle", in_middle),
        Rule(0.2, f"a {block} as the second block", lambda b: at_level(1, b)),
        Rule(0.2, f"a {block} below the top block", lambda b: at_level(-2, b)),
        Rule(0.3, f"a {block} at the top and at the base", lambda b: both(at_top(b), at_base(b))),
        *_shared_contents("few"),
    ]
    for weight, a in ((5, "a "), (0.8, "one "), (0.8, "1 "), (0.2, "the "), (0.4, "")):
        parts += [
            Rule(weight, f"{a}{block} {{at_top}}", lambda b, _: at_top(b)),
            Rule(weight, f"{a}{block} {{at_base}}", lambda b, _: at_base(b)),
        ]
    for end, other in (("top", "base"), ("base", "top")):
        is_end, is_other = _ends(end), _ends(other)
        parts += [
            Rule(0.4, f"a {{color}} {end}", is_end),
            Rule(0.2, f"{{color}} {end}", is_end),
            Rule(
                0.3,
                f"a {block} {{at_{end}}} and a {block} {{at_{other}}}",
                lambda a, _, b, __, one=is_end, two=is_other: both(one(a), two(b)),
            ),
        ]
    heights = [
        Rule(weight, f"{bound} {{few}} {{blocks}}".strip(), lambda n, _, c=count: of_height(c(n)))
        for weight, bound, count in (
            (4, "", exactly),
            (4, "exactly", exactly),
            (1.5, "at least", at_least),
            (0.5, "at most", at_most),
            (0.7, "only", exactly),
            (0.2, "less than", lambda n: at_most(n - 1)),
            (0.2, "more than", lambda n: at_least(n + 1)),
        )
    ]
    tower = [
        Rule(4, "{height}", lambda h: h),
        Rule(10, "{part}", lambda p: p),
        Rule(0.7, "{height} having {part}", both),
        Rule(0.4, "{height} with {part}", both),
        Rule(0.2, "{height} that has {part}", both),
        Rule(0.2, "{height} which has {part}", both),
        Rule(0.6, "{height} and {part}", both),
        Rule(0.2, "{height} and the base is {color}", lambda h, c: both(h, at_base(c))),
        Rule(0.2, "{height} and the top is {color}", lambda h, c: both(h, at_top(c))),
        Rule(0.2, "{height} and a {color} one on top", lambda h, c: both(h, at_top(c))),
        Rule(0.2, "{height} and a {color} one touching the wall", lambda h, c: both(h, at_base(c))),
        Rule(
            0.2,
            f"{{height}} not having a {block} at top",
            lambda h, b: both(h, at_top(objects_without(b))),
        ),
        Rule(0.2, f"a {block} touching the wall", at_base),
        Rule(
            0.4,
            f"a {block} touching the wall and a {block} {{on_it}}",
            lambda a, b, _: both(at_base(a), at_level(1, b)),
        ),
        Rule(0.2, "{held} in it", lambda held: held),
    ]
    return {
        "part": parts,
        "height": [*heights, Rule(1, "{single}", lambda s: s)],
        "tower": tower,
        "over": alternatives(1, "over|above|on|on top of|on|above", None),
        "under": alternatives(1, "below|bellow|beneath|under|bellow", None),
        "at_top": alternatives(1, "at the top|at the top|at the top|on top|at top", None),
        "at_base": alternatives(
            1, "at the base|at the base|at the base|at base|at the bottom", None
        ),
        "on_it": alternatives(1, "on top|on top of it|right above it", None),
        "together": alternatives(
            1, "stacked together|touching each other|attached with each other|stack together", None
        ),
        "of_level": [
            *alternatives(2, "second block from the base|second block", 1),
            *alternatives(1, "third block from the base|third block", 2),
            Rule(1, "middle block", 1),
        ],
    }


def _scattered_rules() -> list[Rule]:
    rules = [
        Rule(2, "there is {a_count} {object}", count_objects),
        Rule(3, "there are {count} {objects}", count_objects),
        Rule(11, "there is {a_count} {object} {contact}", _objects_touch),
        Rule(5, "there are {count} {objects} {contact}", _objects_touch),
        Rule(0.3, "there are {objects} {contact}", lambda o, c: _objects_touch(_ONE, o, c)),
        Rule(0.3, "there is a {object} that is {contact}", lambda o, c: _objects_touch(_ONE, o, c)),
        Rule(0.2, "there is {object} {contact}", lambda o, c: _objects_touch(_ONE, o, c)),
        Rule(0.2, "there is an item {contact}", lambda c: count_objects(_ONE, c)),
        Rule(2, "there is no {object} {contact}", lambda o, c: _objects_touch(exactly(0), o, c)),
        Rule(0.3, "there is no {object}", lambda o: count_objects(exactly(0), o)),
        Rule(
            1, "none of the {objects} are {contact}", lambda o, c: _objects_touch(exactly(0), o, c)
        ),
        Rule(0.4, "all {objects} are {contact}", every_object),
        Rule(0.3, "{count} {objects} are {contact}", _objects_touch),
        Rule(0.5, "{object} is {contact}", lambda o, c: _objects_touch(_ONE, o, c)),
        Rule(0.3, "the {object} is {contact}", lambda o, c: _objects_touch(_ONE, o, c)),
        Rule(0.5, "there is {a_count} {object} and {a_count} {object}", _two_in_image),
        Rule(0.4, "there are {count} {objects} and {a_count} {object}", _two_in_image),
        Rule(0.3, "there are {count} {objects} and {count} {objects}", _two_in_image),
        Rule(0.2, "there are {count} {objects} in {one} box", lambda c, o, _: _some(holds(c, o))),
        Rule(
            0.2, "there is a {object} and {object} in a box", lambda a, b: _some(all_colors(a, b))
        ),
        *_box_rules("contents", 1),
    ]
    for least, word in ((True, "least"), (False, "most")):
        rules.append(
            Rule(
                0.2,
                f"the {{box}} with the {word} number of {{items}} contains {{held}}",
                lambda _, __, held, least=least: extreme_box(least, held),
            )
        )
    return rules


def _box_rules(contents: str, weight: float) -> list[Rule]:
    """Statements about boxes.

    Args:
        contents: The symbol of what the boxes hold.
        weight: Factor of the weights.
    """
    with_it, held = f"{{with}} {{{contents}}}", f"{{{contents}}}"
    rules = [
        (18, f"there is {{a_count}} {{box}} {with_it}", lambda n, b, w, h: count_boxes(n, h)),
        (1, f"there is {{a_count}} {{box}} {with_it} in it", lambda n, b, w, h: count_boxes(n, h)),
        (0.5, f"there is box {with_it}", lambda w, h: _some(h)),
        (
            2.5,
            f"there are {{boxes_count}} {{boxes}} {with_it}",
            lambda n, b, w, h: count_boxes(n, h),
        ),
        (0.2, f"there are two boxes with {held} each", lambda h: count_boxes(at_least(2), h)),
        (0.7, f"there is no {{box}} {with_it}", lambda b, w, h: count_boxes(exactly(0), h)),
        (1.5, f"{{one}} of the {{box}} contains {held}", lambda n, b, h: _some(h)),
        (1, f"{{one}} of the {{box}} has {held}", lambda n, b, h: _some(h)),
        (0.4, f"at least one {{box}} contains {held}", lambda b, h: _some(h)),
        (0.4, f"{{one}} box has {held}", lambda n, h: _some(h)),
        (0.3, f"each box has {held}", lambda h: count_boxes(exactly(3), h)),
        (0.2, f"all the boxes have {held}", lambda h: count_boxes(exactly(3), h)),
        (0.2, "there is {a_count} {object} in each box", lambda n, o: _all(holds(n, o))),
        (0.2, "there is a {object} in every box", lambda o: _all(holds_any(o))),
        (0.3, "there is a {box} without a {object}", lambda b, o: _some(holds(exactly(0), o))),
        (
            0.2,
            "there are two boxes with the same number of {items}",
            lambda i: equal((1, 3), height),
        ),
        (0.1, "the boxes have the same number of {items}", lambda i: equal((3,), height)),
    ]
    return [Rule(weight * w, phrase, meaning) for w, phrase, meaning in rules]


def _tower_statement_rules() -> list[Rule]:
    block, blocks = "{colored_block}", "{colored_blocks}"
    rules = [
        Rule(20, "there is {a_count} tower {with} {tower}", lambda n, w, t: count_boxes(n, t)),
        Rule(5, "there are {boxes_count} towers {with} {tower}", lambda n, w, t: count_boxes(n, t)),
        Rule(0.8, "there is no tower {with} {tower}", lambda w, t: count_boxes(exactly(0), t)),
        Rule(2, "there is {a_count} {color} tower", lambda n, c: count_boxes(n, holds_only(c))),
        Rule(
            0.5,
            "there are {boxes_count} {color} towers",
            lambda n, c: count_boxes(n, holds_only(c)),
        ),
        Rule(
            1,
            "there is {a_count} {color} tower with {height}",
            lambda n, c, h: count_boxes(n, both(h, holds_only(c))),
        ),
        Rule(1, "{one} tower has {tower}", lambda n, t: _some(t)),
        Rule(0.7, "at least {one} tower has {tower}", lambda n, t: _some(t)),
        Rule(0.3, "one of the towers has {tower}", _some),
        Rule(0.3, "all the towers have {tower}", _all),
        Rule(0.2, "all 3 towers contain {part}", _all),
        Rule(2, "the tower with {height} has {part}", lambda h, p: _some(both(h, p))),
        Rule(0.5, "tower with {height} has {part}", lambda h, p: _some(both(h, p))),
        Rule(0.5, "one of the tower with {height} has {part}", lambda h, p: _some(both(h, p))),
        Rule(3, "there are {count} {colored_blocks}", count_objects),
        Rule(1, "there is {a_count} {colored_block}", count_objects),
        Rule(4, f"there is a {block} {{over}} a {block}", lambda a, o, b: _some(over(a, b))),
        Rule(0.4, f"there is a {block} {{over}} the {block}", lambda a, o, b: _some(over(a, b))),
        Rule(1, f"there is a {block} {{under}} a {block}", lambda a, u, b: _some(over(b, a))),
        Rule(
            1,
            f"there is {{a_count}} {block} {{over}} a {block}",
            lambda n, a, o, b: count_boxes(n, over(a, b)),
        ),
        Rule(
            0.6,
            f"there is no {block} {{over}} a {block}",
            lambda a, o, b: count_boxes(exactly(0), over(a, b)),
        ),
        Rule(0.2, f"there are two {blocks} {{together}}", lambda b, _: _some(stacked(2, b))),
        Rule(
            0.5,
            f"there is {{a_count}} {block} touching the wall",
            lambda n, b: count_boxes(n, at_base(b)),
        ),
        Rule(
            0.5,
            f"there are {{count}} {blocks} touching the wall",
            lambda n, b: count_boxes(n, at_base(b)),
        ),
        Rule(
            0.3, "the {of_level} of a tower is {color}", lambda level, c: _some(at_level(level, c))
        ),
        Rule(
            0.3,
            "there is a tower that the {of_level} is {color}",
            lambda level, c: _some(at_level(level, c)),
        ),
        Rule(
            0.2,
            "there are two towers with the same number of {blocks}",
            lambda _: equal((1, 3), height),
        ),
        Rule(0.2, "there are two towers with the same height", equal((1, 3), height)),
        Rule(
            0.2,
            "there are {two_or_three} towers with {few} {blocks} each",
            lambda n, k, _: count_boxes(at_least(n), of_height(exactly(k))),
        ),
        Rule(
            0.2,
            "the base of a tower is {color} and the top is {color}",
            lambda c, d: _some(both(at_base(c), at_top(d))),
        ),
        *_box_rules("tower", 0.15),
    ]
    for end, level in (("base", 0), ("top", -1)):
        rules += _end_rules(end, level)
    return rules


def _end_rules(end: str, level: int) -> list[Rule]:
    """Statements about the base or the top of towers."""
    is_end = _ends(end)
    block, blocks = "{colored_block}", "{colored_blocks}"

    def counted(weight: float, phrase: str, meaning) -> Rule:
        return Rule(weight, phrase.replace("END", f"the {end} of a tower"), meaning)

    return [
        counted(3, f"there is {{a_count}} {block} as END", lambda n, b: count_boxes(n, is_end(b))),
        counted(
            1.3,
            f"there are {{boxes_count}} {blocks} as END",
            lambda n, b: count_boxes(n, is_end(b)),
        ),
        counted(0.7, f"there is no {block} as END", lambda b: count_boxes(exactly(0), is_end(b))),
        counted(
            4,
            f"there is {{a_count}} {block} as END with {{height}}",
            lambda n, b, h: count_boxes(n, both(h, is_end(b))),
        ),
        counted(
            0.5,
            f"there are {{boxes_count}} {blocks} as END with {{height}}",
            lambda n, b, h: count_boxes(n, both(h, is_end(b))),
        ),
        counted(
            0.2,
            f"there is no {block} as END with {{height}}",
            lambda b, h: count_boxes(exactly(0), both(h, is_end(b))),
        ),
        counted(
            0.3, f"there is a {block} as END with {{part}}", lambda b, p: _some(both(p, is_end(b)))
        ),
        counted(0.2, "END is {color}", lambda c: _some(is_end(c))),
        Rule(
            0.4,
            f"there is a {block} as the {end} of {{boxes_count}} towers",
            lambda b, n: count_boxes(n, is_end(b)),
        ),
        Rule(
            0.2,
            f"there is a {block} as the {end} of at least one tower",
            lambda b: _some(is_end(b)),
        ),
        Rule(
            0.3,
            f"the {end} of the tower with {{height}} is {{color}}",
            lambda h, c: _some(both(h, is_end(c))),
        ),
        Rule(
            0.2,
            f"the {end} of a {{few}} blocks tower is {{color}}",
            lambda n, c: _some(both(of_height(exactly(n)), is_end(c))),
        ),
        Rule(0.2, f"all the towers have a {block} at the {end}", lambda b: _all(is_end(b))),
        Rule(
            0.4,
            f"{{one}} of the 3 towers has a {{color}} {end}",
            lambda n, c: count_boxes(exactly(1), is_end(c)),
        ),
        Rule(
            0.3,
            f"two of the three towers has a {{color}} {end}",
            lambda c: count_boxes(exactly(2), is_end(c)),
        ),
        Rule(0.3, f"two towers have the same {end} color", equal((1, 3), color_of(level))),
        Rule(
            0.2,
            f"there are two towers with the same color at the {end}",
            equal((1, 3), color_of(level)),
        ),
        Rule(
            0.2,
            f"all the 3 towers have the same color block at the {end}",
            equal((3,), color_of(level)),
        ),
        Rule(0.2, f"all the 3 towers have different {end} colors", equal((0,), color_of(level))),
    ]


def _ends(end: str):
    return at_base if end == "base" else at_top


def _some(boxes: Meaning) -> Meaning:
    return count_boxes(at_least(1), boxes)


def _all(boxes: Meaning) -> Meaning:
    return count_boxes(exactly(3), boxes)


def _many(least: int) -> Meaning:
    return of_height(at_least(least))


def _touching_objects(count: Count, objects: Meaning, contact: Meaning) -> Meaning:
    return holds(count, both(objects, contact))


def _objects_touch(count: Count, objects: Meaning, contact: Meaning) -> Meaning:
    return count_objects(count, both(objects, contact))


def _two_in_image(n: Count, one: Meaning, m: Count, other: Meaning) -> Meaning:
    return both(count_objects(n, one), count_objects(m, other))


def _two_objects(n: Count, one: Meaning, m: Count, other: Meaning) -> Meaning:
    return both(holds(n, one), holds(m, other))


def _two_counts(n: Count, one: Meaning, m: Count, other: Meaning, _: Meaning) -> Meaning:
    return _two_objects(n, one, m, other)


def _three_counts(n, one, m, other, k, third, _) -> Meaning:
    return both(holds(n, one), holds(m, other), holds(k, third))


def _and_others(count: Count, objects: Meaning, _: Meaning) -> Meaning:
    return both(holds(count, objects), holds_others(objects))


def _only_one_touching(_: int, objects: Meaning, contact: Meaning) -> Meaning:
    return both(holds(exactly(1), objects), holds_any(both(objects, contact)))


def _of_which(number: int, _: Meaning, part: int, objects: Meaning) -> Meaning:
    return both(of_height(exactly(number)), holds(exactly(part), objects))


def _of_them_touch(number: int, _: Meaning, part: int, contact: Meaning) -> Meaning:
    return both(of_height(exactly(number)), holds(at_least(part), both(any_object, contact)))


def _of_many(_: Meaning, number: int, objects: Meaning) -> Meaning:
    return both(_many(2), holds(exactly(number), objects))


def _including(number: int, _: Meaning, objects: Meaning) -> Meaning:
    return both(of_height(exactly(number)), holds_any(objects))
