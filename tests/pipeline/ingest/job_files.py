"""Region and question files for tests of the job, and what the job writes."""

import json
import pathlib

import tensorflow as tf

from lxmert_tf.data.scene import Scene
from lxmert_tf.data.schema import decode_scene
from pipeline.ingest.config import (
    IngestConfig,
    PartConfig,
    RegionFiles,
    SentenceFiles,
    SplitConfig,
)
from pipeline.ingest.job import run_ingest
from tests.pipeline.ingest import detections, tsv_rows


def lxmert_row(image: detections.Detections) -> bytes:
    return tsv_rows.row(tsv_rows.lxmert_cells(image))


def write_regions(path: pathlib.Path, ids, size=8) -> pathlib.Path:
    path.write_bytes(b"".join(lxmert_row(detections.small(i, size=size)) for i in ids))
    return path


def write_questions(path: pathlib.Path, ids, each=2, label=None, first=0) -> pathlib.Path:
    questions = [
        {
            "question_id": f"{image_id}-{number}",
            "img_id": image_id,
            "sent": f"what is {number}?",
            "question_type": "what is",
            "answer_type": "other",
            "label": {"cat": 1.0, "A dog.": 0.3} if label is None else label,
        }
        for image_id in ids
        for number in range(first, first + each)
    ]
    path.write_text(json.dumps(questions))
    return path


def config_of(regions, sentences, form="vqa_release", layout="grouped", **options) -> IngestConfig:
    limit = options.pop("limit", None)
    rows = options.pop("rows", (0, None))
    part = PartConfig(
        (RegionFiles(tuple(map(str, regions)), rows=rows),),
        (SentenceFiles(tuple(map(str, sentences)), form),),
    )
    records = SplitConfig("all", layout, limit=limit)
    return IngestConfig(records=records, parts={"all": part}, **options)


def scenes_in(folder) -> list[Scene]:
    files = sorted(str(path) for path in pathlib.Path(folder).glob("scenes-*"))
    return [decode_scene(r.numpy()) for r in tf.data.TFRecordDataset(files)]


def rejects_in(folder) -> list[dict]:
    paths = sorted(pathlib.Path(folder).glob("rejects-*.jsonl"))
    return [json.loads(line) for path in paths for line in path.read_text().splitlines()]


def contents(folder) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in pathlib.Path(folder).iterdir()}


def check_runner(options: list[str], folder: pathlib.Path) -> None:
    """Check that a job on another runner writes the bytes of one process."""
    ids = [f"i{n}" for n in range(8)]
    files = [write_regions(folder / f"{n}.tsv", ids[n::4]) for n in range(4)]
    questions = write_questions(folder / "questions.json", [*ids, "missing"])
    config = config_of(files, [questions], max_reject_fraction=0.5, min_answer_count=2)
    expected = run_ingest(config, folder / "one")
    assert expected["sentences"] == {"read": 18, "written": 16, "rejected": 2}
    assert run_ingest(config, folder / "other", options) == expected
    assert contents(folder / "other") == contents(folder / "one")
