"""The ingestion job, which writes records, rejects and a summary into one folder."""

import collections
import hashlib
import json
import os
import pathlib
import shutil
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

import apache_beam as beam

from lxmert_tf.atomic_write import atomic_directory, check_replaceable
from lxmert_tf.data.sidecars import INGEST_SUMMARY, write_extractor
from lxmert_tf.errors import GateError, InputError
from pipeline.beam.job import run_job
from pipeline.beam.progress import JobProgress
from pipeline.beam.workers import check_workers, noting_errors, stopped_by_signals
from pipeline.ingest.config import IngestConfig
from pipeline.ingest.elements import (
    BY_NUMBER,
    MISSING,
    UNUSED,
    JoinedScene,
    ReadCount,
    Reject,
)
from pipeline.ingest.files import closing_archives
from pipeline.ingest.image_names import readable
from pipeline.ingest.inputs import Inputs, inputs_of
from pipeline.ingest.parsers.text_rows import PieceLines, lines_before
from pipeline.ingest.readers.pictures import fresh_extractors
from pipeline.ingest.region_store import RegionStoreReader
from pipeline.ingest.scenes import ReadScenes
from pipeline.ingest.tfrecord import write_record
from pipeline.ingest.transforms.serialize_scenes import scene_records

# The summary in a folder of rejects, and in no other.
REJECTS_SUMMARY = "rejects-summary.json"
ANSWERS = "answers.txt"
# The summary's names for the kinds of rejects and counts.
PLURALS = {"image": "images", "sentence": "sentences", "answer": "answers"}
# Reasons that follow from rejects of another kind.
CONSEQUENCES = {MISSING: "image"}
NOTHING = "no records were written"
ALL_UNUSED = "no sentence is about any of the images"
# Files that workers leave in the work folder.
WRITTEN = "written-*.json"
READ = "read.json"
LINES = "lines.json"


class Rejects(NamedTuple):
    """The rejects of one kind with one reason.

    Args:
        count: How many.
        example: One of them.
    """

    count: int  # type: ignore[assignment]  # hides tuple.count
    example: Reject


def run_ingest(
    config: IngestConfig, output, beam_args: Iterable[str] = (), workers: int = 1
) -> dict[str, Any]:
    """Write the records of one split into a new folder.

    The folder holds `scenes-*.tfrecord`, `rejects-*.jsonl`, `ingest-summary.json`, `extractor.json`
    if images were read, and `answers.txt` if the answer table was built from the data. It appears
    under its name only when it is complete. The same input gives the same bytes with any runner
    and any number of workers.

    Args:
        config: What to ingest, with `records`.
        output: The folder, on a disk that all workers share; it must be missing or empty.
        beam_args: Options of another Beam runner; they override `DIRECT_RUNNER`.
        workers: Number of processes on this machine.

    Returns:
        The summary, a dict. "images", "sentences", and "answers" have the counts "read", "written",
        and "rejected", and "reasons" counts the rejects by reason. If there are any,
        "unused_images" counts the images that are left out because no sentence is about them,
        "found_by_number" those whose name in the annotations has only the number in common, and
        "ignored" lists the files of other kinds that patterns found.

    Raises:
        InputError: An input is missing or of an unknown format, the folder is not empty, or there
            are no images or no sentences.
        GateError: Nothing is left to write, no answer reaches `min_answer_count`, or more than
            `max_reject_fraction` of the images or sentences were rejected. The rejects are kept in
            a folder with the same name and the suffix `-rejected`, until an ingestion into `output`
            succeeds.

    Example:
        >>> config = IngestConfig("easy_vqa", SplitConfig("train", limit=100))
        >>> run_ingest(config, "build/records")["images"]["written"]
        100
    """
    check_workers(workers, beam_args)
    output = pathlib.Path(output)
    check_replaceable(output)
    check_replaceable(_rejects_folder(output), REJECTS_SUMMARY)
    inputs = inputs_of(config)
    with (
        stopped_by_signals(),
        fresh_extractors(),
        closing_archives(),
        atomic_directory(output) as folder,
    ):
        work = folder / "work"
        work.mkdir()
        _run_beam(config, inputs, folder, work, beam_args, workers)
        rejects = _write_rejects(folder, work)
        read = {kind: ReadCount(kind, *of) for kind, of in _read_json(work / READ, {}).items()}
        summary = _write_summary(folder, work, rejects, read, inputs)
        shutil.rmtree(work)
        try:
            _check_written(summary, rejects, read.get(UNUSED), config, inputs.complete)
            if config.min_answer_count is not None and not (folder / ANSWERS).exists():
                raise GateError(
                    f"no answer is given {config.min_answer_count:,} times (--min-answer-count)"
                )
        except (GateError, InputError) as error:
            if not rejects and isinstance(error, InputError):
                raise
            raise type(error)(f"{error}; see {_keep_rejects(folder, output)}") from error
        if inputs.has_pictures:
            write_extractor(folder, config.extractor)
    _remove_rejects_of_a_failure(output)
    return summary


def check_rejects(
    read: Mapping[str, int],
    rejects: Mapping[tuple[str, str], int],
    max_fraction: float,
    setting: str,
) -> None:
    """Raise a GateError if too many images or sentences were rejected, or all images left out.

    Args:
        read: How many images and sentences were read, by kind ("image", "sentence"), and how many
            images have no sentence (`UNUSED`).
        rejects: How many were rejected, by kind and reason.
        max_fraction: The largest fraction of a kind that may be rejected, in 0..1.
        setting: The option or the key that sets it, for the message.
    """
    for kind in ("image", "sentence"):
        rejected, total = _rejected(kind, rejects), read.get(kind, 0)
        if rejected > max_fraction * total:
            raise GateError(
                f"{PLURALS[kind]} rejected: {rejected:,} of {total:,}, more than the limit of "
                f"{max_fraction:.2%} ({setting}); {_most_common(kind, rejects)}"
            )
    rejected, unused = _rejected("image", rejects), read.get(UNUSED, 0)
    if read.get("image") and rejected + unused >= read["image"]:
        kind = "image" if rejected > unused else "sentence"
        cause = _most_common(kind, rejects) if _rejected(kind, rejects) else ALL_UNUSED
        raise GateError(f"{NOTHING}; {cause}")


def _check_written(
    summary: Mapping[str, Any],
    rejects: Mapping[tuple[str, str], Rejects],
    unused: ReadCount | None,
    config: IngestConfig,
    complete: bool,
) -> None:
    """Raise an InputError or a GateError that tells why too little was written."""
    read = {kind: summary[plural]["read"] for kind, plural in PLURALS.items()}
    # A trial counts only sentences about its images.
    for kind in ("image", "sentence") if complete else ("image",):
        if not read[kind]:
            raise InputError(f"{NOTHING}; the inputs have no {PLURALS[kind]}")
    missing = rejects.get(("sentence", MISSING))
    if unused and missing and unused.count == read["image"]:
        raise GateError(
            f"{NOTHING}; the names of the images differ, such as image {unused.example!r} and a "
            f"sentence about {missing.example.image!r} (see Names of images in docs/sources.md)"
        )
    read[UNUSED] = unused.count if unused else 0
    counts = {key: same.count for key, same in rejects.items()}
    check_rejects(read, counts, config.max_reject_fraction, "--max-reject-fraction")


def _rejected(kind: str, rejects: Mapping[tuple[str, str], int]) -> int:
    return sum(count for key, count in rejects.items() if key[0] == kind)


def _most_common(kind: str, rejects: Mapping[tuple[str, str], int]) -> str:
    """Return the most common reason of a kind, and if it is a consequence, the cause."""
    reasons = {reason: count for (of, reason), count in rejects.items() if of == kind}
    reason = max(reasons, key=reasons.__getitem__)
    of_all = f"{reasons[reason]:,} of {sum(reasons.values()):,}"
    text = f"the most common reason ({of_all}): {reason}"
    other = CONSEQUENCES.get(reason)
    causes = {
        key: count
        for key, count in rejects.items()
        if key[0] == other and key[1] not in CONSEQUENCES
    }
    if not other or not causes:
        return text
    return (
        f"{text}; {PLURALS[other]} rejected: {_rejected(other, causes):,}, "
        f"{_most_common(other, causes)}"
    )


def _rejects_folder(output: pathlib.Path) -> pathlib.Path:
    # Absolute, so that "." has a name.
    output = pathlib.Path(os.path.abspath(output))
    return output.with_name(f"{output.name}-rejected")


def _keep_rejects(folder: pathlib.Path, output: pathlib.Path) -> str:
    kept = _rejects_folder(output)
    with atomic_directory(kept, REJECTS_SUMMARY) as new:
        for path in folder.glob("rejects-*.jsonl"):
            path.rename(new / path.name)
        (folder / INGEST_SUMMARY).rename(new / REJECTS_SUMMARY)
    return os.path.relpath(kept) if not output.is_absolute() else str(kept)


def _remove_rejects_of_a_failure(output: pathlib.Path) -> None:
    kept = _rejects_folder(output)
    if (kept / REJECTS_SUMMARY).is_file():
        shutil.rmtree(kept, ignore_errors=True)


# The Beam pipeline. Its workers write into `folder`, and counts into `work`.


def _run_beam(
    config: IngestConfig,
    inputs: Inputs,
    folder: pathlib.Path,
    work: pathlib.Path,
    beam_args: Iterable[str],
    workers: int,
) -> None:
    with JobProgress(work, inputs.size):
        run_job(
            lambda root: _add_transforms(root, config, inputs, folder, work),
            work,
            beam_args,
            workers,
        )


def _add_transforms(
    root: beam.Pipeline,
    config: IngestConfig,
    inputs: Inputs,
    folder: pathlib.Path,
    work: pathlib.Path,
) -> None:
    assert config.records is not None  # configurations of several splits are read split by split
    layout = config.records.layout
    scenes = root | ReadScenes(config, inputs, work)
    written = [
        scenes.joined
        | "WriteRecords"
        >> WriteShards(
            lambda joined: "\n".join(joined.image_ids),
            config.shards,
            lambda name, joined: write_records(folder / f"scenes-{name}.tfrecord", joined, layout),
        ),
        scenes.rejects
        | "WriteRejects"
        >> WriteShards(
            lambda reject: reject.id,
            config.shards,
            _noting(
                work,
                lambda name, rejects: write_lines(
                    work / f"rejects-{name}.jsonl",
                    (json.dumps(reject._asdict(), ensure_ascii=True) for reject in rejects),
                ),
            ),
        ),
        scenes.counts
        | "WriteCounts"
        >> WriteOnce(
            _noting(work, lambda counts: (work / READ).write_text(json.dumps(_add_counts(counts))))
        ),
        scenes.lines
        | "WriteLines"
        >> WriteOnce(
            _noting(work, lambda lines: (work / LINES).write_text(json.dumps(sorted(lines))))
        ),
    ]
    if scenes.answers is not None:
        written.append(
            scenes.answers
            | "WriteAnswers"
            >> WriteOnce(
                _noting(
                    work, lambda counts: write_lines(folder / ANSWERS, most_common_first(counts))
                )
            )
        )
    # Beam's Dask runner runs only what the last transform needs.
    _ = written | beam.Flatten()


def _noting(folder: pathlib.Path, write: Callable[..., Any]) -> Callable[..., None]:
    """Return a function that calls `write` and notes its errors in a folder."""

    def write_or_note(*arguments: Any) -> None:
        with noting_errors(folder):
            write(*arguments)

    return write_or_note


class WriteShards(beam.PTransform):
    """Spread elements over shards and write each shard once.

    Args:
        key: Returns the string of an element whose hash selects its shard.
        shards: Number of shards.
        write: Called with a shard's name, such as "00000-of-00004", and its elements.
    """

    def __init__(
        self,
        key: Callable[[Any], str],
        shards: int,
        write: Callable[[str, Iterable[Any]], None],
    ):
        super().__init__()
        self._key, self._shards, self._write = key, shards, write

    def expand(self, elements: beam.PCollection) -> beam.PCollection:
        """Group the elements by shard."""
        key, shards, write = self._key, self._shards, self._write
        return (
            elements
            | "ByShard" >> beam.WithKeys(lambda element: hash_shard(key(element), shards))
            | beam.GroupByKey()
            | "Write"
            >> beam.MapTuple(lambda shard, group: write(f"{shard:05d}-of-{shards:05d}", group))
        )


class WriteOnce(beam.PTransform):
    """Write all elements in one call; none if there are no elements.

    Args:
        write: Called with the elements.
    """

    def __init__(self, write: Callable[[Iterable[Any]], Any]):
        super().__init__()
        self._write = write

    def expand(self, elements: beam.PCollection) -> beam.PCollection:
        """Group all elements."""
        write = self._write
        return (
            elements
            | "Together" >> beam.WithKeys(0)
            | beam.GroupByKey()
            | "Write" >> beam.MapTuple(lambda _, group: write(group))
        )


def hash_shard(key: str, shards: int) -> int:
    """Return the shard of a key, from 0 to `shards` - 1."""
    digest = hashlib.sha256(key.encode("utf-8", "surrogatepass")).digest()
    # Other bits than `hash_percent` uses, because a split by percent must still fill all shards.
    return int.from_bytes(digest[8:16], "big") % shards


def write_records(path: pathlib.Path, scenes: Iterable[JoinedScene], layout: str) -> None:
    """Write a record file whose order depends on its content alone, and its counts.

    Args:
        path: The file. Counts go to the folder `work` beside it.
        scenes: The scenes.
        layout: "grouped" or "flat".
    """
    with noting_errors(path.parent / "work"):
        _write_records(path, scenes, layout)


def _write_records(path: pathlib.Path, scenes: Iterable[JoinedScene], layout: str) -> None:
    images: set[str] = set()
    sentences, answers = 0, 0
    store = RegionStoreReader()
    with path.open("wb") as file:
        for joined in sorted(scenes, key=lambda joined: (joined.image_ids, joined.sentences[0].id)):
            images.update(joined.image_ids)
            sentences += len(joined.sentences)
            answers += sum(len(sentence.answers) for sentence in joined.sentences)
            for record in scene_records(joined, store, layout):
                write_record(file, record)
    store.close()
    counts = {
        "images": sorted(images),
        "sentences": sentences,
        "answers": answers,
    }
    path = path.parent / "work" / WRITTEN.replace("*", path.stem)
    path.write_text(json.dumps(counts), encoding="utf-8")


def write_lines(path: pathlib.Path, lines: Iterable[str]) -> None:
    """Write a text file."""
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")


def most_common_first(counts: Iterable[tuple[str, int]]) -> list[str]:
    """Return the answers of (answer, count) pairs; answers with one count are in order of name."""
    return [answer for answer, _ in sorted(counts, key=lambda pair: (-pair[1], pair[0]))]


def _add_counts(counts: Iterable[ReadCount]) -> dict[str, tuple[int, str]]:
    """Return the number and the first example, in order of text, of each kind."""
    total: dict[str, tuple[int, str]] = {}
    for kind, count, example in counts:
        known, first = total.get(kind, (0, example))
        total[kind] = known + count, min(first, example)
    return total


# Run in the process that started the job.


def _write_rejects(folder: pathlib.Path, work: pathlib.Path) -> dict[tuple[str, str], Rejects]:
    """Write `rejects-*.jsonl` in a fixed order; return the rejects by kind and reason."""
    # Lines count from the start of a piece until the number of lines of all pieces is known.
    before = lines_before(PieceLines(*lines) for lines in _read_json(work / LINES, default=[]))
    found: dict[tuple[str, str], Rejects] = {}
    for path in sorted(work.glob("rejects-*.jsonl")):
        rejects = []
        for text in path.read_text(encoding="utf-8").splitlines():
            reject = Reject(**json.loads(text))
            if reject.piece is not None and reject.line is not None:
                line = reject.line + before[reject.file, reject.piece]
                reject = reject._replace(line=line)
            rejects.append(reject)
        rejects.sort(key=lambda r: (r.kind, r.file, r.line or 0, r.id, r.reason))
        for reject in rejects:
            known = found.get((reject.kind, reject.reason), Rejects(0, reject))
            found[reject.kind, reject.reason] = known._replace(count=known.count + 1)
        write_lines(folder / path.name, map(_reject_json, rejects))
    return found


def _reject_json(reject: Reject) -> str:
    values = {name: value for name, value in reject._asdict().items() if name != "piece"}
    return json.dumps(values, sort_keys=True, ensure_ascii=True)


def _write_summary(
    folder: pathlib.Path,
    work: pathlib.Path,
    rejects: Mapping[tuple[str, str], Rejects],
    read: Mapping[str, ReadCount],
    inputs: Inputs,
) -> dict[str, Any]:
    """Write and return the summary, after a check that nothing was lost."""
    images = set()
    written: collections.Counter[str] = collections.Counter()
    for path in work.glob(WRITTEN):
        counts = _read_json(path, default={})
        # An image may be in several scenes.
        images.update(counts["images"])
        written.update(sentence=counts["sentences"], answer=counts["answers"])
    written["image"] = len(images)
    counts = {key: same.count for key, same in rejects.items()}
    rejected = _sum_by(lambda key: key[0], counts)
    unused = read[UNUSED].count if UNUSED in read else 0
    summary: dict[str, Any] = {}
    for kind, plural in PLURALS.items():
        total = written[kind] + rejected[kind] + (unused if kind == "image" else 0)
        summary[plural] = {"read": total, "written": written[kind], "rejected": rejected[kind]}
        # A trial may leave sentences out.
        is_exact = kind in read and (inputs.complete or kind == "image")
        if is_exact and read[kind].count != total:
            raise RuntimeError(f"{plural} read: {read[kind].count}, accounted for: {total}")
    summary["reasons"] = dict(sorted(_sum_by(lambda key: key[1], counts).items()))
    if unused:
        summary["unused_images"] = unused
    if BY_NUMBER in read:
        summary["found_by_number"] = read[BY_NUMBER].count
    if inputs.ignored:
        summary["ignored"] = list(map(readable, inputs.ignored))
    text = json.dumps(summary, indent=1, ensure_ascii=False) + "\n"
    (folder / INGEST_SUMMARY).write_text(text, encoding="utf-8")
    return summary


def _sum_by(
    key: Callable[[tuple[str, str]], str], counts: Mapping[tuple[str, str], int]
) -> collections.Counter[str]:
    total: collections.Counter[str] = collections.Counter()
    for kind_and_reason, count in counts.items():
        total[key(kind_and_reason)] += count
    return total


def _read_json(path: pathlib.Path, default: Any) -> Any:
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else default
