"""The files that the challenge servers take.

VQA: [{"question_id": int, "answer": str}] (visualqa.org/challenge.html). GQA: [{"questionId": str,
"prediction": str}] (gqadataset.org). NLVR2: lines `identifier,True` or `identifier,False` without a
header, as its evaluation script reads them.
"""

import dataclasses
import json
import re
from collections.abc import Callable, Mapping
from typing import Annotated

from pydantic import Field, StrictInt, StrictStr

from lxmert_tf.errors import InputError
from lxmert_tf.evaluation.question_ids import by_id
from lxmert_tf.json_file import check_json, read_json
from lxmert_tf.text_file import read_lines, write_text

_NUMBER = re.compile(r"0|[1-9][0-9]{0,17}")
_IDENTIFIER = re.compile(r"[A-Za-z0-9_.-]+")
_VERDICTS = {"true": "True", "false": "False"}


def write_submission(task: str, predictions: Mapping[str, str], path) -> None:
    """Writes the file to hand in, whole or not at all.

    Args:
        task: "vqa", "gqa" or "nlvr2".
        predictions: {question id: answer}; for NLVR2 {identifier: "True" or "False"}.
        path: the file; an older one there is replaced.

    Raises:
        InputError: an id or an answer is not one that the task's file can hold.
    """
    write_text(path, _WRITERS[task](predictions))


def read_submission(task: str, path) -> dict[str, str]:
    """{question id: answer} of such a file, in its order; NLVR2's answers are "True" or "False".

    Raises:
        InputError: the file is damaged, of another task, or answers a question twice.
    """
    return by_id(_READERS[task](path), str(path))


@dataclasses.dataclass(frozen=True)
class _VqaAnswer:
    question_id: StrictInt
    answer: StrictStr


@dataclasses.dataclass(frozen=True)
class _GqaAnswer:
    question_id: Annotated[StrictStr, Field(alias="questionId")]
    prediction: StrictStr


def _vqa_text(predictions: Mapping[str, str]) -> str:
    for name in predictions:
        if not _NUMBER.fullmatch(name):
            raise InputError(f"question id {name!r}: VQA's are whole numbers, such as 262148000")
    rows = [{"question_id": int(name), "answer": text} for name, text in predictions.items()]
    return json.dumps(rows) + "\n"


def _gqa_text(predictions: Mapping[str, str]) -> str:
    rows = [{"questionId": name, "prediction": text} for name, text in predictions.items()]
    return json.dumps(rows) + "\n"


def _nlvr2_text(predictions: Mapping[str, str]) -> str:
    for name, verdict in predictions.items():
        if not _IDENTIFIER.fullmatch(name):
            raise InputError(f"identifier {name!r}: NLVR2's are like dev-850-0-0")
        if verdict not in _VERDICTS.values():
            raise InputError(f"{name}: the prediction is {verdict!r}; it must be True or False")
    return "".join(f"{name},{verdict}\n" for name, verdict in predictions.items())


def _read_vqa(path) -> list[tuple[str, str]]:
    rows = check_json(list[_VqaAnswer], read_json(path), str(path))
    return [(str(row.question_id), row.answer) for row in rows]


def _read_gqa(path) -> list[tuple[str, str]]:
    rows = check_json(list[_GqaAnswer], read_json(path), str(path))
    return [(row.question_id, row.prediction) for row in rows]


def _read_nlvr2(path) -> list[tuple[str, str]]:
    rows = []
    for number, line in enumerate(read_lines(path), start=1):
        if not line.strip():
            continue
        name, _, verdict = line.strip().partition(",")
        if not name or verdict.lower() not in _VERDICTS:
            raise InputError(
                f"{path} line {number}: is {line[:60]!r}; it must be like 'dev-850-0-0,True'"
            )
        rows.append((name, _VERDICTS[verdict.lower()]))
    return rows


_WRITERS: dict[str, Callable[[Mapping[str, str]], str]] = {
    "vqa": _vqa_text,
    "gqa": _gqa_text,
    "nlvr2": _nlvr2_text,
}
_READERS: dict[str, Callable[..., list[tuple[str, str]]]] = {
    "vqa": _read_vqa,
    "gqa": _read_gqa,
    "nlvr2": _read_nlvr2,
}
