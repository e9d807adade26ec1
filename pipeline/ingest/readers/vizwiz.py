"""Questions of VizWiz (Gurari et al. 2018), which blind people asked about their photos."""

import dataclasses
import pathlib
from collections.abc import Iterator
from typing import Any

from pydantic import TypeAdapter

from lxmert_tf.data.scene import Sentence
from pipeline.ingest.checks.annotation_fields import Id, SentenceText, TypeName, validate_items
from pipeline.ingest.files import InputFile
from pipeline.ingest.interfaces import ReadError, ReadSentence, SentenceReader
from pipeline.ingest.parsers.json_items import read_list
from pipeline.ingest.readers.vqa import TenAnswers


class VizWiz(SentenceReader):
    """A JSON list of {image, question, answers: [{answer, ...}], answer_type, answerable}.

    The id of an image is the name of its file without its extension, and as an image has one
    question, it is also the id of the question. The ten answers become a soft label as those of VQA
    v2 do. Test files have no answers. (vizwiz.org)
    """

    name = "vizwiz"

    def read(self, file: InputFile) -> Iterator[ReadSentence | ReadError]:
        for item in validate_items(read_list(file), _QUESTION, "image"):
            yield item if isinstance(item, ReadError) else self._sentence(item.value)

    def _sentence(self, question: "_Question") -> ReadSentence:
        answers: Any = question.answers  # made tuples by its type
        image_id = pathlib.PurePosixPath(question.image).stem
        sentence = Sentence(
            id=image_id,
            text=question.question,
            source=self.name,
            answer_type=question.answer_type,
            answers=tuple(answers),
        )
        return ReadSentence((image_id,), sentence)


@dataclasses.dataclass(frozen=True)
class _Question:
    image: Id
    question: SentenceText
    answers: TenAnswers = dataclasses.field(default_factory=list)
    answer_type: TypeName = ""


_QUESTION = TypeAdapter(_Question)
