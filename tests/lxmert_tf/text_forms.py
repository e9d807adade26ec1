"""One text in all the forms in which people save it."""

import itertools

ENCODINGS = {
    "utf-8": lambda text: text.encode(),
    "utf-8 with mark": lambda text: text.encode("utf-8-sig"),
    "utf-16-le": lambda text: b"\xff\xfe" + text.encode("utf-16-le"),
    "utf-16-be": lambda text: b"\xfe\xff" + text.encode("utf-16-be"),
}
LINE_ENDS = ("\n", "\r\n", "\r\r\n", "\r")
# (name of an encoding, line end).
FORMS = list(itertools.product(ENCODINGS, LINE_ENDS))


def saved(text: str, form: tuple[str, str]) -> bytes:
    """The bytes of a text whose lines end with LF."""
    encoding, line_end = form
    return ENCODINGS[encoding](text.replace("\n", line_end))
