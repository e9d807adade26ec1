"""Questions of VQA v2 (Goyal et al. 2017), as published and as in the LXMERT release."""

import dataclasses
import pathlib
import re
from collections.abc import Iterator
from typing import Annotated, Any, NamedTuple

from pydantic import AfterValidator, Field, StrictStr, TypeAdapter
from pydantic_core import PydanticCustomError
from typing_extensions import TypedDict

from lxmert_tf.data.scene import Sentence
from lxmert_tf.errors import InputError
from lxmert_tf.evaluation.vqa import soft_score
from pipeline.ingest.checks.annotation_fields import (
    Id,
    SentenceText,
    SoftLabel,
    TypeName,
    check_line,
    validate_items,
)
from pipeline.ingest.files import MEMBER, InputFile, find_inputs
from pipeline.ingest.interfaces import ReadError, ReadSentence, SentenceReader
from pipeline.ingest.parsers.json_items import Item, read_list, read_member, starts_with_list

# "v2_OpenEnded_mscoco_val2014_questions.json"; the annotations lack the kind of question.
_KIND = re.compile("(OpenEnded|MultipleChoice)_")
# Splits of val that others made, such as minival of the LXMERT release, have val's images.
_SUBSET = re.compile(r"(?P<part>train|(mini|nomini|valminusmini)?val|test(-dev)?)(?P<year>\d{4})")
_SUBSET_IN_NAME = re.compile(rf"_({_SUBSET.pattern})_")
_ABSTRACT = "abstract_v002"
_PEOPLE = 10


class VqaOfficial(SentenceReader):
    """v2_OpenEnded_mscoco_*_questions.json with its annotations file (visualqa.org).

    The annotations are beside the questions, under the same name with "annotations" instead of
    "questions" and without "OpenEnded_", or in the archive v2_Annotations_*_mscoco.zip beside
    v2_Questions_*_mscoco.zip. Test questions have none. The ten answers to a question become a soft
    label (`soft_score`). Image ids are as in region files: COCO_val2014_000000262148, or
    abstract_v002_val2015_000000020000 of abstract scenes.

    In VQA-CP (Agrawal et al. 2018, vqacp_v2_*_questions.json) both files are lists, and each
    question names the subset of MS COCO that its image is in.

    Both files are read side by side, because they have the same order. Where the order differs, the
    labels that are passed over are kept in memory (about 1 KB each). Annotations of questions that
    are not in the file are ignored.
    """

    name = "vqa_official"

    def reads(self, file: InputFile) -> bool:
        return "annotations" not in _base_name(file.content_name)

    def read(self, file: InputFile) -> Iterator[ReadSentence | ReadError]:
        is_list = starts_with_list(file)
        prefix = "" if is_list else _image_prefix(file)
        labels = None if "_test" in prefix else _Labels(_annotations_of(file))
        items = read_list(file, None if is_list else "questions")
        for item in validate_items(items, _QUESTION, "question_id"):
            if isinstance(item, ReadError):
                yield item
                continue
            question: _Question = item.value
            label = _Label() if labels is None else labels.of(question.question_id)
            if labels is not None:
                yield from labels.take_errors()
            image_id = question.full_image_id(prefix)
            if isinstance(label, str):
                yield ReadError(item.number, question.question_id, label)
            elif image_id is None:
                reason = "coco_split is missing, which names the subset of MS COCO"
                yield ReadError(item.number, question.question_id, reason)
            else:
                sentence = Sentence(question.question_id, question.question, "vqa", *label)
                yield ReadSentence((image_id,), sentence)


class _Label(NamedTuple):
    question_type: str = ""
    answer_type: str = ""
    answers: tuple[tuple[str, float], ...] = ()


class _Labels:
    """The labels of an annotations file, to be looked up in about its order."""

    def __init__(self, file: InputFile):
        items = read_list(file, None if starts_with_list(file) else "annotations")
        self._rest = validate_items(items, _ANNOTATION, "question_id")
        self._passed: dict[str, _Label | str] = {}
        self._errors: list[ReadError] = []

    def of(self, question_id: str) -> _Label | str:
        """Return the label of a question, or the reason why it has none."""
        if question_id in self._passed:
            return self._passed.pop(question_id)
        for item in self._rest:
            name, label = _label(item)
            if name == question_id:
                return label
            if name:
                self._passed[name] = label
            elif isinstance(item, ReadError):
                self._errors.append(dataclasses.replace(item, reason=str(label)))
        return "the annotations file has no entry for this question"

    def take_errors(self) -> list[ReadError]:
        """Return, once, the invalid annotations whose question is unknown."""
        errors, self._errors = self._errors, []
        return errors


def _label(item: Item | ReadError) -> tuple[str, _Label | str]:
    if isinstance(item, ReadError):
        return item.id, f"annotations: {item.reason}"
    annotation: _Annotation = item.value
    answers: Any = annotation.answers  # `_soft_label` makes tuples of the list
    label = _Label(annotation.question_type, annotation.answer_type, answers)
    return annotation.question_id, label


def _image_prefix(file: InputFile) -> str:
    """Return what stands before the numbers of images in their ids.

    The images of test-dev are in test, and those of minival in val.
    """
    name = _base_name(file.content_name)
    subset = read_member(file, "data_subtype")
    if subset is None and (match := _SUBSET_IN_NAME.search(name)):
        subset = match[1]
    match = _SUBSET.fullmatch(subset) if isinstance(subset, str) else None
    if match is None:
        raise InputError(
            f"{file.name}: 'data_subtype' must be a subset of MS COCO, for example 'val2014'"
        )
    part = "val" if match["part"].endswith("val") else match["part"].removesuffix("-dev")
    is_abstract = read_member(file, "data_type") == _ABSTRACT or _ABSTRACT in name
    return f"{_ABSTRACT if is_abstract else 'COCO'}_{part}{match['year']}_"


def _annotations_of(questions: InputFile) -> InputFile:
    name = _base_name(questions.member or questions.path)
    if "questions" not in name:
        raise InputError(
            f"{questions.name}: must have 'questions' in its name, as "
            "v2_OpenEnded_..._questions.json, from which that of the annotations is derived "
            "(the format of VizWiz is vizwiz)"
        )
    candidates = _beside(questions, _KIND.sub("", name).replace("questions", "annotations"))
    for candidate in candidates:
        try:
            return find_inputs([candidate])[0]
        except InputError:
            continue
    raise InputError(f"{questions.name}: annotations not found: {' or '.join(candidates)}")


def _beside(questions: InputFile, name: str) -> list[str]:
    if questions.member is None:
        return [questions.path.removesuffix(pathlib.PurePosixPath(questions.path).name) + name]
    folder = questions.member.removesuffix(pathlib.PurePosixPath(questions.member).name)
    archive = pathlib.PurePosixPath(questions.path).name
    other = questions.path.removesuffix(archive) + archive.replace("Questions", "Annotations")
    return list(dict.fromkeys(f"{path}{MEMBER}{folder}{name}" for path in (questions.path, other)))


def _soft_label(given: "list[_Given]") -> tuple[tuple[str, float], ...]:
    if len(given) != _PEOPLE:
        raise PydanticCustomError("field", "must be those of ten people")
    scores = soft_score([one["answer"] for one in given])
    return tuple((check_line(answer), score) for answer, score in scores.items())


def _base_name(path: str) -> str:
    return pathlib.PurePosixPath(path).name


@dataclasses.dataclass(frozen=True)
class _Question:
    question_id: Id
    image_id: Annotated[int, Field(strict=True, ge=0, lt=10**12)]
    question: SentenceText
    coco_split: Annotated[StrictStr, Field(pattern="^(train|val)[0-9]{4}$")] | None = None

    def full_image_id(self, prefix: str) -> str | None:
        """Return the id of the image; None if neither the question nor the file has its subset."""
        prefix = f"COCO_{self.coco_split}_" if self.coco_split else prefix
        return f"{prefix}{self.image_id:012d}" if prefix else None


class _Given(TypedDict):
    answer: StrictStr


# The answers of ten people as a file lists them, which become (answer, score).
TenAnswers = Annotated[list[_Given], AfterValidator(_soft_label)]


@dataclasses.dataclass(frozen=True)
class _Annotation:
    question_id: Id
    question_type: TypeName
    answer_type: TypeName
    answers: TenAnswers


_QUESTION = TypeAdapter(_Question)
_ANNOTATION = TypeAdapter(_Annotation)


class VqaRelease(SentenceReader):
    """A JSON list of {question_id, img_id, sent, question_type, answer_type, label}.

    `label` is {answer: score in 0..1}, and is missing in test files. The types may be missing.
    (github.com/airsplay/lxmert, data/vqa/*.json)
    """

    name = "vqa_release"
    source = "vqa"

    def read(self, file: InputFile) -> Iterator[ReadSentence | ReadError]:
        for item in validate_items(read_list(file), _RELEASE_QUESTION, "question_id"):
            yield item if isinstance(item, ReadError) else self._sentence(item.value)

    def _sentence(self, question: "_ReleaseQuestion") -> ReadSentence:
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
class _ReleaseQuestion:
    question_id: Id
    img_id: Id
    sent: SentenceText
    question_type: TypeName = ""
    answer_type: TypeName = ""
    label: SoftLabel = dataclasses.field(default_factory=dict)


_RELEASE_QUESTION = TypeAdapter(_ReleaseQuestion)
