"""NLVR2 as the LXMERT release has it."""

import dataclasses
from collections.abc import Iterator
from typing import Literal

from pydantic import TypeAdapter

from lxmert_tf.data.scene import Sentence
from pipeline.ingest.files import InputFile
from pipeline.ingest.sources.annotation_fields import Id, SentenceText, checked
from pipeline.ingest.sources.json_items import read_list
from pipeline.ingest.sources.source import Problem, ReadSentence, SentenceReader


class Nlvr2Release(SentenceReader):
    """A JSON list of {identifier, img0, img1, sent, label, uid}.

    `label` is 1 for a true statement and 0 for a false one, or missing. The sentence's id is the
    identifier, which the official evaluation asks for. (github.com/airsplay/lxmert,
    data/nlvr2/*.json)
    """

    name = "nlvr2_release"
    images_per_scene = 2

    def read(self, file: InputFile) -> Iterator[ReadSentence | Problem]:
        for item in checked(read_list(file), _STATEMENT, "identifier"):
            yield item if isinstance(item, Problem) else self._sentence(item.value)

    def _sentence(self, statement: "_Statement") -> ReadSentence:
        answers = () if statement.label is None else ((str(statement.label == 1), 1.0),)
        sentence = Sentence(statement.identifier, statement.sent, "nlvr2", answers=answers)
        return ReadSentence((statement.img0, statement.img1), sentence)


@dataclasses.dataclass(frozen=True)
class _Statement:
    identifier: Id
    img0: Id
    img1: Id
    sent: SentenceText
    label: Literal[0, 1] | None = None


_STATEMENT = TypeAdapter(_Statement)
