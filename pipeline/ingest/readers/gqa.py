"""Questions of GQA (Hudson & Manning 2019), as published and as in the LXMERT release."""

import dataclasses
from collections.abc import Iterator

from pydantic import TypeAdapter

from lxmert_tf.data.scene import Sentence
from pipeline.ingest.checks.annotation_fields import (
    FilledAnswer,
    Id,
    SentenceText,
    TypeName,
    validate_items,
)
from pipeline.ingest.files import InputFile
from pipeline.ingest.interfaces import ReadError, ReadSentence, SentenceReader
from pipeline.ingest.parsers.json_items import Item, read_object
from pipeline.ingest.readers.vqa import VqaRelease


class GqaOfficial(SentenceReader):
    """A JSON object {question id: {question, imageId, answer, types: {structural, ...}, ...}}.

    The question type is the structural type (query, verify, logical, choose, compare). The answer
    type is "open" for query and "binary" for others, as in the official evaluation. Test files
    have neither answers nor types. (cs.stanford.edu/people/dorarad/gqa)
    """

    name = "gqa_official"

    def read(self, file: InputFile) -> Iterator[ReadSentence | ReadError]:
        for item in validate_items(read_object(file), _QUESTION):
            yield item if isinstance(item, ReadError) else self._sentence(item)

    def _sentence(self, item: Item) -> ReadSentence:
        question: _Question = item.value
        structural = question.types.structural if question.types else ""
        sentence = Sentence(
            id=item.key,
            text=question.question,
            source="gqa",
            question_type=structural,
            answer_type=_answer_type(structural),
            answers=() if question.answer is None else ((question.answer, 1.0),),
        )
        return ReadSentence((question.imageId,), sentence)


def _answer_type(structural: str) -> str:
    if not structural:
        return ""
    return "open" if structural == "query" else "binary"


@dataclasses.dataclass(frozen=True)
class _Types:
    structural: TypeName


@dataclasses.dataclass(frozen=True)
class _Question:
    question: SentenceText
    imageId: Id
    answer: FilledAnswer | None = None
    types: _Types | None = None


_QUESTION = TypeAdapter(_Question)


class GqaRelease(VqaRelease):
    """The layout of `VqaRelease`, with ids of GQA. (github.com/airsplay/lxmert, data/gqa/*.json)"""

    name = "gqa_release"
    source = "gqa"
