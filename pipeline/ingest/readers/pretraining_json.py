"""The LXMERT release's pre-training sentences: all that several data sets say about an image."""

import dataclasses
from collections.abc import Iterator
from typing import Annotated, Any

from pydantic import AfterValidator, TypeAdapter, ValidationError

from lxmert_tf.data.scene import Sentence
from pipeline.ingest.checks.annotation_fields import (
    Id,
    SentenceText,
    SoftLabel,
    checked,
    parse_id,
    reason_of,
)
from pipeline.ingest.files import InputFile
from pipeline.ingest.interfaces import ReadError, ReadSentence, SentenceReader
from pipeline.ingest.parsers.json_items import Item, read_list


class PretrainingJson(SentenceReader):
    """A JSON list of {img_id, sentf: {source: [sentence]}, labelf: {source: [{answer: score}]}}.

    `labelf[source][i]` belongs to `sentf[source][i]`; captions have none. A sentence's id is
    image-source-i, i counted from 0. A wrong sentence or label is a problem of its own; where a
    source's labels are not as many as its sentences, all its sentences are.
    (github.com/airsplay/lxmert, data/lxmert/*.json)
    """

    name = "pretraining"

    def read(self, file: InputFile) -> Iterator[ReadSentence | ReadError]:
        for item in checked(read_list(file), _IMAGE, "img_id"):
            if isinstance(item, ReadError):
                yield item
            else:
                yield from self._sentences(item)

    def _sentences(self, item: Item) -> Iterator[ReadSentence | ReadError]:
        image: _Image = item.value
        for source, texts in image.sentf.items():
            labels = image.labelf.get(source)
            aligned = labels is None or len(labels) == len(texts)
            for place, text in enumerate(texts):
                sentence_id = f"{image.img_id}-{source}-{place}"
                if not aligned:
                    reason = "labelf has not as many labels of its source as sentf has sentences"
                    yield ReadError(item.number, sentence_id, reason)
                    continue
                fields = {"sentf": text, "labelf": labels[place] if labels else {}}
                try:
                    said = _SAID.validate_python(fields)
                except ValidationError as error:
                    yield ReadError(item.number, sentence_id, reason_of(error))
                    continue
                answers = tuple(said.labelf.items())
                sentence = Sentence(sentence_id, said.sentf, source, answers=answers)
                yield ReadSentence((image.img_id,), sentence)
        for source in image.labelf.keys() - image.sentf.keys():
            reason = "labelf has a source that sentf lacks"
            yield ReadError(item.number, f"{image.img_id}-{source}", reason)


Source = Annotated[str, AfterValidator(parse_id)]


@dataclasses.dataclass(frozen=True)
class _Image:
    img_id: Id
    sentf: dict[Source, list[Any]]
    labelf: dict[Source, list[Any]] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class _Said:
    sentf: SentenceText
    labelf: SoftLabel


_IMAGE = TypeAdapter(_Image)
_SAID = TypeAdapter(_Said)
