"""Statements of NLVR2 (Suhr et al. 2019), as published and as in the LXMERT release."""

import dataclasses
from collections.abc import Iterator
from typing import Annotated, Literal

from pydantic import AfterValidator, TypeAdapter

from lxmert_tf.data.scene import Sentence
from pipeline.ingest.checks.annotation_fields import Id, SentenceText, parts_of, validate_items
from pipeline.ingest.files import InputFile
from pipeline.ingest.interfaces import ReadError, ReadSentence, SentenceReader
from pipeline.ingest.parsers.json_items import read_json_lines, read_list


class Nlvr2Official(SentenceReader):
    """JSON lines of {identifier, sentence, label: "True" or "False", ...}; label may be missing.

    The identifier is split-set-pair-sentence, without the last part that of the two images:
    "dev-850-0-0" is about dev-850-0-img0 (left) and dev-850-0-img1. (github.com/lil-lab/nlvr)
    """

    name = "nlvr2_official"
    images_per_scene = 2

    def read(self, file: InputFile) -> Iterator[ReadSentence | ReadError]:
        for item in validate_items(read_json_lines(file), _STATEMENT, "identifier"):
            yield item if isinstance(item, ReadError) else self._sentence(item.value)

    def _sentence(self, statement: "_Statement") -> ReadSentence:
        pair, _, _ = statement.identifier.rpartition("-")
        answers = () if statement.label is None else ((statement.label, 1.0),)
        sentence = Sentence(statement.identifier, statement.sentence, "nlvr2", answers=answers)
        return ReadSentence((f"{pair}-img0", f"{pair}-img1"), sentence)


@dataclasses.dataclass(frozen=True)
class _Statement:
    identifier: Annotated[Id, AfterValidator(parts_of("split-set-pair-sentence"))]
    sentence: SentenceText
    label: Literal["True", "False"] | None = None


_STATEMENT = TypeAdapter(_Statement)


class Nlvr2Release(SentenceReader):
    """A JSON list of {identifier, img0, img1, sent, label, uid}.

    `label` is 1 for a true statement, 0 for a false one, or missing. The id of the sentence is the
    identifier, as in the official evaluation. (github.com/airsplay/lxmert, data/nlvr2/*.json)
    """

    name = "nlvr2_release"
    images_per_scene = 2

    def read(self, file: InputFile) -> Iterator[ReadSentence | ReadError]:
        for item in validate_items(read_list(file), _RELEASE_STATEMENT, "identifier"):
            yield item if isinstance(item, ReadError) else self._sentence(item.value)

    def _sentence(self, statement: "_ReleaseStatement") -> ReadSentence:
        answers = () if statement.label is None else ((str(statement.label == 1), 1.0),)
        sentence = Sentence(statement.identifier, statement.sent, "nlvr2", answers=answers)
        return ReadSentence((statement.img0, statement.img1), sentence)


@dataclasses.dataclass(frozen=True)
class _ReleaseStatement:
    identifier: Id
    img0: Id
    img1: Id
    sent: SentenceText
    label: Literal[0, 1] | None = None


_RELEASE_STATEMENT = TypeAdapter(_ReleaseStatement)
