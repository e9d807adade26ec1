"""JSON from other people's files: read strictly, and checked against the types that we need."""

import json
import reprlib
from typing import Any

import pydantic

from lxmert_tf.errors import InputError
from lxmert_tf.text_file import read_text

# Characters of a wrong value that a message shows.
_LONGEST = 60


def read_json(path) -> Any:
    """What a JSON file holds; errors as `parse_json`, or if it cannot be read."""
    return parse_json(read_text(path), str(path))


def parse_json(text: str, where: str) -> Any:
    """What a JSON text holds.

    Args:
        text: JSON as RFC 8259 has it, so without NaN and Infinity.
        where: the file's name (and line), for messages.

    Raises:
        InputError: it is not JSON, a key stands twice in an object (the first would be lost), or
            a text in it is not Unicode.
    """
    try:
        content = json.loads(text, object_pairs_hook=_object, parse_constant=_refuse_constant)
        if r"\ud" in text.lower():
            # Half of a surrogate pair, which no file and no terminal can take.
            json.dumps(content, ensure_ascii=False).encode()
    except RecursionError as error:
        raise InputError(f"{where}: not valid JSON: nested too deeply") from error
    except UnicodeEncodeError as error:
        raise InputError(f"{where}: not valid JSON: half a surrogate pair in it") from error
    except ValueError as error:
        raise InputError(f"{where}: not valid JSON: {error}") from error
    return content


def check_json(kind: Any, content: Any, where: str) -> Any:
    """Makes `kind` (of dataclasses with strict fields) of what JSON held; more keys are ignored.

    Raises:
        InputError: naming the first place that does not fit.
    """
    try:
        return pydantic.TypeAdapter(kind).validate_python(content)
    except pydantic.ValidationError as error:
        raise InputError(f"{where}: {_first_problem(error)}") from error


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) < len(pairs):
        seen: set[str] = set()
        doubled = [key for key, _ in pairs if key in seen or seen.add(key)]
        raise ValueError(
            f"{len(doubled)} keys of an object stand twice, the first is {doubled[0]!r}"
        )
    return made


def _refuse_constant(name: str):
    raise ValueError(f"{name} is not a number of JSON")


def _first_problem(error: pydantic.ValidationError) -> str:
    problem = error.errors()[0]
    place = "".join(f"[{p}]" if isinstance(p, int) else f".{p}" for p in problem["loc"])
    place = place.removeprefix(".")
    if problem["type"] == "missing":
        return f"the key {place!r} is missing"
    expected = problem["msg"].removeprefix("Input ").removeprefix("List ")
    if problem["type"] == "dataclass_type":
        expected = "should be an object"
    found = reprlib.repr(problem["input"])
    found = found if len(found) <= _LONGEST else f"{found[:_LONGEST]}..."
    return f"{place or 'it'} is {found}, {expected}"
