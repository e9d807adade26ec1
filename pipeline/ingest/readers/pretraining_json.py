"""Pre-training sentences of the LXMERT release, from several data sets."""

import dataclasses
from collections.abc import Iterator
from typing import Annotated, Any

from pydantic import AfterValidator, TypeAdapter, ValidationError

from lxmert_tf.data.scene import Sentence
from pipeline.ingest.checks.annotation_fields import (
    Id,
    SentenceText,
    SoftLabel,
    parse_id,
    reason_of,
    validate_items,
)
from pipeline.ingest.files import InputFile
from pipeline.ingest.interfaces import ReadError, ReadSentence, SentenceReader
from pipeline.ingest.parsers.json_items import Item, read_list


class PretrainingJson(SentenceReader):
    """A JSON list of {img_id, sentf: {source: [sentence]}, labelf: {source: [{answer: score}]}}.

    `labelf[source][i]` is the label of `sentf[source][i]`; captions have none. The id of a sentence
    is image-source-i, with i from 0. An invalid sentence or label is an error of that sentence. If
    a source has different numbers of labels and sentences, all its sentences are errors.
    (github.com/airsplay/lxmert, data/lxmert/*.json)
    """

    name = "pretraining"

    def read(self, file: InputFile) -> Iterator[ReadSentence | ReadError]:
        for item in validate_items(read_list(file), _IMAGE, "img_id"):
            if isinstance(item, ReadError):
                yield item
            else:
                yield from self._sentences(item)

    def _sentences(self, item: Item) -> Iterator[ReadSentence | ReadError]:
        image: _Image = item.value
        for source, texts in image.sentf.items():
            labels = image.labelf.get(source)
            aligned = labels is None or len(labels) == len(texts)
            for number, text in enumerate(texts):
                sentence_id = f"{image.img_id}-{source}-{number}"
                if not aligned:
                    reason = "labelf has not as many labels of its source as sentf has sentences"
                    yield ReadError(item.number, sentence_id, reason)
                    continue
                fields = {"sentf": text, "labelf": labels[number] if labels else {}}
                try:
                    labeled = _LABELED_SENTENCE.validate_python(fields)
                except ValidationError as error:
                    yield ReadError(item.number, sentence_id, reason_of(error))
                    continue
                answers = tuple(labeled.labelf.items())
                sentence = Sentence(sentence_id, labeled.sentf, source, answers=answers)
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
class _LabeledSentence:
    sentf: SentenceText
    labelf: SoftLabel


_IMAGE = TypeAdapter(_Image)
_LABELED_SENTENCE = TypeAdapter(_LabeledSentence)
