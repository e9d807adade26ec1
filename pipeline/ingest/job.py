"""The ingestion job: records, rejects and a summary in one folder, whole or not at all."""

import collections
import hashlib
import json
import os
import pathlib
import shutil
from collections.abc import Iterable
from typing import Any

import apache_beam as beam
import tensorflow as tf
from apache_beam.options.pipeline_options import PipelineOptions

from lxmert_tf.data.extractor_file import write_extractor
from lxmert_tf.errors import InputError
from pipeline.ingest.config import IngestConfig
from pipeline.ingest.scenes import RECORD, ReadScenes, Record

SUMMARY = "ingest-summary.json"
# Files that exist only while the job runs.
COUNTS = ".counts"
DIRECT_RUNNER = ("--runner=DirectRunner", "--direct_running_mode=in_memory")


def run_ingest(config: IngestConfig, output, beam_args: Iterable[str] = ()) -> dict[str, Any]:
    """Writes `scenes-*.tfrecord`, `rejects-*.jsonl`, `ingest-summary.json` and `extractor.json`.

    Everything is written under a temporary name beside it and renamed at the end, so that a
    folder of that name is complete. The same input gives the same bytes.

    Args:
        config: what to ingest.
        output: the folder; it must not exist, or be empty.
        beam_args: the runner and its options; DirectRunner in this process if there are none.

    Returns:
        the summary: {"images": {"read", "written", "rejected"}, "sentences": {the same},
        "reasons": {reason: count}}.

    Raises:
        InputError: the config names something that does not exist, or the folder is taken.
    """
    output = pathlib.Path(output)
    if output.exists() and (not output.is_dir() or any(output.iterdir())):
        raise InputError(f"{output}: already exists; name a new folder or remove it")
    read = ReadScenes(config.source, config.records, config.extractor)
    partial = output.parent / f".{output.name}.partial"
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    try:
        options = PipelineOptions([*DIRECT_RUNNER, *beam_args], save_main_session=False)
        with beam.Pipeline(options=options) as root:
            _ = (
                root
                | "ReadScenes" >> read
                | "ByShard" >> beam.Map(_by_shard, config.shards)
                | beam.GroupByKey()
                | "WriteShard" >> beam.Map(write_shard, str(partial), config.shards)
            )
        summary = _summarize(partial)
        (partial / SUMMARY).write_text(json.dumps(summary, indent=1) + "\n", encoding="utf-8")
        write_extractor(partial, config.extractor)
        if not summary["images"]["written"]:
            raise InputError(f"{output}: nothing could be written; {_most_common(summary)}")
        output.parent.mkdir(parents=True, exist_ok=True)
        if output.exists():
            output.rmdir()
        partial.rename(output)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return summary


def write_shard(group: tuple[tuple[str, int], Iterable[Any]], folder: str, shards: int) -> str:
    """Writes one file of records or of rejects, in an order that depends on its content alone.

    Args:
        group: ((RECORD or REJECT, shard number), elements).
        folder: where.
        shards: how many there are, for the name.

    Returns:
        the file's path. Its counts lie beside it, for the summary.
    """
    (tag, number), elements = group
    write = _write_records if tag == RECORD else _write_rejects
    path, counts = write(folder, f"{number:05d}-of-{shards:05d}", elements)
    pathlib.Path(f"{path}{COUNTS}").write_text(json.dumps(counts), encoding="utf-8")
    return path


def _write_records(folder: str, number: str, records: Iterable[Record]) -> tuple[str, dict]:
    path = os.path.join(folder, f"scenes-{number}.tfrecord")
    records = sorted(records, key=lambda record: (record.image_id, record.position))
    with tf.io.TFRecordWriter(path) as writer:
        for record in records:
            writer.write(record.serialized)
    images = len({record.image_id for record in records})
    sentences = sum(record.sentences for record in records)
    return path, {"images": {"written": images}, "sentences": {"written": sentences}}


def _write_rejects(folder: str, number: str, rejects: Iterable[dict]) -> tuple[str, dict]:
    path = os.path.join(folder, f"rejects-{number}.jsonl")
    rejects = list(rejects)
    lines = sorted(json.dumps(line, sort_keys=True, ensure_ascii=False) for line in rejects)
    pathlib.Path(path).write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    kinds = collections.Counter(line["kind"] for line in rejects)
    return path, {
        "images": {"rejected": kinds["image"]},
        "sentences": {"rejected": kinds["sentence"]},
        "reasons": collections.Counter(line["reason"] for line in rejects),
    }


def _by_shard(element: tuple[str, Any], shards: int) -> tuple[tuple[str, int], Any]:
    tag, value = element
    key = value.image_id if tag == RECORD else value["id"]
    digest = hashlib.sha256(key.encode()).digest()
    # Not the bits that hash_percent uses: a split by percent must still fill all shards.
    return (tag, int.from_bytes(digest[8:16], "big") % shards), value


def _summarize(folder: pathlib.Path) -> dict[str, Any]:
    """Adds up the counts that lie beside the shards, and removes them."""
    summary: dict[str, Any] = {
        kind: {"read": 0, "written": 0, "rejected": 0} for kind in ("images", "sentences")
    }
    reasons: collections.Counter[str] = collections.Counter()
    for path in sorted(folder.glob(f"*{COUNTS}")):
        counts = json.loads(path.read_text(encoding="utf-8"))
        path.unlink()
        reasons.update(counts.pop("reasons", {}))
        for kind, numbers in counts.items():
            for what, number in numbers.items():
                summary[kind][what] += number
    for kind in ("images", "sentences"):
        summary[kind]["read"] = summary[kind]["written"] + summary[kind]["rejected"]
    return {**summary, "reasons": dict(sorted(reasons.items()))}


def _most_common(summary: dict[str, Any]) -> str:
    if not summary["reasons"]:
        return "the source gave no image"
    reason, count = max(summary["reasons"].items(), key=lambda item: item[1])
    return f"the commonest reason ({count} times): {reason}"
