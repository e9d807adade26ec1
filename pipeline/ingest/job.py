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

from lxmert_tf.data.sidecars import INGEST_SUMMARY, write_extractor
from lxmert_tf.errors import GateError, InputError
from pipeline.ingest.config import IngestConfig
from pipeline.ingest.parsers.text_rows import ShardLines, absolute_lines
from pipeline.ingest.progress import IngestProgress
from pipeline.ingest.region_store import RegionFiles
from pipeline.ingest.scenes import (
    ANSWER,
    LINES,
    READ,
    REJECT,
    SCENE,
    ReadScenes,
    Reject,
    records_of,
    unpacked_scene,
)

ANSWERS = "answers.txt"
KINDS = {"image": "images", "sentence": "sentences", "answer": "answers"}
DIRECT_RUNNER = ("--runner=DirectRunner", "--direct_running_mode=in_memory")


def run_ingest(config: IngestConfig, output, beam_args: Iterable[str] = ()) -> dict[str, Any]:
    """Writes one split into a new folder.

    `scenes-*.tfrecord`, `rejects-*.jsonl`, `ingest-summary.json`, `extractor.json` where pictures
    were read, and `answers.txt` where the answer table was made. Everything is written under a
    temporary name beside it and renamed at the end, so that a folder of that name is complete. The
    same input gives the same bytes, whatever the runner and the number of workers.

    Args:
        config: what to ingest, with `records`.
        output: the folder, on a disk that all workers see; it must not exist, or be empty.
        beam_args: the runner and its options; DirectRunner in this process if there are none.

    Returns:
        the summary: {"images": {"read", "written", "rejected"}, "sentences": {the same},
        "answers": {the same}, "reasons": {reason: count}}.

    Raises:
        InputError: the config names something that does not exist, the folder is taken, or there
            is nothing to write.
        GateError: more than `max_reject_fraction` of the images or sentences were rejected; what
            and why is left in a folder of the same name with `-rejected` behind it.
    """
    output = pathlib.Path(output)
    if output.exists() and (not output.is_dir() or any(output.iterdir())):
        raise InputError(f"{output}: already exists; name a new folder or remove it")
    partial = output.parent / f".{output.name}.partial"
    shutil.rmtree(partial, ignore_errors=True)
    work = partial / "work"
    read = ReadScenes(config, work.resolve())
    work.mkdir(parents=True)
    try:
        options = PipelineOptions([*DIRECT_RUNNER, *beam_args], save_main_session=False)
        with IngestProgress(work, read.inputs.size), beam.Pipeline(options=options) as root:
            _ = (
                root
                | "ReadScenes" >> read
                | "ByShard" >> beam.Map(by_shard, config.shards)
                | beam.GroupByKey()
                | "WriteShard" >> beam.Map(write_shard, str(partial.resolve()), config)
            )
        summary = _finish(partial, work, read.inputs.complete)
        shutil.rmtree(work)
        if read.inputs.has_pictures:
            write_extractor(partial, config.extractor)
        if config.min_answer_count is not None and not (partial / ANSWERS).exists():
            raise InputError(f"no answer is given at least {config.min_answer_count} times")
        _check(summary, config, output, partial)
        output.parent.mkdir(parents=True, exist_ok=True)
        if output.exists():
            output.rmdir()
        partial.rename(output)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return summary


def by_shard(element: tuple[str, Any], shards: int) -> tuple[tuple[str, int], Any]:
    """The element under the file that it goes to."""
    tag, value = element
    if tag not in (SCENE, REJECT):
        return (tag, 0), value
    key = "\n".join(value[0]) if tag == SCENE else value.id
    digest = hashlib.sha256(key.encode("utf-8", "surrogatepass")).digest()
    # Not the bits that hash_percent uses: a split by percent must still fill all shards.
    return (tag, int.from_bytes(digest[8:16], "big") % shards), value


def write_shard(group: tuple[tuple[str, int], Iterable[Any]], folder: str, config) -> None:
    """Writes one file, in an order that depends on its content alone.

    Args:
        group: ((tag, shard number), elements).
        folder: where; counts go to its `work`.
        config: of the ingestion.
    """
    (tag, shard), elements = group
    number = f"{shard:05d}-of-{config.shards:05d}"
    counts = _WRITERS[tag](folder, number, elements, config)
    if counts is not None:
        path = os.path.join(folder, "work", f"{tag}-{number}.counts")
        pathlib.Path(path).write_text(json.dumps(counts), encoding="utf-8")


def _write_scenes(folder: str, number: str, scenes: Iterable[tuple], config) -> dict:
    images, sentences, answers, sizes = set(), 0, 0, set()
    store = RegionFiles()
    with tf.io.TFRecordWriter(os.path.join(folder, f"scenes-{number}.tfrecord")) as writer:
        # The packed scenes begin with their keys.
        for joined in map(unpacked_scene, sorted(scenes)):
            images.update(joined.key)
            sentences += len(joined.sentences)
            answers += sum(len(sentence.answers) for sentence in joined.sentences)
            sizes.update(place.feature_size for place in joined.places)
            for record in records_of(joined, store, config.records.layout):
                writer.write(record)
    store.close()
    return {
        "written": {"images": sorted(images), "sentences": sentences, "answers": answers},
        "feature_sizes": sorted(sizes),
    }


def _write_rejects(folder: str, number: str, rejects: Iterable[Reject], config) -> None:
    # The lines are numbered at the end, when it is known how many lines each unit has.
    path = os.path.join(folder, "work", f"rejects-{number}.jsonl")
    lines = [json.dumps(reject._asdict(), ensure_ascii=True) for reject in rejects]
    pathlib.Path(path).write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")


def _write_lines(folder: str, number: str, units: Iterable[ShardLines], config) -> list:
    return sorted(units)


def _write_read(folder: str, number: str, counts: Iterable[tuple[str, int]], config) -> dict:
    total: collections.Counter[str] = collections.Counter()
    for kind, count in counts:
        total[kind] += count
    return dict(total)


def _write_answers(folder: str, number: str, counts: Iterable[tuple[str, int]], config) -> None:
    # The commonest first; equals by name.
    answers = [answer for answer, _ in sorted(counts, key=lambda pair: (-pair[1], pair[0]))]
    text = "".join(f"{answer}\n" for answer in answers)
    pathlib.Path(folder, ANSWERS).write_text(text, encoding="utf-8")


_WRITERS = {
    SCENE: _write_scenes,
    REJECT: _write_rejects,
    LINES: _write_lines,
    READ: _write_read,
    ANSWER: _write_answers,
}


def _finish(folder: pathlib.Path, work: pathlib.Path, complete: bool) -> dict[str, Any]:
    """Writes the rejects with their line numbers, and the summary; returns the latter."""
    written: dict[str, Any] = {"images": set(), "sentences": 0, "answers": 0}
    sizes: set[int] = set()
    for path in sorted(work.glob(f"{SCENE}-*.counts")):
        counts = json.loads(path.read_text(encoding="utf-8"))
        # An image may be in several scenes.
        written["images"].update(counts["written"]["images"])
        written["sentences"] += counts["written"]["sentences"]
        written["answers"] += counts["written"]["answers"]
        sizes.update(counts["feature_sizes"])
    rejected, reasons = _number_rejects(folder, work)
    summary: dict[str, Any] = {}
    for kind in KINDS.values():
        out = len(written[kind]) if kind == "images" else written[kind]
        summary[kind] = {"read": out + rejected[kind], "written": out, "rejected": rejected[kind]}
    _check_sum(summary, _counts(work, READ, {}), complete)
    summary["reasons"] = dict(sorted(reasons.items()))
    if len(sizes) > 1:
        raise InputError(
            f"the images have regions of {' and of '.join(map(str, sorted(sizes)))} features; "
            "a model reads one width"
        )
    text = json.dumps(summary, indent=1, ensure_ascii=False) + "\n"
    (folder / INGEST_SUMMARY).write_text(text, encoding="utf-8")
    return summary


def _number_rejects(folder: pathlib.Path, work: pathlib.Path):
    """Writes `rejects-*.jsonl`; returns how many there are by kind, and by reason."""
    first_line = absolute_lines(ShardLines(*unit) for unit in _counts(work, LINES, []))
    rejected: collections.Counter[str] = collections.Counter()
    reasons: collections.Counter[str] = collections.Counter()
    for path in sorted(work.glob("rejects-*.jsonl")):
        lines = []
        for text in path.read_text(encoding="utf-8").splitlines():
            reject = json.loads(text)
            unit = reject.pop("unit")
            if unit is not None and reject["line"] is not None:
                reject["line"] += first_line[reject["file"], unit]
            rejected[KINDS[reject["kind"]]] += 1
            reasons[reject["reason"]] += 1
            lines.append(reject)
        lines.sort(key=lambda r: (r["kind"], r["file"], r["line"] or 0, r["id"], r["reason"]))
        text = "".join(f"{json.dumps(line, sort_keys=True, ensure_ascii=True)}\n" for line in lines)
        (folder / path.name).write_text(text, encoding="utf-8")
    return rejected, reasons


def _counts(work: pathlib.Path, tag: str, none: Any) -> Any:
    paths = list(work.glob(f"{tag}-*.counts"))
    return json.loads(paths[0].read_text(encoding="utf-8")) if paths else none


def _check_sum(summary: dict[str, Any], read: dict[str, int], complete: bool) -> None:
    """What came in is what went out or was rejected; in a trial, sentences may be left out."""
    for kind, name in KINDS.items():
        told = summary[name]["read"]
        if kind in read and read[kind] != told and (complete or kind == "image"):
            raise RuntimeError(f"{read[kind]} {name} were read, but {told} are accounted for")


def _check(summary, config: IngestConfig, output: pathlib.Path, partial: pathlib.Path) -> None:
    """Raises unless something was written, and not too much was rejected."""
    if not summary["images"]["written"]:
        raise InputError(f"{output}: nothing could be written; {_most_common(summary)}")
    for kind in ("images", "sentences"):
        read, rejected = summary[kind]["read"], summary[kind]["rejected"]
        if rejected > config.max_reject_fraction * read:
            kept = output.with_name(f"{output.name}-rejected")
            shutil.rmtree(kept, ignore_errors=True)
            kept.mkdir(parents=True)
            for path in (*partial.glob("rejects-*.jsonl"), partial / INGEST_SUMMARY):
                path.rename(kept / path.name)
            raise GateError(
                f"{rejected:,} of {read:,} {kind} were rejected, more than the "
                f"{config.max_reject_fraction:.2%} of --max-reject-fraction; "
                f"{_most_common(summary)}; see {kept}"
            )


def _most_common(summary: dict[str, Any]) -> str:
    if not summary["reasons"]:
        return "the source gave no image"
    reason, count = max(summary["reasons"].items(), key=lambda item: item[1])
    return f"the commonest reason ({count} times): {reason}"
