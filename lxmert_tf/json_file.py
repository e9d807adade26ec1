"""JSON files of other programs: parsed strictly, and checked against types."""

import json
import reprlib
from collections.abc import Iterable, Mapping
from typing import Any

import pydantic

from lxmert_tf.errors import InputError
from lxmert_tf.text_file import read_text

# Characters of a wrong value that a message shows.
_LONGEST_VALUE = 60
# The rule behind each type of pydantic's errors, whose own messages differ for JSON and Python.
_RULES = {
    "int_type": "must be an integer",
    "int_from_float": "must be an integer",
    "int_parsing": "must be an integer",
    "float_type": "must be a number",
    "float_parsing": "must be a number",
    "finite_number": "must be a finite number",
    "string_type": "must be a string",
    "string_pattern_mismatch": "must match the pattern {pattern}",
    "bool_type": "must be true or false",
    "bool_parsing": "must be true or false",
    "none_required": "must be null",
    "list_type": "must be a list",
    "tuple_type": "must be a list",
    "dict_type": "must be an object",
    "dataclass_type": "must be an object",
    "literal_error": "must be {expected}",
    "greater_than": "must be greater than {gt}",
    "greater_than_equal": "must be at least {ge}",
    "less_than": "must be less than {lt}",
    "less_than_equal": "must be at most {le}",
    "too_short": "must have a length of at least {min_length}",
    "too_long": "must have a length of at most {max_length}",
    "string_too_short": "must have a length of at least {min_length}",
}


def read_json(path) -> Any:
    """Read a JSON file.

    Raises:
        InputError: The file cannot be read, or as for `parse_json`.
    """
    text = read_text(path)
    if not text.strip():
        raise InputError(f"{path}: the file is empty")
    return parse_json(text, str(path))


def parse_json(text: str, where: str) -> Any:
    """Parse a JSON text (RFC 8259, so without NaN and Infinity).

    Args:
        text: The JSON text.
        where: The file's name (and line), for messages.

    Returns:
        Its content, as Python objects.

    Raises:
        InputError: The text is not valid JSON, an object has the same key twice (the first would
            be lost), or a string is not valid Unicode.
    """
    try:
        content = json.loads(text, object_pairs_hook=_object, parse_constant=_refuse_constant)
        if r"\ud" in text.lower():
            # Half of a surrogate pair cannot be written to a file or a terminal.
            json.dumps(content, ensure_ascii=False).encode()
    except RecursionError as error:
        raise InputError(f"{where}: not valid JSON: nested too deeply") from error
    except UnicodeEncodeError as error:
        raise InputError(f"{where}: not valid JSON: half of a surrogate pair") from error
    except ValueError as error:
        if isinstance(error, json.JSONDecodeError) and error.msg == "Extra data":
            reason = f"another value begins in line {error.lineno}, as in JSON lines"
            raise InputError(f"{where}: not valid JSON: {reason}") from error
        raise InputError(f"{where}: not valid JSON: {error}") from error
    return content


def check_json_lines(kind: Any, text: str, where: str) -> list[Any]:
    """Parse a text with a JSON value per line, and convert each value to a type.

    Args:
        kind: As for `check_json`.
        text: The text; blank lines are left out.
        where: The file's name, for messages.

    Raises:
        InputError: As for `parse_json` and `check_json`; the message names the line.
    """
    values = []
    for number, line in enumerate(text.split("\n"), start=1):
        if line.strip():
            place = f"{where} line {number}"
            values.append(check_json(kind, parse_json(line, place), place))
    return values


def check_json(kind: Any, content: Any, where: str) -> Any:
    """Convert parsed JSON to a type.

    Args:
        kind: The type, of dataclasses with strict fields. Keys that they lack are ignored.
        content: From `parse_json`.
        where: The file's name, for messages.

    Returns:
        An instance of `kind`.

    Raises:
        InputError: The content does not fit; the message names the first place.
    """
    try:
        return pydantic.TypeAdapter(kind).validate_python(content)
    except pydantic.ValidationError as error:
        raise InputError(f"{where}: {describe_mismatch(error.errors()[0])}") from error


def describe_mismatch(problem: Mapping[str, Any]) -> str:
    """Describe one of the `errors()` of a pydantic.ValidationError in one line."""
    path, rule = problem["loc"], describe_rule(problem)
    if problem["type"] in ("missing", "missing_argument"):
        if not path or isinstance(path[-1], str):
            return f"the key {format_place(path)!r} is missing"
        *path, last = path
        rule = f"must have a length of at least {last + 1}"
    place = format_place(path)
    cause = problem.get("ctx", {}).get("error")
    if isinstance(cause, InputError):
        return f"{place}: {cause}" if place else str(cause)
    found = reprlib.repr(problem["input"])
    found = found if len(found) <= _LONGEST_VALUE else f"{found[:_LONGEST_VALUE]}..."
    return f"{place} is {found}; it {rule}" if place else f"{found} {rule}"


def describe_rule(problem: Mapping[str, Any]) -> str:
    """Return the rule that a value breaks, such as "must be at least 1".

    Args:
        problem: One of the `errors()` of a pydantic.ValidationError.
    """
    rule = _RULES.get(problem["type"])
    if rule is None:
        return problem["msg"].removeprefix("Input ")
    values = problem.get("ctx", {})
    # A bound of a float field may be given as an integer, and comes back as 1.0.
    whole = {k: int(v) for k, v in values.items() if isinstance(v, float) and v.is_integer()}
    return rule.format(**{**values, **whole})


def format_place(path: Iterable[str | int]) -> str:
    """Format keys and indices as a reader would write them, such as "stages[0].epochs"."""
    # pydantic marks a wrong key of a dict with "[key]" behind it.
    names = [part for part in path if part != "[key]"]
    parts = (f"[{part}]" if isinstance(part, int) else f".{part}" for part in names)
    return "".join(parts).removeprefix(".")


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) < len(pairs):
        seen: set[str] = set()
        duplicates = []
        for key, _ in pairs:
            if key in seen:
                duplicates.append(key)
            seen.add(key)
        more = f" and {len(duplicates) - 1} more" if len(duplicates) > 1 else ""
        raise ValueError(f"duplicate key {duplicates[0]!r}{more} in one object")
    return made


def _refuse_constant(name: str):
    raise ValueError(f"{name} is not a JSON number")
