"""Read region files and store their regions."""

import dataclasses
import itertools
from collections.abc import Iterator, Sequence

import apache_beam as beam
import numpy as np

from lxmert_tf.data.scene import SceneImage
from pipeline.beam.progress import WorkerProgress
from pipeline.beam.spill import Spilled, spill
from pipeline.beam.workers import noting_errors
from pipeline.ingest.checks.region_checks import RegionError, check_id
from pipeline.ingest.elements import ReadCount, Reject, sum_counts
from pipeline.ingest.float16 import to_float16
from pipeline.ingest.image_names import IdRegex, name_of_file
from pipeline.ingest.inputs import RegionTask, is_within
from pipeline.ingest.interfaces import ReadError, ReadImage, Returned
from pipeline.ingest.parsers.text_rows import PieceLines
from pipeline.ingest.region_store import RegionRef, RegionStoreWriter
from pipeline.ingest.transforms.join_by_image import TraitCount, by_image, count_traits

# About so many batches of tasks are spread over the workers.
MOST_BATCHES = 512


class ReadRegions(beam.PTransform):
    """Read region files; emits `Reject`, `ReadCount`, `PieceLines`, and `TraitCount`.

    The `RegionRef` are spilled.

    Args:
        tasks: Pieces of the files.
        percent: Range of image hashes that are wanted.
        dtype: "float16" or "float32", for stored features.
        folder: Where to store regions and progress notes.
        id_regex: Selects the id within an image's name.
    """

    def __init__(
        self,
        tasks: Sequence[RegionTask],
        percent: tuple[int, int],
        dtype: str,
        folder: str,
        id_regex: IdRegex,
    ):
        super().__init__()
        self._tasks = tasks
        self._store = StoreRegions(percent, dtype, folder, id_regex)

    def expand(self, pipeline: beam.Pipeline) -> beam.PCollection:
        """Spread the tasks over the workers and run them."""
        tasks = pipeline | beam.Create(_batches(self._tasks)) | "Spread" >> beam.Reshuffle()
        return tasks | "Store" >> beam.ParDo(self._store)


def _batches(tasks: Sequence[RegionTask]) -> list[Sequence[RegionTask]]:
    """Return tasks in batches: of many small files, each would leave a few elements in memory."""
    size = max(1, len(tasks) // MOST_BATCHES)
    return [tasks[start : start + size] for start in range(0, len(tasks), size)]


class StoreRegions(beam.DoFn):
    """Read pieces and store their regions; arguments and results as of `ReadRegions`."""

    def __init__(self, percent: tuple[int, int], dtype: str, folder: str, id_regex: IdRegex):
        self._percent = percent
        self._dtype = np.dtype(dtype)
        self._folder = folder
        self._id_regex = id_regex

    def start_bundle(self):
        """Open a file of the region store."""
        with noting_errors(self._folder):
            self._writer = RegionStoreWriter(self._folder)
            self._progress = WorkerProgress(self._folder)

    def finish_bundle(self):
        """Close the file."""
        with noting_errors(self._folder):
            self._writer.close()
            self._progress.close()

    def process(
        self, tasks: Sequence[RegionTask]
    ) -> Iterator[Spilled | Reject | ReadCount | PieceLines | TraitCount]:
        """Yield a reject for each invalid image, then the counts, then what was spilled."""
        with noting_errors(self._folder):
            read = sum_counts(itertools.chain.from_iterable(map(self._read, tasks)))
            yield from spill(count_traits(read), RegionRef, self._folder, by_image)

    def _read(self, task: RegionTask) -> Iterator[RegionRef | Reject | ReadCount | PieceLines]:
        images = lines = 0
        file, piece = task.piece.file.name, task.piece.start
        reading = Returned(task.reader.read(task.piece))
        for item in reading:
            lines = item.line or lines
            named, name = self._with_name(item, task)
            image_id = named.id if isinstance(named, ReadError) else named.image.id
            if not is_within(self._percent, image_id):
                continue
            images += 1
            line = named.line and named.line + task.piece.lines_before
            if isinstance(named, ReadError):
                self._progress.add(named.size, rejected=1)
                yield Reject("image", named.id, named.reason, file, line, piece)
            else:
                self._progress.add(named.size, images=1)
                image = self._with_dtype(named.image)
                yield self._writer.write(image, file, piece, line, task.number, name)
        yield ReadCount("image", images)
        lines = lines if reading.value is None else reading.value
        yield PieceLines(file, piece, lines, task.piece.lines_before)

    def _with_name(
        self, item: ReadImage | ReadError, task: RegionTask
    ) -> tuple[ReadImage | ReadError, str]:
        """Return an image with its id in the job, and its full name."""
        given = item.id if isinstance(item, ReadError) else item.image.id
        name = name_of_file(task.piece.file.name) if task.image_id else given
        image_id = task.image_id or given
        if self._id_regex:
            image_id = name = self._id_regex(name)
        if image_id == given:
            return item, name
        try:
            check_id(image_id)
        except RegionError as error:
            return error.read_error(item.line, image_id, item.size), name
        if isinstance(item, ReadError):
            return dataclasses.replace(item, id=image_id), name
        image = dataclasses.replace(item.image, id=image_id)
        return dataclasses.replace(item, image=image), name

    def _with_dtype(self, image: SceneImage) -> SceneImage:
        features = image.regions.features
        if features.dtype == self._dtype:
            return image
        if features.dtype == np.float32 and self._dtype == np.float16:
            features = to_float16(features)
        else:
            features = features.astype(self._dtype)
        regions = dataclasses.replace(image.regions, features=features)
        return dataclasses.replace(image, regions=regions)
