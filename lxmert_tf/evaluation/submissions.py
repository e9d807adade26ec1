"""Submission files of the challenge servers.

VQA: [{"question_id": int, "answer": str}] (visualqa.org/challenge.html). GQA: [{"questionId": str,
"prediction": str}] (gqadataset.org). NLVR2: lines `identifier,True` or `identifier,False` without a
header, as its evaluation script reads them. NLVR: the same with the names of the images' files,
`dev-72-0-3.png,true`. The IDs of your own data may also be names, except for NLVR.
"""

import dataclasses
import json
import re
from collections.abc import Callable, Mapping
from typing import Annotated

from pydantic import Field, StrictStr

from lxmert_tf.errors import InputError
from lxmert_tf.evaluation.question_ids import QuestionId, index_by_id
from lxmert_tf.json_file import check_json, read_json
from lxmert_tf.text_file import read_lines, write_text

_NUMBER = re.compile(r"0|[1-9][0-9]{0,17}")
_NLVR_IMAGE = re.compile(r"[^-.,\s]+(-[^-.,\s]+){3}")
_LABELS = {"true": "True", "false": "False"}


def write_submission(task: str, predictions: Mapping[str, str], path) -> None:
    """Write a submission file, whole or not at all.

    Args:
        task: "vqa", "gqa", "nlvr" or "nlvr2".
        predictions: {question ID: answer}; for NLVR2 {identifier: "True" or "False"}, for NLVR
            {name of an image: "True" or "False"}.
        path: The file; an older one is replaced.

    Raises:
        InputError: The task's format cannot hold an ID or an answer, or the file cannot be written.
    """
    write_text(path, _WRITERS[task](predictions))


def read_submission(task: str, path) -> dict[str, str]:
    """Read a submission file.

    Args:
        task: "vqa", "gqa", "nlvr" or "nlvr2".
        path: The file.

    Returns:
        A dict from question ID to answer, in the order of the file. For NLVR and NLVR2 the
        answers are "True" or "False".

    Raises:
        InputError: The file is damaged, of another task, or answers a question twice.
    """
    return index_by_id(_READERS[task](path), str(path))


@dataclasses.dataclass(frozen=True)
class _VqaAnswer:
    question_id: QuestionId
    answer: StrictStr


@dataclasses.dataclass(frozen=True)
class _GqaAnswer:
    question_id: Annotated[QuestionId, Field(alias="questionId")]
    prediction: StrictStr


def _vqa_text(predictions: Mapping[str, str]) -> str:
    rows = [
        {"question_id": int(name) if _NUMBER.fullmatch(name) else name, "answer": text}
        for name, text in predictions.items()
    ]
    return json.dumps(rows) + "\n"


def _gqa_text(predictions: Mapping[str, str]) -> str:
    rows = [{"questionId": name, "prediction": text} for name, text in predictions.items()]
    return json.dumps(rows) + "\n"


def _nlvr2_text(predictions: Mapping[str, str]) -> str:
    for name, label in predictions.items():
        if not name.isprintable() or not name.strip() or name != name.strip() or "," in name:
            raise InputError(
                f"identifier {name!r}: must be like dev-850-0-0 for NLVR2, without a comma"
            )
        if label not in _LABELS.values():
            raise InputError(f"{name}: the prediction is {label!r}; it must be True or False")
    return "".join(f"{name},{label}\n" for name, label in predictions.items())


def _nlvr_text(predictions: Mapping[str, str]) -> str:
    for name, label in predictions.items():
        if not _NLVR_IMAGE.fullmatch(name):
            raise InputError(f"image {name!r}: must be named like dev-72-0-3 for NLVR")
        if label.lower() not in _LABELS:
            raise InputError(f"{name}: the prediction is {label!r}; it must be True or False")
    return "".join(f"{name}.png,{label.lower()}\n" for name, label in predictions.items())


def _read_vqa(path) -> list[tuple[str, str]]:
    rows = check_json(list[_VqaAnswer], read_json(path), str(path))
    return [(row.question_id, row.answer) for row in rows]


def _read_gqa(path) -> list[tuple[str, str]]:
    rows = check_json(list[_GqaAnswer], read_json(path), str(path))
    return [(row.question_id, row.prediction) for row in rows]


def _read_nlvr(path) -> list[tuple[str, str]]:
    # The official script ends a name at its first dot.
    rows = _read_labels(path, "dev-72-0-3.png,true")
    return [(name.partition(".")[0], label) for name, label in rows]


def _read_nlvr2(path) -> list[tuple[str, str]]:
    return _read_labels(path, "dev-850-0-0,True")


def _read_labels(path, example: str) -> list[tuple[str, str]]:
    rows = []
    for number, line in enumerate(read_lines(path), start=1):
        if not line.strip():
            continue
        name, _, label = line.strip().partition(",")
        if not name or label.lower() not in _LABELS:
            raise InputError(f"{path} line {number}: {line[:60]!r} must be like {example!r}")
        rows.append((name, _LABELS[label.lower()]))
    return rows


_WRITERS: dict[str, Callable[[Mapping[str, str]], str]] = {
    "vqa": _vqa_text,
    "gqa": _gqa_text,
    "nlvr": _nlvr_text,
    "nlvr2": _nlvr2_text,
}
_READERS: dict[str, Callable[..., list[tuple[str, str]]]] = {
    "vqa": _read_vqa,
    "gqa": _read_gqa,
    "nlvr": _read_nlvr,
    "nlvr2": _read_nlvr2,
}
