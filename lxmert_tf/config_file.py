"""Configuration files: YAML or JSON read into dataclasses, with errors that name file and key."""

import dataclasses
import difflib
import itertools
import json
import re
import reprlib
import typing
from collections.abc import Iterator, Sequence
from typing import Any, TypeVar

import pydantic
import yaml
from pydantic_core import ErrorDetails

from lxmert_tf.errors import InputError
from lxmert_tf.json_file import describe_mismatch, format_place
from lxmert_tf.text_file import read_text

T = TypeVar("T")

# What pydantic calls an unknown key of a dataclass and of a model.
_UNKNOWN_KEY = ("unexpected_keyword_argument", "extra_forbidden")
# The members of a container in the place of a key.
_MEMBERS = {dict: ".NAME", list: "[N]", tuple: "[N]"}
# The tag of the key `<<`.
_MERGE = "tag:yaml.org,2002:merge"
# What PyYAML says about a tab where a line begins.
_TAB = "found character '\\t' that cannot start any token"
# Values of a file and the characters in them, with what aliases (*) repeat. The largest published
# config.json, which names 9,500 answers twice, has 38,000 and 400,000.
_MOST_VALUES, _MOST_CHARACTERS = 100_000, 4_000_000
_LONGEST_NUMBER = 1000
# What PyYAML's conversions raise besides its own errors. It takes 2020-13-45 for a date, 0b_ for a
# number, and 1:1:1.5 with hundreds of colons for one of base 60, then fails to convert them. The
# same goes for an empty !!int, a wrong !!bool and a wrong !!timestamp.
_CONVERSION_ERRORS = (ValueError, LookupError, AttributeError, TypeError, ArithmeticError)


class _Loader(yaml.SafeLoader):
    """PyYAML's safe loader without two traps of YAML 1.1, and with bounds.

    A few lines of aliases of aliases stand for more values than any memory holds. PyYAML itself
    keeps each once, but whatever walks through them meets all.
    """

    def __init__(self, stream: str):
        super().__init__(stream)
        self._count = 0

    def compose_node(self, parent, index):
        """Compose a value; an alias gives the value that it repeats."""
        self._count += 1
        if self._count > _MOST_VALUES:
            raise yaml.composer.ComposerError(None, None, _TOO_MANY, self.peek_event().start_mark)
        return super().compose_node(parent, index)

    def get_single_data(self):
        """Return the only document, after a check of what its aliases expand to."""
        node = self.get_single_node()
        if node is None:
            return None
        values, characters = _expanded_size(node, {})
        if values > _MOST_VALUES or characters > _MOST_CHARACTERS:
            raise yaml.composer.ComposerError(None, None, _TOO_MANY, node.start_mark)
        return self.construct_document(node)


_TOO_MANY = (
    f"more than {_MOST_VALUES:,} values or {_MOST_CHARACTERS:,} characters, counting what aliases "
    "(*) repeat"
)


def _expanded_size(node: yaml.Node, known: dict[int, tuple[int, int]]) -> tuple[int, int]:
    """Return the numbers of values and characters in a value, with what aliases repeat."""
    if isinstance(node, yaml.ScalarNode):
        return 1, len(node.value)
    if id(node) not in known:
        # A value within itself is refused elsewhere.
        known[id(node)] = 1, 0
        is_mapping = isinstance(node, yaml.MappingNode)
        parts = itertools.chain.from_iterable(node.value) if is_mapping else node.value
        sizes = [_expanded_size(part, known) for part in parts]
        known[id(node)] = 1 + sum(n for n, _ in sizes), sum(n for _, n in sizes)
    return known[id(node)]


# YAML 1.1 reads 1e-4 as a string (it wants 1.0e-4); people write it for learning rates.
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"^[-+]?[0-9]+[eE][-+]?[0-9]+$"), list("-+0123456789")
)


def _mapping_with_unique_string_keys(loader: _Loader, node: yaml.MappingNode) -> dict:
    # PyYAML silently keeps the last of two equal keys, and reads the key `no` as False.
    seen = set()
    for key_node, _ in node.value:
        if key_node.tag == _MERGE:
            # A mapping whose keys are added, unless they are given here.
            continue
        key = loader.construct_object(key_node, deep=True)
        problem = None
        if not isinstance(key, str):
            problem = f"the key {reprlib.repr(key)} is not a string; put it in quotes"
        elif key in seen:
            problem = f"duplicate key {reprlib.repr(key)}"
        if problem:
            raise yaml.constructor.ConstructorError(None, None, problem, key_node.start_mark)
        seen.add(key)
    return loader.construct_mapping(node)


def _short_number(loader: _Loader, node: yaml.ScalarNode) -> int | float:
    # PyYAML takes hours for a number of base 60 (1:30:00) with 400,000 colons.
    if len(node.value) > _LONGEST_NUMBER:
        problem = f"a number of more than {_LONGEST_NUMBER} characters"
        raise yaml.constructor.ConstructorError(None, None, problem, node.start_mark)
    is_float = node.tag.endswith("float")
    return loader.construct_yaml_float(node) if is_float else loader.construct_yaml_int(node)


_Loader.add_constructor("tag:yaml.org,2002:map", _mapping_with_unique_string_keys)
_Loader.add_constructor("tag:yaml.org,2002:int", _short_number)
_Loader.add_constructor("tag:yaml.org,2002:float", _short_number)


def read_mapping(path) -> dict[str, Any]:
    """Read a YAML or JSON file whose top level is a mapping.

    Raises:
        InputError: The file is missing, is not valid YAML, or holds something else.
    """
    text = read_text(path)
    if len(text) > _MOST_CHARACTERS:
        raise InputError(f"{path}: refused: more than {_MOST_CHARACTERS:,} characters")
    try:
        content = yaml.load(text, _Loader)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f" line {mark.line + 1}" if mark else ""
        problem = getattr(error, "problem", None) or "cannot be read"
        if problem == _TAB:
            problem = "a line is indented with a tab; use spaces"
        raise InputError(f"{path}{line}: not valid YAML: {problem}") from error
    except _CONVERSION_ERRORS as error:
        raise InputError(f"{path}: not valid YAML: {error}") from error
    except RecursionError as error:
        raise InputError(f"{path}: not valid YAML: nested too deeply") from error
    if content is None:
        raise InputError(f"{path}: the file is empty; it must hold a mapping of keys to values")
    if not isinstance(content, dict):
        raise InputError(f"{path}: must hold a mapping of keys to values")
    return content


def load_config(cls: type[T], path, overrides: Sequence[str] = (), prefix: str = "") -> T:
    """Read a YAML or JSON file into a dataclass.

    Args:
        cls: The dataclass; its fields may be dataclasses, and lists or dicts of them.
        path: The file.
        overrides: Changes to the file's values, "KEY=VALUE" each. A dot in KEY steps into a mapping
            or (with an index) into a list; VALUE is YAML.
        prefix: What every KEY begins with, before the key in this file.

    Returns:
        An instance of `cls`.

    Raises:
        InputError: The message names the file and the key, and for an unknown key the most similar
            valid one.

    Example:
        >>> load_config(FinetuningConfig, "configs/task/vqa.yaml", ["batch_size=16"])
    """
    values = read_mapping(path)
    for override in overrides:
        _override(values, override, prefix)
    return config_from_mapping(cls, values, str(path), overrides, prefix)


def config_from_mapping(
    cls: type[T],
    values: dict[str, Any],
    where: str,
    overrides: Sequence[str] = (),
    prefix: str = "",
) -> T:
    """Convert plain values to a dataclass, with exact types and without unknown keys.

    Args:
        cls: The dataclass, as for `load_config`.
        values: The content of a file.
        where: The file's name, for messages.
        overrides: Changes that `values` include; messages name the one that is wrong.
        prefix: As for `load_config`.

    Returns:
        An instance of `cls`.

    Raises:
        InputError: As for `load_config`.
    """
    # Through JSON, because a strict dataclass accepts a mapping in JSON only.
    try:
        text = json.dumps(values, default=str)
    except ValueError as error:
        raise InputError(f"{where}: a value contains itself (YAML's & and *)") from error
    try:
        return pydantic.TypeAdapter(cls).validate_json(text, strict=True, extra="forbid")
    except pydantic.ValidationError as error:
        problem = _first_problem(error)
        where = _place_of_cause(problem, where, overrides, prefix)
        raise InputError(f"{where}: {_describe(cls, problem)}") from error


def _place_of_cause(
    problem: ErrorDetails, where: str, overrides: Sequence[str], prefix: str
) -> str:
    """Return the source of the invalid value: an override, the file, or the file with overrides."""
    place = [str(part) for part in problem["loc"]]
    keys = {
        override: override.partition("=")[0].removeprefix(prefix).split(".")
        for override in overrides
    }
    changed = [f"--set {change}" for change, key in keys.items() if key[: len(place)] == place]
    if changed and problem["type"] == "value_error":
        # A rule about several values, some of which may be the file's.
        return " ".join([where, "with", *changed])
    changed += [f"--set {change}" for change, key in keys.items() if place[: len(key)] == key]
    return changed[-1] if changed else where


def _override(values: dict[str, Any], override: str, prefix: str) -> None:
    key, equals, text = override.partition("=")
    key = key.removeprefix(prefix)
    if not key or not equals:
        raise InputError(f"--set {override}: must be KEY=VALUE")
    try:
        value = yaml.load(text, _Loader)
    except (yaml.YAMLError, *_CONVERSION_ERRORS, RecursionError) as error:
        raise InputError(f"--set {override:.200}: the value is not valid YAML") from error
    *path, last = key.split(".")
    for part in path:
        values = _step_into(values, part, override)
    _step_into(values, last, override)
    values[int(last) if isinstance(values, list) else last] = value


def _step_into(values, part: str, override: str):
    if isinstance(values, dict):
        # A mapping that the file leaves out starts empty.
        return values.setdefault(part, {})
    if isinstance(values, list) and part.isdigit() and int(part) < len(values):
        return values[int(part)]
    raise InputError(f"--set {override}: there is no {part!r} to change")


def _first_problem(error: pydantic.ValidationError) -> ErrorDetails:
    problems = error.errors()
    # A misspelled key also leaves the right one missing, so it is the cause of both problems.
    unknown = (problem for problem in problems if problem["type"] in _UNKNOWN_KEY)
    return next(unknown, problems[0])


def _describe(cls, problem: ErrorDetails) -> str:
    if problem["type"] in _UNKNOWN_KEY:
        path = problem["loc"]
        return f"unknown key {format_place(path)!r}{_suggestion(cls, path)}"
    return describe_mismatch(problem)


def _suggestion(cls, path: tuple[str | int, ...]) -> str:
    root, key = cls, str(path[-1])
    for part in path[:-1]:
        # An index, or a key of a dict, leaves the class as it is.
        if dataclasses.is_dataclass(cls) and part in typing.get_type_hints(cls):
            cls, _ = _dataclass_in(typing.get_type_hints(cls)[part])
    if not dataclasses.is_dataclass(cls):
        return ""
    if places := sorted(set(_places_of(root, key))):
        shown = (place if "." in place else "the top level" for place in places)
        return f"; it belongs to {' or '.join(shown)}"
    names = _keys_of(cls)
    close = difflib.get_close_matches(key, names, n=1, cutoff=0.5)
    if close:
        return f"; did you mean {close[0]!r}?"
    return f"; it must be one of {', '.join(names)}"


def _places_of(cls, key: str, place: str = "") -> Iterator[str]:
    """Yield the places of a key in the files of a dataclass, such as "parts.NAME.regions"."""
    for name, hint in typing.get_type_hints(cls).items():
        here = f"{place}{name.removesuffix('_')}"
        if name.removesuffix("_") == key:
            yield here
        inner, container = _dataclass_in(hint)
        if inner is not None:
            yield from _places_of(inner, key, f"{here}{_MEMBERS.get(container, '')}.")


def _dataclass_in(hint) -> tuple[Any, Any]:
    """Return the dataclass that a field holds, or None, and the container that it is in."""
    if dataclasses.is_dataclass(hint):
        return hint, None
    inner = next(filter(dataclasses.is_dataclass, typing.get_args(hint)), None)
    return inner, typing.get_origin(hint)


def _keys_of(cls) -> list[str]:
    # The field of a key that is a Python keyword ends with an underscore: `from_`.
    return [field.name.removesuffix("_") for field in dataclasses.fields(cls)]


def check_fields(config) -> None:
    """Check a dataclass against the types and bounds in its annotations.

    `config_from_mapping` does so for files; this is for dataclasses that are made in Python.

    Args:
        config: An instance of a dataclass.

    Raises:
        InputError: A value is invalid; the message names the field and the value.
    """
    for name, kind in typing.get_type_hints(type(config), include_extras=True).items():
        try:
            pydantic.TypeAdapter(kind).validate_python(getattr(config, name))
        except pydantic.ValidationError as error:
            problem = error.errors()[0]
            place = (name.removesuffix("_"), *problem["loc"])
            raise InputError(describe_mismatch({**problem, "loc": place})) from error
