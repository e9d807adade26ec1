"""Statements of NLVR (Suhr et al. 2017) about images of three boxes with colored shapes."""

import dataclasses
import pathlib
from collections.abc import Iterator
from typing import Annotated, Literal

from pydantic import AfterValidator, TypeAdapter

from lxmert_tf.data.scene import Sentence
from lxmert_tf.evaluation.nlvr import ORDERS
from pipeline.ingest.checks.annotation_fields import Id, SentenceText, parts_of, validate_items
from pipeline.ingest.files import InputFile
from pipeline.ingest.interfaces import ReadError, ReadSentence, SentenceReader
from pipeline.ingest.parsers.json_items import read_json_lines


class Nlvr(SentenceReader):
    """JSON lines of {identifier, sentence, label: "true" or "false", ...}; label may be missing.

    The statement of identifier 72-0 in dev.json is about six images, dev-72-0-0 to dev-72-0-5,
    which differ in the order of the boxes. Each of them gets the statement, with the name of the
    image as its id. (github.com/lil-lab/nlvr, nlvr/*/*.json)
    """

    name = "nlvr"

    def read(self, file: InputFile) -> Iterator[ReadSentence | ReadError]:
        split = pathlib.PurePosixPath(file.content_name.replace("\\", "/")).stem
        for item in validate_items(read_json_lines(file), _STATEMENT, "identifier"):
            if isinstance(item, ReadError):
                yield item
            else:
                yield from _sentences(split, item.value)


def _sentences(split: str, statement: "_Statement") -> Iterator[ReadSentence]:
    label = statement.label
    answers = () if label is None else ((label.capitalize(), 1.0),)
    for order in range(ORDERS):
        name = f"{split}-{statement.identifier}-{order}"
        yield ReadSentence((name,), Sentence(name, statement.sentence, "nlvr", answers=answers))


@dataclasses.dataclass(frozen=True)
class _Statement:
    identifier: Annotated[Id, AfterValidator(parts_of("presentation-position"))]
    sentence: SentenceText
    label: Literal["true", "false"] | None = None


_STATEMENT = TypeAdapter(_Statement)
