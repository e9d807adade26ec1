"""Normalization of answers as in the official evaluation of VQA v2.

The rules are those of visualqa.org/evaluation.html, including bugs of its code that change a
result, so that the scores are the official ones.
"""

import functools
import re

_MARKS = ';/[]"{}()=+\\_-><@`,?!'
_COMMA_IN_NUMBER = re.compile(r"\d,\d")
_PERIOD = re.compile(r"\.(?!\d)")
# The official code passes a flag of the regular expression (re.UNICODE, 32) as the count.
_MOST_PERIODS = 32

_ARTICLES = frozenset(("a", "an", "the"))
_WORDS = "zero one two three four five six seven eight nine ten"
_NUMBERS = {"none": "0"} | {word: str(number) for number, word in enumerate(_WORDS.split())}

# All contractions of the official table but those with a capital I (Im, Ive, Id've, I'dve), which
# never match, because answers are in lower case by then.
_CONTRACTIONS = """
    ain't aren't can't could've couldn't couldn't've didn't doesn't don't hadn't hadn't've hasn't
    haven't he'd he'd've he's how'd how'll how's isn't it'd it'd've it'll ma'am mightn't mightn't've
    might've mustn't must've needn't not've o'clock oughtn't 'ow's'at shan't she'd've should've
    shouldn't shouldn't've somebody'd've somebody'll somebody's someone'd someone'd've someone'll
    someone's something'd something'd've something'll that's there'd there'd've there're there's
    they'd they'd've they'll they're they've 'twas wasn't we'd've we've weren't what'll what're
    what's what've when's where'd where's where've who'd who'd've who'll who's who've why'll why're
    why's won't would've wouldn't wouldn't've y'all y'all'll y'all'd've you'd you'd've you'll you're
    you've
"""


def _misspellings(contraction: str) -> list[str]:
    """Return the forms without one apostrophe; those without two are not in the official table."""
    places = [i for i, character in enumerate(contraction) if character == "'"]
    return [contraction[:i] + contraction[i + 1 :] for i in places]


_REPAIRS = {form: right for right in _CONTRACTIONS.split() for form in _misspellings(right)}
# The official table has it the wrong way round.
_REPAIRS["somebody'd"] = "somebodyd"


def clean_whitespace(answer: str) -> str:
    """Replace line breaks and tabs by spaces, and strip spaces; done to every answer."""
    return answer.replace("\n", " ").replace("\t", " ").strip()


# People often give the same answers, so most of two million are found in the cache.
@functools.lru_cache(maxsize=1 << 16)
def normalize_vqa_answer(answer: str) -> str:
    """Normalize an answer as it is compared.

    In order: replace line breaks and tabs; remove punctuation, and periods unless a digit follows;
    lower the case; replace "none" and "zero" to "ten" by digits; remove articles; correct
    contractions without an apostrophe. The result may be empty (for "a" or "?").

    Example:
        >>> normalize_vqa_answer("The two cats.")
        '2 cats'
    """
    words = _without_punctuation(clean_whitespace(answer)).lower().split()
    words = [_NUMBERS.get(word, word) for word in words]
    return " ".join(_REPAIRS.get(word, word) for word in words if word not in _ARTICLES)


def _without_punctuation(answer: str) -> str:
    """Remove marks that touch a space anywhere, and replace others by spaces ("red/blue").

    If there is a comma between digits, all marks are removed ("1,000").
    """
    stripped = answer
    number = _COMMA_IN_NUMBER.search(answer)
    for mark in _MARKS:
        vanishes = number or f"{mark} " in answer or f" {mark}" in answer
        stripped = stripped.replace(mark, "" if vanishes else " ")
    return _PERIOD.sub("", stripped, count=_MOST_PERIODS)
