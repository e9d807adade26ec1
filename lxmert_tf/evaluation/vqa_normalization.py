"""VQA's normalisation of answers, as its official evaluation does it before it compares.

The rules are those of the VQA v2 evaluation (visualqa.org/evaluation.html), with the accidents of
its code where they change a result: scores are to be the official ones.
"""

import functools
import re

_MARKS = ';/[]"{}()=+\\_-><@`,?!'
_COMMA_IN_NUMBER = re.compile(r"\d,\d")
_PERIOD = re.compile(r"\.(?!\d)")
# The official code gives its regular expression a flag (re.UNICODE, 32) where a count belongs.
_MOST_PERIODS = 32

_ARTICLES = frozenset(("a", "an", "the"))
_WORDS = "zero one two three four five six seven eight nine ten"
_NUMBERS = {"none": "0"} | {word: str(number) for number, word in enumerate(_WORDS.split())}

# All contractions of the official table but those with a capital I (Im, Ive, Id've, I'dve): there
# answers are lower case by then, so these are never found.
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


def _misspelt(contraction: str) -> list[str]:
    """The forms that lack one apostrophe; those that lack two are not in the official table."""
    places = [place for place, sign in enumerate(contraction) if sign == "'"]
    return [contraction[:place] + contraction[place + 1 :] for place in places]


_REPAIRS = {form: right for right in _CONTRACTIONS.split() for form in _misspelt(right)}
# Written the wrong way round in the official table.
_REPAIRS["somebody'd"] = "somebodyd"


def clean_whitespace(answer: str) -> str:
    """Line breaks and tabs to blanks, none at the ends: done to every answer."""
    return answer.replace("\n", " ").replace("\t", " ").strip()


# People give few answers, and those often: most of two million are found here.
@functools.lru_cache(maxsize=1 << 16)
def normalize_vqa_answer(answer: str) -> str:
    """An answer as it is compared: lower case, without articles, most punctuation and numerals.

    In order: line breaks and tabs to blanks; punctuation; periods, unless a digit follows; lower
    case; none and zero..ten to digits; articles; contractions written without an apostrophe.
    May be empty ("a", "?").
    """
    words = _without_punctuation(clean_whitespace(answer)).lower().split()
    words = [_NUMBERS.get(word, word) for word in words]
    return " ".join(_REPAIRS.get(word, word) for word in words if word not in _ARTICLES)


def _without_punctuation(answer: str) -> str:
    """A mark vanishes if it touches a blank anywhere, else it becomes one ("red/blue").

    Where a comma stands between digits, all marks vanish ("1,000").
    """
    stripped = answer
    number = _COMMA_IN_NUMBER.search(answer)
    for mark in _MARKS:
        vanishes = number or f"{mark} " in answer or f" {mark}" in answer
        stripped = stripped.replace(mark, "" if vanishes else " ")
    return _PERIOD.sub("", stripped, count=_MOST_PERIODS)
