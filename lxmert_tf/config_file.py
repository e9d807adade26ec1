"""Configuration files: YAML or JSON read into dataclasses, refused with file, key and cure."""

import dataclasses
import difflib
import json
import re
import typing
from collections.abc import Sequence
from typing import Any, TypeVar

import pydantic
import yaml

from lxmert_tf.errors import InputError
from lxmert_tf.text_file import read_text

T = TypeVar("T")


class _Loader(yaml.SafeLoader):
    """The safe loader, with two of YAML 1.1's traps closed."""


# YAML 1.1 reads 1e-4 as a string (it wants 1.0e-4); people write it for learning rates.
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"^[-+]?[0-9]+[eE][-+]?[0-9]+$"), list("-+0123456789")
)


def _mapping_of_texts(loader: _Loader, node: yaml.MappingNode) -> dict:
    # PyYAML keeps the last of two equal keys in silence; a person who wrote two meant one of them.
    seen = set()
    for key_node, _ in node.value:
        key = loader.construct_object(key_node, deep=True)
        problem = None
        if not isinstance(key, str):
            problem = f"the key {key!r} is not a text; put it in quotes"
        elif key in seen:
            problem = f"the key {key!r} stands twice"
        if problem:
            raise yaml.constructor.ConstructorError(None, None, problem, key_node.start_mark)
        seen.add(key)
    return loader.construct_mapping(node)


_Loader.add_constructor("tag:yaml.org,2002:map", _mapping_of_texts)


def read_mapping(path) -> dict[str, Any]:
    """Reads a YAML or JSON file whose top level is a mapping.

    Raises:
        InputError: the file is missing, is not YAML, or holds something else.
    """
    text = read_text(path)
    try:
        content = yaml.load(text, _Loader)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f" line {mark.line + 1}" if mark else ""
        problem = getattr(error, "problem", None) or "cannot be read"
        raise InputError(f"{path}{line}: not valid YAML: {problem}") from error
    except (ValueError, LookupError, AttributeError) as error:
        # PyYAML takes 2020-13-45 for a date and 0b_ for a number, and then fails to make them; so
        # it does with an empty !!int, a !!bool that is none and a !!timestamp.
        raise InputError(f"{path}: not valid YAML: {error}") from error
    except RecursionError as error:
        raise InputError(f"{path}: not valid YAML: nested too deeply") from error
    if not isinstance(content, dict):
        raise InputError(f"{path}: must hold keys and values at its top level")
    return content


def load_config(cls: type[T], path, overrides: Sequence[str] = ()) -> T:
    """Reads a file into the dataclass `cls`.

    Args:
        cls: the dataclass.
        path: a YAML or JSON file.
        overrides: "KEY=VALUE" each, taken after the file; a dot in KEY steps into a mapping or
            (with a number) into a list, VALUE is YAML.

    Raises:
        InputError: naming the file, the key and, for an unknown key, the nearest valid one.
    """
    values = read_mapping(path)
    for override in overrides:
        _override(values, override)
    return config_from_mapping(cls, values, str(path))


def _override(values: dict[str, Any], override: str) -> None:
    key, equals, text = override.partition("=")
    if not key or not equals:
        raise InputError(f"--set {override}: must be KEY=VALUE")
    try:
        value = yaml.load(text, _Loader)
    except (yaml.YAMLError, ValueError) as error:
        raise InputError(f"--set {override}: the value is not valid YAML") from error
    *path, last = key.split(".")
    for part in path:
        values = _step_into(values, part, override)
    if isinstance(values, list):
        _step_into(values, last, override)
        values[int(last)] = value
    else:
        values[last] = value


def _step_into(values, part: str, override: str):
    if isinstance(values, dict):
        # A mapping that the file leaves out begins empty.
        return values.setdefault(part, {})
    if isinstance(values, list) and part.isdigit() and int(part) < len(values):
        return values[int(part)]
    raise InputError(f"--set {override}: there is no {part!r} to set a part of")


def config_from_mapping(cls: type[T], values: dict[str, Any], where: str) -> T:
    """Makes the dataclass `cls` (whose fields may be dataclasses) of plain values.

    Args:
        cls: the dataclass.
        values: what a file said.
        where: the file's name, for messages.
    """
    # As JSON, since that is the form in which a strict dataclass may be given as a mapping.
    try:
        text = json.dumps(values, default=str)
    except ValueError as error:
        raise InputError(f"{where}: a value refers to itself (YAML's & and *)") from error
    try:
        return pydantic.TypeAdapter(_forbid_unknown(cls)).validate_json(text)
    except pydantic.ValidationError as error:
        raise InputError(f"{where}: {_first_problem(cls, error)}") from error


def _forbid_unknown(cls):
    """Marks `cls` and the dataclasses in its fields: exact types, no unknown key."""
    cls.__pydantic_config__ = pydantic.ConfigDict(extra="forbid", strict=True)
    for name in typing.get_type_hints(cls):
        for nested in _dataclasses_of(cls, name):
            _forbid_unknown(nested)
    return cls


def _dataclasses_of(cls, field_name: str) -> list[type]:
    hint = typing.get_type_hints(cls)[field_name]
    candidates = [hint, *typing.get_args(hint)]
    return [c for c in candidates if dataclasses.is_dataclass(c)]


def _first_problem(cls, error: pydantic.ValidationError) -> str:
    # An unknown key first: a misspelt key also leaves the right one missing, and is the cause.
    problems = error.errors()
    problems.sort(key=lambda p: p["type"] not in ("unexpected_keyword_argument", "extra_forbidden"))
    problem = problems[0]
    path = [str(part) for part in problem["loc"]]
    key = ".".join(path)
    if problem["type"] in ("unexpected_keyword_argument", "extra_forbidden"):
        return f"unknown key {key!r}{_nearest(cls, path)}"
    if problem["type"] in ("missing", "missing_argument"):
        return f"the key {key!r} is missing"
    cause = problem.get("ctx", {}).get("error")
    if isinstance(cause, InputError):
        return f"{key}: {cause}" if key else str(cause)
    message = problem["msg"].removeprefix("Input ")
    return f"{key} is {problem['input']!r}, {message}"


def _nearest(cls, path: list[str]) -> str:
    for part in path[:-1]:
        if dataclasses.is_dataclass(cls) and part in typing.get_type_hints(cls):
            cls = next(iter(_dataclasses_of(cls, part)), None)
    if not dataclasses.is_dataclass(cls):
        return ""
    names = [field.name for field in dataclasses.fields(cls)]
    close = difflib.get_close_matches(path[-1], names, n=1, cutoff=0.5)
    if close:
        return f"; did you mean {close[0]!r}?"
    return f"; valid keys are {', '.join(names)}"
