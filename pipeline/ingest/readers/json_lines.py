"""Your own questions, statements or captions: a JSON object per line."""

import dataclasses
import pathlib
from collections.abc import Iterator
from typing import Annotated, Any

from pydantic import BeforeValidator, ConfigDict, PlainValidator, TypeAdapter
from pydantic_core import PydanticCustomError

from lxmert_tf.data.scene import Sentence
from pipeline.ingest.checks.annotation_fields import (
    FilledAnswer,
    Id,
    Score,
    SentenceText,
    TypeName,
    parse_id,
    validate_items,
)
from pipeline.ingest.files import InputFile
from pipeline.ingest.interfaces import ReadError, ReadSentence, SentenceReader
from pipeline.ingest.parsers.json_items import read_json_lines


class JsonLines(SentenceReader):
    """Objects {image, sentence, answers, id, source, question_type, answer_type}.

    `image` and `sentence` are required. `image` is the id of an image. `answers` is a string, a
    list of strings (each with score 1) or an object {string: score in 0..1}. A missing `id` is made
    from the file's name and the line, a missing `source` is the name of the format.
    Unknown keys are refused, because they may be misspelled.
    """

    name = "json_lines"
    _fields: TypeAdapter

    def read(self, file: InputFile) -> Iterator[ReadSentence | ReadError]:
        stem = file.label or pathlib.PurePosixPath(file.content_name).stem
        for item in validate_items(read_json_lines(file), self._fields, "id"):
            if isinstance(item, ReadError):
                yield item
                continue
            line: Any = item.value
            sentence = Sentence(
                id=line.id or f"{stem}-{item.number}",
                text=line.sentence,
                source=line.source or self.name,
                question_type=line.question_type,
                answer_type=line.answer_type,
                answers=tuple(line.answers.items()),
            )
            yield ReadSentence(line.images, sentence)


class JsonLinesPairs(JsonLines):
    """The same format about two images; `image` is a list of the left and the right id."""

    name = "json_lines_pairs"
    images_per_scene = 2


def _by_score(answers: Any) -> Any:
    """Expand the two short forms of answers."""
    if isinstance(answers, str):
        return {answers: 1.0}
    if isinstance(answers, list) and all(isinstance(answer, str) for answer in answers):
        return dict.fromkeys(answers, 1.0)
    if isinstance(answers, dict):
        return answers
    raise PydanticCustomError(
        "field", "must be a string, a list of strings, or an object of strings and scores"
    )


def _two_ids(image: Any) -> tuple[str, str]:
    if not isinstance(image, list) or len(image) != 2:
        raise PydanticCustomError("field", "must be a list of two ids")
    left, right = image
    return parse_id(left), parse_id(right)


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Line:
    __pydantic_config__ = ConfigDict(extra="forbid")

    sentence: SentenceText
    answers: Annotated[dict[FilledAnswer, Score], BeforeValidator(_by_score)] = dataclasses.field(
        default_factory=dict
    )
    id: Id | None = None
    source: TypeName = ""
    question_type: TypeName = ""
    answer_type: TypeName = ""


@dataclasses.dataclass(frozen=True, kw_only=True)
class _ImageLine(_Line):
    image: Id

    @property
    def images(self) -> tuple[str, ...]:
        return (self.image,)


@dataclasses.dataclass(frozen=True, kw_only=True)
class _PairLine(_Line):
    image: Annotated[tuple[str, str], PlainValidator(_two_ids)]

    @property
    def images(self) -> tuple[str, ...]:
        return self.image


JsonLines._fields = TypeAdapter(_ImageLine)
JsonLinesPairs._fields = TypeAdapter(_PairLine)
