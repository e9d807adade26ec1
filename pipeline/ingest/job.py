"""The ingestion job, which writes records, rejects and a summary into one folder."""

import collections
import contextlib
import json
import os
import pathlib
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import apache_beam as beam

from lxmert_tf.data.sidecars import EXTRACTOR, INGEST_SUMMARY, write_extractor
from lxmert_tf.errors import GateError, InputError
from lxmert_tf.storage import is_url, join
from pipeline.beam.job import run_job
from pipeline.beam.progress import JobProgress
from pipeline.beam.shared_files import (
    explaining,
    find_files,
    move,
    new_path,
    open_new,
    read_text,
    use_options,
    write_text,
)
from pipeline.beam.spill import Spilled, read_spilled
from pipeline.beam.workers import check_workers, noting_errors, stopped_by_signals
from pipeline.ingest.config import IngestConfig
from pipeline.ingest.elements import (
    BY_NUMBER,
    MISSING,
    UNUSED,
    JoinedScene,
    ReadCount,
    Reject,
    sum_counts,
)
from pipeline.ingest.files import closing_archives
from pipeline.ingest.image_names import readable
from pipeline.ingest.inputs import Inputs, inputs_of
from pipeline.ingest.output_folder import (
    OutputFolder,
    check_output,
    output_folder,
    remove_folder,
    sibling,
)
from pipeline.ingest.parsers.text_rows import PieceLines, lines_before
from pipeline.ingest.readers.pictures import fresh_extractors
from pipeline.ingest.region_store import RegionStoreReader
from pipeline.ingest.scenes import ReadScenes
from pipeline.ingest.shards import hash_shard, random_order
from pipeline.ingest.tfrecord import write_record
from pipeline.ingest.transforms.serialize_scenes import scene_records

# The summary in a folder of rejects, and in no other.
REJECTS_SUMMARY = "rejects-summary.json"
ANSWERS = "answers.txt"
# Endings of the names of record files, and of files of rejects.
RECORDS, REJECTS = ".tfrecord", ".jsonl"
# The summary's names for the kinds of rejects and counts.
PLURALS = {"image": "images", "sentence": "sentences", "answer": "answers"}
# Reasons that follow from rejects of another kind.
CONSEQUENCES = {MISSING: "image"}
NOTHING = "no records were written"
ALL_UNUSED = "no sentence is about any of the images"
# Files that workers write besides records and rejects. The last lists all of them.
READ = "read.json"
LINES = "lines.json"
INDEX = "index.json"


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
        output: The folder, as a path on a disk that all workers share, or as a URL that Beam knows
            (gs://, s3://, hdfs://); it must be missing, empty, or unfinished.
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
    output = str(output).rstrip("/") if is_url(output) else str(pathlib.Path(output))
    use_options(beam_args)
    check_output(output)
    check_output(_rejects_folder(output), REJECTS_SUMMARY)
    inputs = inputs_of(config)
    with (
        stopped_by_signals(),
        fresh_extractors(),
        closing_archives(),
        output_folder(output) as folder,
    ):
        if not is_url(folder.work):
            os.mkdir(folder.work)
        _run_beam(config, inputs, folder.work, beam_args, workers)
        written = _read_index(folder.work)
        rejects = _write_rejects(folder, written)
        read = {kind: ReadCount(kind, *of) for kind, of in _read_json(written, READ, {}).items()}
        summary = _write_summary(folder, written, rejects, read, inputs)
        folder.check()
        for name in written:
            if name == ANSWERS or name.endswith(RECORDS):
                move(written[name].path, folder.path_of(name))
        remove_folder(folder.work)
        try:
            _check_written(summary, rejects, read.get(UNUSED), config, inputs.complete)
            if config.min_answer_count is not None and ANSWERS not in written:
                raise GateError(
                    f"no answer is given {config.min_answer_count:,} times (--min-answer-count)"
                )
        except (GateError, InputError) as error:
            if not rejects and isinstance(error, InputError):
                raise
            kept = _keep_rejects(folder, written, output)
            raise type(error)(f"{error}; see {kept}") from error
        if inputs.has_pictures:
            _write_extractor(folder, config.extractor)
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


def _write_extractor(folder: OutputFolder, extractor: dict[str, Any]) -> None:
    with tempfile.TemporaryDirectory() as local:
        write_extractor(local, extractor)
        write_text(folder.path_of(EXTRACTOR), read_text(join(local, EXTRACTOR)))


def _rejects_folder(output: str) -> str:
    return sibling(output, "-rejected")


def _keep_rejects(folder: OutputFolder, written: Mapping[str, "Written"], output: str) -> str:
    kept = _rejects_folder(output)
    with output_folder(kept, REJECTS_SUMMARY) as new:
        for name in written:
            if name.endswith(REJECTS):
                move(folder.path_of(name), new.path_of(name))
        move(folder.path_of(INGEST_SUMMARY), new.path_of(REJECTS_SUMMARY))
    return kept if is_url(output) or os.path.isabs(output) else os.path.relpath(kept)


def _remove_rejects_of_a_failure(output: str) -> None:
    kept = _rejects_folder(output)
    with contextlib.suppress(InputError, OSError):
        if find_files(kept, REJECTS_SUMMARY):
            remove_folder(kept)


# The Beam pipeline. Its workers write into `work`.


class Written(NamedTuple):
    """A file that a worker wrote. Each attempt writes another, and the last step lists which count.

    Args:
        name: The name in the result, or of what the file holds.
        path: The file, in the work folder.
        images: How many images are in its records that have one image each.
        paired_images: Ids of the images in its other records, each once.
        sentences: How many sentences are in its records.
        answers: How many answers they have.
    """

    name: str
    path: str
    images: int = 0
    paired_images: Sequence[str] = ()
    sentences: int = 0
    answers: int = 0


def _run_beam(
    config: IngestConfig, inputs: Inputs, work: str, beam_args: Iterable[str], workers: int
) -> None:
    with JobProgress(work, inputs.size):
        run_job(lambda root: _add_transforms(root, config, inputs, work), work, beam_args, workers)


def _add_transforms(root: beam.Pipeline, config: IngestConfig, inputs: Inputs, work: str) -> None:
    assert config.records is not None  # configurations of several splits are read split by split
    layout = config.records.layout
    scenes = root | ReadScenes(config, inputs, work)

    def lines_of(lines: Callable[[Any], Iterable[str]]) -> Callable[[str, Any], Written]:
        return lambda name, elements: write_lines(work, name, lines(elements))

    written = [
        scenes.joined
        | "WriteRecords"
        >> WriteShards(
            lambda spilled: spilled.partition,
            config.shards,
            f"scenes-{{}}{RECORDS}",
            lambda name, spilled: write_records(work, name, spilled, layout),
        ),
        scenes.rejects
        | "WriteRejects"
        >> WriteShards(
            lambda reject: hash_shard(reject.id, config.shards),
            config.shards,
            f"rejects-{{}}{REJECTS}",
            lines_of(_as_json),
        ),
        scenes.counts | "WriteCounts" >> WriteOnce(READ, lines_of(lambda c: [_counts_json(c)])),
        scenes.lines
        | "WriteLines" >> WriteOnce(LINES, lines_of(lambda lines: [json.dumps(sorted(lines))])),
    ]
    if scenes.answers is not None:
        written.append(
            scenes.answers | "WriteAnswers" >> WriteOnce(ANSWERS, lines_of(most_common_first))
        )
    # The last step needs all others, because Beam's Dask runner runs only what it needs.
    _ = (
        written
        | beam.Flatten()
        | "WriteIndex" >> WriteOnce(INDEX, lambda name, files: _write_index(work, name, files))
    )


def _as_json(rejects: Iterable[Reject]) -> Iterable[str]:
    return (json.dumps(reject._asdict(), ensure_ascii=True) for reject in rejects)


def _write_index(work: str, name: str, files: Iterable[Written]) -> None:
    with noting_errors(work):
        write_text(join(work, name), json.dumps(sorted(files)))


class WriteShards(beam.PTransform):
    """Spread elements over shards and write each shard; emits what `write` returns.

    Args:
        shard_of: Returns the shard of an element.
        shards: Number of shards.
        name: Names a shard when it is formatted with its number, such as "00000-of-00004".
        write: Called with a shard's name and its elements.
    """

    def __init__(
        self,
        shard_of: Callable[[Any], int],
        shards: int,
        name: str,
        write: Callable[[str, Iterable[Any]], Any],
    ):
        super().__init__()
        self._shard_of, self._shards, self._name, self._write = shard_of, shards, name, write

    def expand(self, elements: beam.PCollection) -> beam.PCollection:
        """Group the elements by shard."""
        shards, name, write = self._shards, self._name, self._write
        return (
            elements
            | "ByShard" >> beam.WithKeys(self._shard_of)
            | beam.GroupByKey()
            | "Write"
            >> beam.MapTuple(
                lambda shard, group: write(name.format(f"{shard:05d}-of-{shards:05d}"), group)
            )
        )


class WriteOnce(beam.PTransform):
    """Write all elements in one call, none if there are none; emits what `write` returns.

    Args:
        name: Name of the file.
        write: Called with the name and the elements.
    """

    def __init__(self, name: str, write: Callable[[str, Iterable[Any]], Any]):
        super().__init__()
        self._name, self._write = name, write

    def expand(self, elements: beam.PCollection) -> beam.PCollection:
        """Group all elements."""
        name, write = self._name, self._write
        return (
            elements
            | "Together" >> beam.WithKeys(0)
            | beam.GroupByKey()
            | "Write" >> beam.MapTuple(lambda _, group: write(name, group))
        )


def write_records(work: str, name: str, spilled: Iterable[Spilled], layout: str) -> Written:
    """Write a record file whose order depends on its content alone, and looks random.

    Names of images often say what is in them, and training shuffles only what is close together.

    Args:
        work: The work folder.
        name: Name of the file in the result.
        spilled: Its scenes, from `place_scene`.
        layout: "grouped" or "flat".

    Returns:
        The file, with counts.
    """
    images, paired_images = 0, set[str]()
    sentences, answers = 0, 0
    path = new_path(work, RECORDS)
    store = RegionStoreReader()
    with noting_errors(work), explaining(path), open_new(path) as file:
        for joined in scenes_in_order(spilled, work):
            if len(joined.image_ids) == 1:
                images += 1
            else:
                paired_images.update(joined.image_ids)
            sentences += len(joined.sentences)
            answers += sum(len(sentence.answers) for sentence in joined.sentences)
            for record in scene_records(joined, store, layout):
                write_record(file, record)
    store.close()
    return Written(name, path, images, sorted(paired_images), sentences, answers)


def scenes_in_order(spilled: Iterable[Spilled], work: str) -> Iterator[JoinedScene]:
    """Yield the scenes of a shard in `random_order`, of which few are in memory at once."""
    for scenes in read_spilled(spilled, work):
        yield from sorted(scenes, key=random_order)


def write_lines(work: str, name: str, lines: Iterable[str]) -> Written:
    """Write a text file into the work folder.

    Args:
        work: The work folder.
        name: Name of the file in the result.
        lines: The lines.
    """
    path = new_path(work, f".{name}")
    with noting_errors(work):
        write_text(path, "".join(f"{line}\n" for line in lines))
    return Written(name, path)


def most_common_first(counts: Iterable[tuple[str, int]]) -> list[str]:
    """Return the answers of (answer, count) pairs; answers with one count are in order of name."""
    return [answer for answer, _ in sorted(counts, key=lambda pair: (-pair[1], pair[0]))]


def _counts_json(counts: Iterable[ReadCount]) -> str:
    """Return the number and the first example, in order of text, of each kind."""
    return json.dumps({kind: (count, example) for kind, count, example in sum_counts(counts)})


# Run in the process that started the job.


def _read_index(work: str) -> dict[str, Written]:
    """Return the files that workers wrote, by name, in order of name."""
    found = [path for path in find_files(work, INDEX) if path == join(work, INDEX)]
    files = [Written(*values) for path in found for values in json.loads(read_text(path))]
    return {file.name: file for file in files}


def _write_rejects(
    folder: OutputFolder, written: Mapping[str, Written]
) -> dict[tuple[str, str], Rejects]:
    """Write `rejects-*.jsonl` in a fixed order; return the rejects by kind and reason."""
    # Lines count from the start of a piece until the number of lines of all pieces is known.
    before = lines_before(PieceLines(*lines) for lines in _read_json(written, LINES, default=[]))
    found: dict[tuple[str, str], Rejects] = {}
    for name in written:
        if not name.endswith(REJECTS):
            continue
        rejects = []
        for text in read_text(written[name].path).splitlines():
            reject = Reject(**json.loads(text))
            if reject.piece is not None and reject.line is not None:
                line = reject.line + before[reject.file, reject.piece]
                reject = reject._replace(line=line)
            rejects.append(reject)
        rejects.sort(key=lambda r: (r.kind, r.file, r.line or 0, r.id, r.reason))
        for reject in rejects:
            known = found.get((reject.kind, reject.reason), Rejects(0, reject))
            found[reject.kind, reject.reason] = known._replace(count=known.count + 1)
        write_text(folder.path_of(name), "".join(f"{_reject_json(r)}\n" for r in rejects))
    return found


def _reject_json(reject: Reject) -> str:
    values = {name: value for name, value in reject._asdict().items() if name != "piece"}
    return json.dumps(values, sort_keys=True, ensure_ascii=True)


def _write_summary(
    folder: OutputFolder,
    files: Mapping[str, Written],
    rejects: Mapping[tuple[str, str], Rejects],
    read: Mapping[str, ReadCount],
    inputs: Inputs,
) -> dict[str, Any]:
    """Write and return the summary, after a check that nothing was lost."""
    paired: set[str] = set()
    written: collections.Counter[str] = collections.Counter()
    for file in files.values():
        # An image may be in several pairs.
        paired.update(file.paired_images)
        written.update(image=file.images, sentence=file.sentences, answer=file.answers)
    written["image"] += len(paired)
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
    write_text(folder.path_of(INGEST_SUMMARY), text)
    return summary


def _sum_by(
    key: Callable[[tuple[str, str]], str], counts: Mapping[tuple[str, str], int]
) -> collections.Counter[str]:
    total: collections.Counter[str] = collections.Counter()
    for kind_and_reason, count in counts.items():
        total[key(kind_and_reason)] += count
    return total


def _read_json(written: Mapping[str, Written], name: str, default: Any) -> Any:
    return json.loads(read_text(written[name].path)) if name in written else default
