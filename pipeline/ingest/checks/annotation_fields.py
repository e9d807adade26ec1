"""What the fields of annotations must be, for pydantic, and what is wrong with one in words.

Sentences are kept as they are: the tokenizer drops the control characters that some hold. Ids and
answers may have none, as they go into files with one a line. Sentences with an id that was there
before are not found here, where each is seen alone.
"""

import re
from collections.abc import Iterable, Iterator
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

from pipeline.ingest.interfaces import ReadError
from pipeline.ingest.parsers.json_items import DoubledKey, Item

_NOT_UNICODE = "is not Unicode: bytes that are not UTF-8, or half of a surrogate pair"
_SURROGATE = re.compile("[\ud800-\udfff]")
_CONTROL = re.compile("[\0-\x1f\x7f-\x9f\u2028\u2029]")
# Characters of a broken item's id that are told.
_ID_SHOWN = 100


def parse_id(value: Any) -> str:
    """An id, which files give as a text or a whole number.

    Raises:
        PydanticCustomError: it is neither, empty, or holds what an id may not.
    """
    if type(value) is int:
        return str(value)
    if not isinstance(value, str):
        raise _fault("should be a text or a whole number")
    return _filled(check_line(value))


def check_line(text: str) -> str:
    """A text that may stand in a file with one a line.

    Raises:
        PydanticCustomError: it is not Unicode, or has a control character in it.
    """
    if text.isprintable():
        return text
    if _SURROGATE.search(text):
        raise _fault(_NOT_UNICODE)
    if _CONTROL.search(text):
        raise _fault("has a control character in it")
    return text


def _fault(reason: str) -> PydanticCustomError:
    return PydanticCustomError("field", reason)


def _filled(text: str) -> str:
    if not text:
        raise _fault("is empty")
    return text


def _said(text: str) -> str:
    if not text.strip():
        raise _fault("is empty")
    if _SURROGATE.search(text):
        raise _fault(_NOT_UNICODE)
    if "\0" in text:
        raise _fault("has a NUL character in it")
    return text


Id = Annotated[str, PlainValidator(parse_id)]
# What somebody says: a caption, a question, a statement.
SentenceText = Annotated[StrictStr, AfterValidator(_said)]
# An answer may be empty: VQA's are, where nothing is left by normalisation.
Answer = Annotated[StrictStr, AfterValidator(check_line)]
FilledAnswer = Annotated[Answer, AfterValidator(_filled)]
# A type of question or answer.
TypeName = Annotated[StrictStr, AfterValidator(check_line)]
Score = Annotated[float, Field(strict=True, ge=0, le=1, allow_inf_nan=False)]
SoftLabel = dict[Answer, Score]


def checked(
    items: Iterable[Item | ReadError], fields: TypeAdapter, id_key: str | None = None
) -> Iterator[Item | ReadError]:
    """The items with what `fields` makes of their values; those that it refuses are a `ReadError`.

    Args:
        items: as they are read; a `ReadError` stays.
        fields: what a value must be.
        id_key: under which the values have their id; None if the items' keys are the ids.
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
            yield ReadError(item.number, _shown_id(item, id_key), reason_of(error))
        except PydanticCustomError as error:
            yield ReadError(item.number, _shown_id(item, id_key), f"id {error.message()}")
        else:
            yield Item(item.number, item.key, value)


def reason_of(error: ValidationError) -> str:
    """What is wrong, by its first fault: the field and the rule, without what the item holds."""
    fault = error.errors(include_url=False)[0]
    field = str(fault["loc"][0]) if fault["loc"] else "the item"
    if isinstance(fault["input"], DoubledKey):
        return f"{field} has a key twice"
    match fault["type"]:
        case "missing" if len(fault["loc"]) == 1:
            return f"{field} is missing"
        case "missing":
            return f"{field} lacks a part"
        case "unexpected_keyword_argument":
            return "a key that the format does not have"
        case "string_type":
            return f"{field} should be a text"
        case "dict_type" | "dataclass_type":
            return f"{field} should be an object"
    return f"{field} {fault['msg'].removeprefix('Input ')}"


def _shown_id(item: Item, id_key: str | None) -> str:
    value = item.key
    if id_key is not None:
        value = item.value.get(id_key) if isinstance(item.value, dict) else None
    if type(value) not in (int, str):
        return ""
    return str(value)[:_ID_SHOWN].encode("utf-8", "backslashreplace").decode()
