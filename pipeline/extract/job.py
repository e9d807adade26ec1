"""The extraction job, which turns pictures into a region file."""

import collections
import contextlib
import dataclasses
import json
import os
import pathlib
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Annotated, Any

import apache_beam as beam
from pydantic import Field

from lxmert_tf.atomic_write import PARTIAL, atomic_file, check_replaceable, locked
from lxmert_tf.config_file import check_fields
from lxmert_tf.data.scene import SceneImage
from lxmert_tf.durable import rename_durably
from lxmert_tf.errors import GateError, InputError
from lxmert_tf.regions.registry import make_extractor
from pipeline.beam.job import run_job
from pipeline.beam.progress import JobProgress, WorkerProgress
from pipeline.beam.workers import check_workers, noting_errors, stopped_by_signals
from pipeline.extract.formats import FORMATS, Format, Totals, check_files
from pipeline.extract.parts import (
    REJECTS,
    Part,
    PartResult,
    compute_part,
    find_pictures,
    read_images,
    read_result,
    split_into_parts,
)
from pipeline.ingest.elements import Reject
from pipeline.ingest.files import closing_archives
from pipeline.ingest.image_names import readable
from pipeline.ingest.readers.gqa_hdf5 import info_file_of
from pipeline.ingest.readers.pictures import cached_extractor, fresh_extractors

# Needs the least memory.
BATCH_SIZE = 1
# Endings of files that no format writes.
_OTHER_ENDINGS = (".npz", ".npy", ".gz", ".zip", ".csv", ".txt", ".json", ".lmdb", ".tfrecord")


@dataclasses.dataclass(frozen=True)
class ExtractConfig:
    """One run of `lxmert extract`.

    Args:
        images: Paths, patterns, archives, and folders of pictures.
        extractor: Configuration of the region extractor.
        format: One of `FORMATS`; None to tell it from the output's ending.
        batch_size: Pictures that the extractor gets at once.
        max_reject_fraction: Fraction of the pictures that may be rejected, in 0..1.

    Raises:
        InputError: A value is out of range.
    """

    images: Annotated[tuple[str, ...], Field(min_length=1)]
    extractor: dict[str, Any]
    format: str | None = None
    batch_size: Annotated[int, Field(ge=1)] = BATCH_SIZE
    max_reject_fraction: Annotated[float, Field(ge=0, le=1)] = 0.01

    def __post_init__(self):
        check_fields(self)


def format_of(output, name: str | None = None) -> str:
    """Return the name of the format of an output.

    Args:
        output: Path of the output.
        name: The format that a user chose; None to tell it from the ending.

    Raises:
        InputError: The output's ending is not one of the format.
    """
    ending = pathlib.Path(output).suffix.lower()
    if name is None:
        if ending in _OTHER_ENDINGS:
            raise InputError(
                f"{output}: must end in .tsv or .h5, or be a folder for a file per picture"
            )
        by_ending = (key for key, value in FORMATS.items() if ending in value.endings)
        return next(by_ending, "bottom_up_npz")
    if name not in FORMATS:
        raise InputError(f"unknown format {name!r}; it must be one of {', '.join(FORMATS)}")
    endings = FORMATS[name].endings
    if endings and ending not in endings:
        raise InputError(f"{output}: must end in {' or '.join(endings)} for {name}")
    if not endings and ending in (*_OTHER_ENDINGS, ".tsv", ".h5", ".hdf5"):
        raise InputError(f"{output}: must be a folder for {name}, which is a file per picture")
    return name


def parts_folder(output) -> pathlib.Path:
    """Return the folder that keeps the finished parts of an unfinished extraction."""
    return _beside(output, "-parts")


def run_extract(
    config: ExtractConfig, output, beam_args: Iterable[str] = (), workers: int = 1
) -> dict[str, Any]:
    """Write the regions of pictures into a new file, or a folder with a file per picture.

    The output appears under its name only when it is complete. Finished pictures are kept in
    `parts_folder(output)` until then, so the same call resumes after any interruption. The same
    pictures give the same bytes, with any runner, any number of workers, and any number of
    interruptions. Rejected pictures are listed in `NAME-rejects.jsonl` beside the output.

    Args:
        config: What to extract.
        output: The file or folder, on a disk that all workers share.
        beam_args: Options of another Beam runner.
        workers: Number of processes on this machine.

    Returns:
        The summary, a dict. "images" has the counts "read", "written" and "rejected", and "reused",
        those that were finished before. "reasons" counts the rejects by reason. If there are any,
        "ignored" lists the files of other kinds that patterns found.

    Raises:
        InputError: An input is missing, the extractor cannot be made, or the output exists or has
            an ending of another format.
        GateError: All pictures, or more than `max_reject_fraction` of them, were rejected.

    Example:
        >>> config = ExtractConfig(("photos",), {"name": "detector", "preset": "presets/detector"})
        >>> run_extract(config, "regions.tsv")["images"]["written"]
        12
    """
    check_workers(workers, beam_args)
    output = pathlib.Path(os.path.abspath(output))
    form = FORMATS[format_of(output, config.format)]
    _check_output(output, form)
    make_extractor(config.extractor)
    pictures, ignored = find_pictures(config.images)
    if not pictures:
        raise InputError(f"no pictures found, but other files such as {ignored[0]}")
    accepted = [picture for picture in pictures if not form.refusal(picture.id)]
    rejects = [
        Reject("image", picture.id, reason, picture.file.name)
        for picture in pictures
        if (reason := form.refusal(picture.id))
    ]
    check_files(form, {picture.id: picture.file.name for picture in accepted})
    parts = split_into_parts(accepted, config.extractor, config.batch_size)
    folder = parts_folder(output)
    folder.mkdir(parents=True, exist_ok=True)
    with (
        locked(folder, output),
        stopped_by_signals(),
        fresh_extractors(),
        closing_archives(),
        _removed_if_empty(folder),
    ):
        _remove_others(parts, folder)
        before = _read_results(parts, folder)
        _compute(parts, before, folder, config, beam_args, workers)
        results = _read_results(parts, folder)
        rejects += [Reject("image", *reject) for reject in _rejects_of(results)]
        summary = _summary(results, before, rejects, ignored)
        _write_rejects(rejects, output)
        _check_rejects(summary, rejects, config.max_reject_fraction, output)
        _write_output(parts, results, folder, form, output)
        shutil.rmtree(folder)
    return summary


def _check_output(output: pathlib.Path, form: Format) -> None:
    if not form.endings:
        check_replaceable(output)
        return
    for path in _files_of(output, form):
        if path.exists() and path != output and not output.exists():
            raise InputError(
                f"{path}: belongs to another output; choose a name without a number at its end, or "
                "remove it if it is of an extraction that was killed"
            )
        if path.exists():
            raise InputError(f"{path}: already exists; choose a new path or remove it")


def _files_of(output: pathlib.Path, form: Format) -> list[pathlib.Path]:
    """Return the files of an output, the one the user named last."""
    if form is FORMATS["gqa_hdf5"]:
        return [pathlib.Path(info_file_of(str(output))[0]), output]
    return [output]


def _beside(output, suffix: str) -> pathlib.Path:
    output = pathlib.Path(os.path.abspath(output))
    return output.with_name(f"{output.name}{suffix}")


@contextlib.contextmanager
def _removed_if_empty(folder: pathlib.Path) -> Iterator[None]:
    """Remove the folder of parts after an error if it holds no regions."""
    try:
        yield
    finally:
        if not any(path.stat().st_size for path in folder.glob("*.regions")):
            shutil.rmtree(folder, ignore_errors=True)


# The Beam pipeline. Its workers write parts into `folder`, and counts and errors into its `work`.


class ComputeParts(beam.DoFn):
    """Compute the regions of parts and store them; emits nothing.

    Args:
        folder: The folder of parts.
        extractor: Configuration of the extractor.
        batch_size: Pictures that it gets at once.
    """

    def __init__(self, folder: pathlib.Path, extractor: dict[str, Any], batch_size: int):
        self._folder = folder
        self._extractor = json.dumps(extractor)
        self._batch_size = batch_size

    def start_bundle(self):
        """Start counting."""
        self._progress = WorkerProgress(_work(self._folder))

    def finish_bundle(self):
        """Save the counts."""
        with noting_errors(_work(self._folder)):
            self._progress.close()

    def process(self, part: Part) -> None:
        """Compute one part."""
        with noting_errors(_work(self._folder)):
            extractor = cached_extractor(self._extractor)
            compute_part(part, self._folder, extractor, self._batch_size, self._progress)


def _work(folder: pathlib.Path) -> pathlib.Path:
    return folder / "work"


def _compute(
    parts: Sequence[Part],
    before: Mapping[str, PartResult],
    folder: pathlib.Path,
    config: ExtractConfig,
    beam_args: Iterable[str],
    workers: int,
) -> None:
    """Compute the parts that are not finished."""
    left = [part for part in parts if part.key not in before]
    if not left:
        return
    work = _work(folder)
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir()
    compute = ComputeParts(folder, config.extractor, config.batch_size)

    def add_transforms(root: beam.Pipeline) -> None:
        spread = root | beam.Create(left) | "Spread" >> beam.Reshuffle()
        _ = spread | "Compute" >> beam.ParDo(compute)

    done = {
        "bytes": sum(part.size for part in parts) - sum(part.size for part in left),
        "images": sum(len(result.lengths) for result in before.values()),
        "rejected": sum(len(result.rejects) for result in before.values()),
    }
    with JobProgress(work, sum(part.size for part in parts), done):
        run_job(add_transforms, work, beam_args, workers)


# Run in the process that started the job.


def _remove_others(parts: Sequence[Part], folder: pathlib.Path) -> None:
    """Remove parts of other pictures or settings, and what a killed process left."""
    keys = {part.key for part in parts}
    for path in [*folder.glob("*.regions"), *folder.glob("*.json")]:
        if path.stem not in keys:
            path.unlink()
    for path in folder.glob(f".*{PARTIAL}"):
        path.unlink()


def _read_results(parts: Sequence[Part], folder: pathlib.Path) -> dict[str, PartResult]:
    """Return the finished parts by key."""
    results = {part.key: read_result(part, folder) for part in parts}
    return {key: result for key, result in results.items() if result is not None}


def _rejects_of(results: Mapping[str, PartResult]) -> Iterator[tuple[str, str, str]]:
    """Yield id, reason and file of rejected pictures."""
    for result in results.values():
        for image_id, file, reason in result.rejects:
            yield image_id, reason, file


def _summary(
    results: Mapping[str, PartResult],
    before: Mapping[str, PartResult],
    rejects: Sequence[Reject],
    ignored: Sequence[str],
) -> dict[str, Any]:
    written = _count_images(results)
    counts = {"read": written + len(rejects), "written": written, "rejected": len(rejects)}
    reasons = collections.Counter(reject.reason for reject in rejects)
    summary: dict[str, Any] = {
        "images": {**counts, "reused": _count_images(before)},
        "reasons": dict(sorted(reasons.items())),
    }
    return {**summary, "ignored": list(map(readable, ignored))} if ignored else summary


def _count_images(results: Mapping[str, PartResult]) -> int:
    return sum(len(result.lengths) for result in results.values())


def _write_rejects(rejects: Sequence[Reject], output: pathlib.Path) -> None:
    """Write the rejects beside the output, in place of those of an earlier failure."""
    path = _beside(output, REJECTS)
    if not rejects:
        path.unlink(missing_ok=True)
        return
    names = ("kind", "id", "file", "reason")
    lines = ({name: getattr(reject, name) for name in names} for reject in rejects)
    with atomic_file(path) as partial:
        text = "".join(f"{json.dumps(line, sort_keys=True)}\n" for line in lines)
        partial.write_text(text, encoding="utf-8")


def _check_rejects(
    summary: Mapping[str, Any], rejects: Sequence[Reject], most: float, output: pathlib.Path
) -> None:
    """Raise a GateError if too little would be written."""
    images = summary["images"]
    if images["written"] and len(rejects) <= most * images["read"]:
        return
    [(reason, count)] = collections.Counter(reject.reason for reject in rejects).most_common(1)
    limit = (
        f", more than the limit of {most:.2%} (--max-reject-fraction)" if images["written"] else ""
    )
    raise GateError(
        f"pictures rejected: {len(rejects):,} of {images['read']:,}{limit}; the most common reason "
        f"({count:,} of {len(rejects):,}): {reason}; see {_beside(output, REJECTS)}"
    )


def _write_output(
    parts: Sequence[Part],
    results: Mapping[str, PartResult],
    folder: pathlib.Path,
    form: Format,
    output: pathlib.Path,
) -> None:
    """Write the images of all parts into one output, which appears when it is complete."""
    finished = _work(folder) / "output"
    shutil.rmtree(finished, ignore_errors=True)
    finished.mkdir(parents=True)
    totals = Totals(
        _count_images(results),
        max(result.most_regions for result in results.values()),
        max(result.feature_size for result in results.values()),
    )

    def images() -> Iterator[SceneImage]:
        for part in parts:
            yield from read_images(part, results[part.key], folder)

    path = finished / output.name if form.endings else finished
    form.write(path, images(), totals)
    _check_output(output, form)
    if not form.endings:
        rename_durably(path, output)
        return
    for target in _files_of(output, form):
        rename_durably(finished / target.name, target)
