"""NLVR2 as it is published (Suhr et al. 2019, github.com/lil-lab/nlvr)."""

import dataclasses
import re
from collections.abc import Iterator
from typing import Annotated, Literal

from pydantic import AfterValidator, TypeAdapter
from pydantic_core import PydanticCustomError

from lxmert_tf.data.scene import Sentence
from pipeline.ingest.files import InputFile
from pipeline.ingest.sources.annotation_fields import Id, SentenceText, checked
from pipeline.ingest.sources.json_line_items import read_json_lines
from pipeline.ingest.sources.source import Problem, ReadSentence, SentenceReader

_IDENTIFIER = re.compile(r"[^-]+-[^-]+-[^-]+-[^-]+")


class Nlvr2Official(SentenceReader):
    """JSON lines of {identifier, sentence, label: "True" or "False", ...}; label may be missing.

    The identifier is split-set-pair-sentence; what is before the sentence's number names the two
    images: "dev-850-0-0" is about dev-850-0-img0 (left) and dev-850-0-img1.
    """

    name = "nlvr2_official"
    images_per_scene = 2

    def read(self, file: InputFile) -> Iterator[ReadSentence | Problem]:
        for item in checked(read_json_lines(file), _STATEMENT, "identifier"):
            yield item if isinstance(item, Problem) else self._sentence(item.value)

    def _sentence(self, statement: "_Statement") -> ReadSentence:
        pair, _, _ = statement.identifier.rpartition("-")
        answers = () if statement.label is None else ((statement.label, 1.0),)
        sentence = Sentence(statement.identifier, statement.sentence, "nlvr2", answers=answers)
        return ReadSentence((f"{pair}-img0", f"{pair}-img1"), sentence)


def _four_parts(identifier: str) -> str:
    if not _IDENTIFIER.fullmatch(identifier):
        raise PydanticCustomError("field", "is not of the form split-set-pair-sentence")
    return identifier


@dataclasses.dataclass(frozen=True)
class _Statement:
    identifier: Annotated[Id, AfterValidator(_four_parts)]
    sentence: SentenceText
    label: Literal["True", "False"] | None = None


_STATEMENT = TypeAdapter(_Statement)
