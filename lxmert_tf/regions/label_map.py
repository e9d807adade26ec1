"""Label maps of the TensorFlow Object Detection API: the names of a model's classes."""

import os
import pathlib
import re

from lxmert_tf.errors import InputError

BACKGROUND = "background"
_LARGEST_ID = 1_000_000
_ID = re.compile(r"\d{1,7}")
# More than those of any data set. The patterns take time in proportion to the length: none can fail
# at the end of a long text and begin anew at its next character.
_LARGEST_FILE = 1 << 20
_STRING = r"""(?:"(?:[^"\\]|\\[\s\S])*(?:"|\\?\Z)|'(?:[^'\\]|\\[\s\S])*(?:'|\\?\Z))"""
_COMMENT = re.compile(rf"({_STRING})|\#[^\n]*")
_ITEM = re.compile(rf"item\s*(?::\s*)?\{{((?:{_STRING}|\{{[^{{}}]*\}}|[^{{}}\"'])*)\}}")
_NESTED = re.compile(rf"({_STRING})|\{{[^{{}}]*\}}")
_FIELD = re.compile(rf"(?<!\w)(\w+)\s*:\s*({_STRING}|[^\s,;]+)")


def read_label_map(path: str) -> tuple[str, ...]:
    """Read a label map of the Object Detection API.

    Args:
        path: A text file of `item { id: 1 name: "/m/01g317" display_name: "person" }`.

    Returns:
        The names by id, `display_name` if there is one; "background" at 0, "" where ids are unused.

    Raises:
        InputError: The file cannot be read or is not a label map.
    """
    try:
        if os.path.getsize(path) > _LARGEST_FILE:
            raise InputError(f"{path}: refused: a label map of more than {_LARGEST_FILE >> 20} MB")
        text = pathlib.Path(path).read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(
            f"{path}: {getattr(error, 'strerror', None) or 'not a text file'}"
        ) from error
    names: dict[int, str] = {}
    for item in _ITEM.finditer(_COMMENT.sub(r"\1", text)):
        fields = dict(_FIELD.findall(_NESTED.sub(r"\1", item[1])))
        name = fields.get("display_name") or fields.get("name")
        number = fields.get("id", "")
        if not name or not _ID.fullmatch(number) or not 0 < int(number) <= _LARGEST_ID:
            shown = " ".join(item[0].split())[:80]
            shown = shown if shown.isprintable() else repr(shown)
            raise InputError(f"{path}: {shown} must have an id and a name")
        if int(number) in names:
            raise InputError(f"{path}: duplicate id {number}")
        names[int(number)] = _unquote(name)
    if not names:
        raise InputError(f'{path}: not a label map; it has no item {{ id: 1 name: "..." }}')
    names[0] = BACKGROUND
    return tuple(names.get(i, "") for i in range(max(names) + 1))


def _unquote(text: str) -> str:
    """Return a string of a protocol buffer in text form without its quotes and escapes."""
    data = (text[1:-1] if text[0] in "\"'" else text).encode()
    data = re.sub(rb"\\([0-3][0-7]{2})", lambda match: bytes([int(match[1], 8)]), data)
    return re.sub(rb"\\(.)", rb"\1", data).decode(errors="replace")
