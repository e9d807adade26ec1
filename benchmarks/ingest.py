"""Measure ingestion of region files: images per second and memory, beside a minimal loop.

    .venv/bin/python benchmarks/ingest.py --sample coco_obj36_sample.tsv

The regions are the rows of a sample, again and again under new ids, and read from memory
(`repeated_rows`), because 100,000 images would be a file of 40 GB. The questions are in four files.
Each ingestion is a separate process. Its records, and before them the regions that wait for their
sentences, need 0.3 MB per image in a temporary folder. The minimal loop reads the same rows, splits
them, and decodes the base64. To draw curves:

    .venv/bin/python benchmarks/ingest.py --sample coco_obj36_sample.tsv --workers 2 \
        --images 10000 30000 100000 --questions 10 --chart ingest-scale.svg

`--shape 4 16` cuts the sample to few and small features, to see what grows with their number alone.
"""

import argparse
import base64
import io
import json
import pathlib
import random
import shutil
import subprocess
import sys
import tempfile
import time
from typing import NamedTuple

import numpy as np
import psutil
from matplotlib.figure import Figure
from rich.console import Console
from rich.table import Table

ROOT = pathlib.Path(__file__).resolve().parents[1]
# So that this process and the ingestions find the file system.
sys.path.insert(0, str(ROOT))

from benchmarks.repeated_rows import SCHEME, RepeatedRows, image_id  # noqa: E402

MODULE = RepeatedRows.__module__
COUNT, BOXES, FEATURES = 7, 8, 9
# Types of the columns with arrays.
ARRAYS = {3: "<i8", 4: "<f4", 5: "<i8", 6: "<f4", BOXES: "<f4", FEATURES: "<f4"}
SENTENCE_FILES = 4
# Of a record without its features, and of a question in the files of a job.
RECORD_BYTES, QUESTION_BYTES = 2000, 1000
# Images of the minimal loop.
LOOP_IMAGES = 2000
SAMPLING_SECONDS = 0.5


class Measured(NamedTuple):
    """What an ingestion took.

    Args:
        images: Number of images.
        workers: Number of processes.
        seconds: Of the whole command.
        peak: Largest memory of all processes together, in bytes.
        largest: Largest memory of one process, in bytes.
    """

    images: int
    workers: int
    seconds: float
    peak: int
    largest: int


def main() -> None:
    """Write the data, ingest it, print a table, and draw the chart."""
    args = _arguments()
    table = Table("images", title="lxmert ingest")
    columns = ("sentences", "workers", "seconds", "images/s", "peak memory (MB)", "largest process")
    for column in (*columns, "minimal loop"):
        table.add_column(column, justify="right")
    results = []
    for images in args.images:
        with tempfile.TemporaryDirectory(prefix="lxmert-ingest-", dir=args.folder) as folder:
            results += _measure(pathlib.Path(folder), images, args, table)
    Console(width=110).print(table)
    if args.chart:
        _draw(results, args)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--sample",
        required=True,
        metavar="FILE",
        help="TSV file with a few rows of the published region features",
    )
    parser.add_argument(
        "--images",
        type=int,
        nargs="+",
        default=[400, 4000, 12000],
        metavar="N",
        help="numbers of images to ingest (default: 400 4000 12000)",
    )
    parser.add_argument(
        "--questions", type=int, default=5, metavar="N", help="about each image (default 5)"
    )
    parser.add_argument(
        "--shape",
        type=int,
        nargs=2,
        default=[36, 2048],
        metavar=("REGIONS", "WIDTH"),
        help="cut the sample to so many regions and features (default: 36 2048)",
    )
    parser.add_argument(
        "--workers",
        type=int,
        nargs="+",
        default=[1, 2],
        metavar="N",
        help="numbers of ingestion workers (default: 1 2)",
    )
    parser.add_argument("--chart", metavar="FILE.svg", help="draw time and memory over images")
    parser.add_argument(
        "--folder", metavar="DIR", help="parent of the temporary folder (default: the system's)"
    )
    return parser.parse_args()


def _measure(
    folder: pathlib.Path, images: int, args: argparse.Namespace, table: Table
) -> list[Measured]:
    regions, width = args.shape
    # The regions that wait for their sentences, and the records, both in float16.
    needed = images * (2 * (2 * regions * width + RECORD_BYTES) + args.questions * QUESTION_BYTES)
    if shutil.disk_usage(folder).free < needed:
        sys.exit(f"{folder}: {images:,} images need {needed / 1e9:.1f} GB; choose another --folder")
    sample = folder / "sample.tsv"
    rows = pathlib.Path(args.sample).read_bytes().splitlines()
    sample.write_bytes(b"".join(_cut(row, regions, width) for row in rows))
    _write_questions(folder, images, args.questions)
    loop = min(images, LOOP_IMAGES)
    minimal = loop / _minimal_loop(RepeatedRows(str(sample), loop))
    results = []
    for workers in args.workers:
        measured = _ingest(folder, images, workers)
        results.append(measured)
        table.add_row(
            f"{images:,}",
            f"{images * args.questions:,}",
            str(workers),
            f"{measured.seconds:.1f}",
            f"{images / measured.seconds:,.0f}",
            f"{measured.peak / 1e6:,.0f}",
            f"{measured.largest / 1e6:,.0f}",
            f"{minimal:,.0f} images/s",
        )
    return results


def _cut(row: bytes, regions: int, width: int) -> bytes:
    """Return a row with the first regions and features."""
    cells = row.split(b"\t")
    count = int(cells[COUNT])
    for column, dtype in ARRAYS.items():
        values = np.frombuffer(base64.b64decode(cells[column]), dtype).reshape(count, -1)[:regions]
        values = values[:, :width] if column == FEATURES else values
        cells[column] = base64.b64encode(values.tobytes())
    cells[COUNT] = b"%d" % min(regions, count)
    return b"\t".join(cells) + b"\n"


def _write_questions(folder: pathlib.Path, images: int, each: int) -> None:
    chance = random.Random(0)
    for part in range(SENTENCE_FILES):
        numbers = range(images * part // SENTENCE_FILES, images * (part + 1) // SENTENCE_FILES)
        with (folder / f"questions-{part}.json").open("w", encoding="utf-8") as file:
            opening = "["
            for question in (each * number + i for number in numbers for i in range(each)):
                file.write(f"{opening}{json.dumps(_question(question, each, chance))}")
                opening = ",\n"
            file.write("]")


def _question(number: int, each: int, chance: random.Random) -> dict:
    image, place = divmod(number, each)
    return {
        "question_id": number,
        "img_id": image_id(image),
        "sent": f"What is {place} steps to the left of the {chance.choice(('dog', 'boat'))}?",
        "question_type": "what is",
        "answer_type": "other",
        "label": {chance.choice(("tree", "pier", "wall")): 1, "nothing": 0.3},
    }


def _minimal_loop(content: RepeatedRows) -> float:
    """Return the seconds of reading rows and decoding arrays, which no ingestion can avoid."""
    start = time.perf_counter()
    for row in io.BufferedReader(content, 1 << 20):
        cells = row.split(b"\t")
        for column in ARRAYS:
            base64.b64decode(cells[column])
    return time.perf_counter() - start


def _ingest(folder: pathlib.Path, images: int, workers: int) -> Measured:
    """Measure a whole run."""
    output, log = folder / "records", folder / "log"
    code = f"import sys, {MODULE}; from lxmert_tf.cli.main import main; sys.exit(main())"
    command = [sys.executable, "-c", code, "ingest"]
    command += ["--regions", f"{SCHEME}://{folder}/sample.tsv/{images}"]
    command += ["--regions-format", "lxmert_tsv", "--sentences", f"{folder}/questions-*.json"]
    command += ["--sentences-format", "vqa_release", "--output", str(output)]
    command += ["--workers", str(workers)]
    with log.open("wb") as file:
        start = time.perf_counter()
        process = psutil.Popen(command, stdout=file, stderr=subprocess.STDOUT, cwd=ROOT)
        peak = largest = 0
        while process.poll() is None:
            memory = _memory(process)
            peak, largest = max(peak, sum(memory)), max(largest, *memory)
            time.sleep(SAMPLING_SECONDS)
        seconds = time.perf_counter() - start
    if process.returncode:
        sys.exit(f"ingestion failed:\n{log.read_text(errors='replace')}")
    shutil.rmtree(output)
    return Measured(images, workers, seconds, peak, largest)


def _memory(process: psutil.Process) -> list[int]:
    """Return the memory of a process and its descendants in bytes, shared pages counted once."""
    try:
        found = [process, *process.children(recursive=True)]
        return [one.memory_full_info().pss for one in found]
    except psutil.Error:
        # A process ended meanwhile; skip this sample.
        return [0, 0]


def _draw(results: list[Measured], args: argparse.Namespace) -> None:
    figure = Figure((9, 3.4), layout="constrained")
    left, right = figure.subplots(1, 2)
    for workers in args.workers:
        runs = sorted(run for run in results if run.workers == workers)
        images = [run.images for run in runs]
        label = f"--workers {workers}"
        left.plot(images, [run.seconds for run in runs], "o-", label=label)
        right.plot(images, [run.peak / 1e6 for run in runs], "o-", label=label)
    regions, width = args.shape
    figure.suptitle(f"lxmert ingest: {regions} x {width} features, {args.questions} questions each")
    for axes, what in ((left, "seconds"), (right, "peak memory of all processes (MB)")):
        axes.set(xlabel="images", ylabel=what, xlim=0, ylim=0)
        axes.xaxis.set_major_formatter("{x:,.0f}")
        axes.grid(alpha=0.3)
        axes.legend()
    figure.savefig(args.chart, format="svg", metadata={"Date": None})


if __name__ == "__main__":
    main()
