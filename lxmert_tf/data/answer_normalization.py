"""One spelling for answers that mean the same, so that they are found in a table."""

_ARTICLES = ("a ", "an ", "the ")
_NUMBERS = ("one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
_SAME = {word: str(number) for number, word in enumerate(_NUMBERS, start=1)} | {"grey": "gray"}


def normalize_answer(text: str) -> str:
    """The spelling under which the release looks an answer up in its table of 9500.

    Lower case; a full stop at the end and articles at the start off; an answer that is a number
    word from one to ten becomes digits, and grey gray. Words inside an answer stay as they are.
    """
    text = text.lower()
    if text.endswith("."):
        text = text[:-1].strip()
    for article in _ARTICLES:
        if text.startswith(article):
            text = text.removeprefix(article).strip()
    return _SAME.get(text, text)
