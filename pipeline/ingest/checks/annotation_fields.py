"""Field types of annotations for pydantic, and the description of an invalid field.

The text of a sentence may hold control characters, because the tokenizer drops them. Ids and
answers may not, because they go into files with one per line. Each item is checked alone, so
repeated ids are not found here.
"""

import re
from collections.abc import Callable, Iterable, Iterator
from typing import Annotated, Any

from pydantic import (
    AfterValidator,
    Field,
    PlainValidator,
    StrictStr,
    TypeAdapter,
    ValidationError,
)
from pydantic_core import PydanticCustomError

from lxmert_tf.json_file import describe_rule
from pipeline.ingest.interfaces import ReadError
from pipeline.ingest.parsers.json_items import DuplicateKey, Item

_NOT_UNICODE = "is not Unicode: bytes that are not UTF-8, or half of a surrogate pair"
_SURROGATE = re.compile("[\ud800-\udfff]")
_CONTROL = re.compile("[\0-\x1f\x7f-\x9f\u2028\u2029]")
# Characters of an invalid item's id that are reported.
_MAX_ID_LENGTH = 100


def parse_id(value: Any) -> str:
    """Return an id, which files give as a string or an integer.

    Raises:
        PydanticCustomError: The value has another type, is empty, or has an invalid character.
    """
    if type(value) is int:
        return str(value)
    if not isinstance(value, str):
        raise _field_error("must be a string or an integer")
    return _check_filled(check_line(value))


def check_line(text: str) -> str:
    """Return a text that can be written into a file with one per line.

    Raises:
        PydanticCustomError: The text is not valid Unicode, or has a control character.
    """
    if text.isprintable():
        return text
    if _SURROGATE.search(text):
        raise _field_error(_NOT_UNICODE)
    if _CONTROL.search(text):
        raise _field_error("has a control character in it")
    return text


def _check_filled(text: str) -> str:
    if not text:
        raise _field_error("is empty")
    return text


def _check_sentence(text: str) -> str:
    _check_filled(text.strip())
    if _SURROGATE.search(text):
        raise _field_error(_NOT_UNICODE)
    if "\0" in text:
        raise _field_error("has a NUL character in it")
    return text


def _field_error(reason: str) -> PydanticCustomError:
    return PydanticCustomError("field", reason)


def parts_of(form: str) -> Callable[[str], str]:
    """Return the check of an id whose parts have hyphens between them.

    Args:
        form: The names of the parts, such as "presentation-position".
    """
    count = len(form.split("-"))

    def check(value: str) -> str:
        parts = value.split("-")
        if len(parts) != count or not all(parts):
            raise _field_error(f"is not of the form {form}")
        return value

    return check


Id = Annotated[str, PlainValidator(parse_id)]
# A caption, a question or a statement.
SentenceText = Annotated[StrictStr, AfterValidator(_check_sentence)]
# An answer may be empty: VQA's are, if normalization leaves nothing.
Answer = Annotated[StrictStr, AfterValidator(check_line)]
FilledAnswer = Annotated[Answer, AfterValidator(_check_filled)]
# A type of question or answer.
TypeName = Annotated[StrictStr, AfterValidator(check_line)]
Score = Annotated[float, Field(strict=True, ge=0, le=1, allow_inf_nan=False)]
SoftLabel = dict[Answer, Score]


def validate_items(
    items: Iterable[Item | ReadError], fields: TypeAdapter, id_key: str | None = None
) -> Iterator[Item | ReadError]:
    """Yield items with validated values, and a `ReadError` for each invalid one.

    Args:
        items: Items of a JSON file; a `ReadError` is passed on.
        fields: The type of a value.
        id_key: The key of a value's id; None if the items' keys are the ids.
    """
    for item in items:
        if isinstance(item, ReadError):
            yield item
            continue
        try:
            value = fields.validate_python(item.value)
            if id_key is None:
                parse_id(item.key)
        except ValidationError as error:
            yield ReadError(item.number, _reported_id(item, id_key), reason_of(error))
        except PydanticCustomError as error:
            yield ReadError(item.number, _reported_id(item, id_key), f"id {error.message()}")
        else:
            yield Item(item.number, item.key, value)


def reason_of(error: ValidationError) -> str:
    """Return the first invalid field and the rule that it breaks, without its value."""
    problem = error.errors(include_url=False)[0]
    path = problem["loc"]
    field = str(path[0]) if path else "the item"
    if isinstance(problem["input"], DuplicateKey):
        return f"{field} has a key twice"
    match problem["type"]:
        case "missing" if len(path) == 1:
            return f"{field} is missing"
        case "missing":
            return f"{field} lacks a part"
        case "unexpected_keyword_argument":
            return "a key that the format does not have"
    # pydantic marks a wrong key, such as an answer of a label, with "[key]".
    is_inside = len(path) > 1 and path[-1] != "[key]"
    return f"{'a value of ' if is_inside else ''}{field} {describe_rule(problem)}"


def _reported_id(item: Item, id_key: str | None) -> str:
    value: Any = item.key
    if id_key is not None:
        value = item.value.get(id_key) if isinstance(item.value, dict) else None
    if type(value) not in (int, str):
        return ""
    return str(value)[:_MAX_ID_LENGTH].encode("utf-8", "backslashreplace").decode()
