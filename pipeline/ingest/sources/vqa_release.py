"""VQA as the LXMERT release has it: questions with soft labels and the names of their images."""

import dataclasses
from collections.abc import Iterator

from pydantic import TypeAdapter

from lxmert_tf.data.scene import Sentence
from pipeline.ingest.files import InputFile
from pipeline.ingest.sources.annotation_fields import Id, SentenceText, SoftLabel, TypeName, checked
from pipeline.ingest.sources.json_items import read_list
from pipeline.ingest.sources.source import Problem, ReadSentence, SentenceReader


class VqaRelease(SentenceReader):
    """A JSON list of {question_id, img_id, sent, question_type, answer_type, label}.

    `label` is {answer: score in 0..1}; test files have none. The types may be missing.
    (github.com/airsplay/lxmert, data/vqa/*.json)
    """

    name = "vqa_release"
    source = "vqa"

    def read(self, file: InputFile) -> Iterator[ReadSentence | Problem]:
        for item in checked(read_list(file), _QUESTION, "question_id"):
            yield item if isinstance(item, Problem) else self._sentence(item.value)

    def _sentence(self, question: "_Question") -> ReadSentence:
        sentence = Sentence(
            id=question.question_id,
            text=question.sent,
            source=self.source,
            question_type=question.question_type,
            answer_type=question.answer_type,
            answers=tuple(question.label.items()),
        )
        return ReadSentence((question.img_id,), sentence)


@dataclasses.dataclass(frozen=True)
class _Question:
    question_id: Id
    img_id: Id
    sent: SentenceText
    question_type: TypeName = ""
    answer_type: TypeName = ""
    label: SoftLabel = dataclasses.field(default_factory=dict)


_QUESTION = TypeAdapter(_Question)
