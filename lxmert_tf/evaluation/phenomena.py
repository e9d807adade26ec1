"""Phenomena of NLVR's statements, such as counting and negation, found by words.

Suhr et al. (2017) labeled the phenomena of a sample by hand. This rule looks at words only, so it
covers every statement and gives the same result for everyone, but it misses misspelled words and
readings that depend on the sentence.
"""

import itertools
import re

_WORD = re.compile(r"[a-z0-9']+")
# A statement has a phenomenon if it has one of the words.
PHENOMENA = {
    "boxes": "box boxes gray grey",
    "color": "black blue color colored colors colour coloured colours yellow",
    "comparison": "bigger different equal fewer larger less more same smaller than",
    "coreference": "another it its other others their them they",
    "counting": (
        "1 2 3 4 5 6 7 8 9 10 one two three four five six seven eight nine ten "
        "atleast both exactly least many most multiple number single"
    ),
    "negation": "but cannot except neither no none not only without",
    "position": (
        "above attached base below beneath between bottom close closely corner edge first left "
        "middle near on over right second side third together top touching under wall"
    ),
}
_WORDS = {name: frozenset(words.split()) for name, words in PHENOMENA.items()}
NO_PHENOMENON = "none of these"
# Words of the shortest statement in each group of lengths but the first.
_LENGTHS = (8, 10, 12, 14)
LENGTH_GROUPS = (
    f"1 to {_LENGTHS[0] - 1} words",
    *(f"{low} to {high - 1} words" for low, high in itertools.pairwise(_LENGTHS)),
    f"{_LENGTHS[-1]} or more words",
)


def find_phenomena(statement: str) -> tuple[str, ...]:
    """Return the phenomena of a statement, in order of name; "none of these" if there are none.

    Example:
        >>> find_phenomena("There are exactly two towers without a yellow block.")
        ('color', 'counting', 'negation')
    """
    words = set(_words(statement))
    contracted = any(word.endswith("n't") for word in words)
    found = [
        name
        for name, marks in _WORDS.items()
        if words & marks or (name == "negation" and contracted)
    ]
    return tuple(found) or (NO_PHENOMENON,)


def length_group(statement: str) -> str:
    """Return the group, one of `LENGTH_GROUPS`, of a statement's number of words.

    Example:
        >>> length_group("There is a tower with four blocks")
        '1 to 7 words'
    """
    count = len(_words(statement))
    return LENGTH_GROUPS[sum(count >= length for length in _LENGTHS)]


def _words(statement: str) -> list[str]:
    return _WORD.findall(statement.lower().replace("’", "'"))
