"""Measure ingestion of region files: images per second and memory, beside a minimal loop.

    .venv/bin/python benchmarks/ingest.py --sample coco_obj36_sample.tsv

The script writes TSV files that repeat the rows of a sample under new ids, and a file of questions
about them, to a temporary folder (0.4 MB per image; ingestion needs as much again). Each ingestion
is a separate process. The minimal loop reads the same file, splits its rows and decodes the base64.
"""

import argparse
import base64
import json
import pathlib
import random
import shutil
import subprocess
import sys
import tempfile
import time

import psutil
from rich.console import Console
from rich.table import Table

QUESTIONS_PER_IMAGE = 5
ARRAY_COLUMNS = (3, 4, 5, 6, 8, 9)
# Bytes on disk per byte of TSV: the file itself, then the regions that wait for their sentences and
# the records, both in float16.
DISK_PER_BYTE = 2.5
SAMPLING_SECONDS = 0.2


def main() -> None:
    """Write the data, ingest it, and print a table."""
    args = _arguments()
    table = Table("images", title="lxmert ingest")
    for column in ("workers", "seconds", "images/s", "peak memory (MB)", "minimal loop", "ratio"):
        table.add_column(column, justify="right")
    for images in args.images:
        with tempfile.TemporaryDirectory(prefix="lxmert-ingest-", dir=args.folder) as folder:
            _measure(pathlib.Path(folder), images, args, table)
    Console(width=100).print(table)


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
        "--workers",
        type=int,
        nargs="+",
        default=[1, 2],
        metavar="N",
        help="numbers of ingestion workers (default: 1 2)",
    )
    parser.add_argument(
        "--folder", metavar="DIR", help="parent of the temporary folder (default: the system's)"
    )
    return parser.parse_args()


def _measure(folder: pathlib.Path, images: int, args: argparse.Namespace, table: Table) -> None:
    rows = pathlib.Path(args.sample).read_bytes().splitlines(keepends=True)
    needed = images * len(rows[0]) * DISK_PER_BYTE
    if shutil.disk_usage(folder).free < needed:
        sys.exit(f"{folder}: {images:,} images need {needed / 1e9:.1f} GB; choose another --folder")
    regions, sentences = folder / "regions.tsv", folder / "questions.json"
    _write_regions(regions, rows, images)
    _write_questions(sentences, images)
    for workers in args.workers:
        minimal = images / _minimal_loop(regions)
        seconds, memory = _ingest(regions, sentences, folder / f"records-{workers}", workers)
        table.add_row(
            f"{images:,}",
            str(workers),
            f"{seconds:.1f}",
            f"{images / seconds:,.0f}",
            f"{memory / 1e6:,.0f}",
            f"{minimal:,.0f} images/s",
            f"{images / seconds / minimal:.2f}",
        )


def _image_id(number: int) -> str:
    return f"COCO_train2014_{number:012d}"


def _write_regions(path: pathlib.Path, rows: list[bytes], images: int) -> None:
    with path.open("wb") as file:
        for number in range(images):
            _, tab, rest = rows[number % len(rows)].partition(b"\t")
            file.write(_image_id(number).encode() + tab + rest)


def _write_questions(path: pathlib.Path, images: int) -> None:
    chance = random.Random(0)
    questions = [
        {
            "question_id": QUESTIONS_PER_IMAGE * number + i,
            "img_id": _image_id(number),
            "sent": f"What is {i} steps to the left of the {chance.choice(('dog', 'boat'))}?",
            "question_type": "what is",
            "answer_type": "other",
            "label": {chance.choice(("tree", "pier", "wall")): 1, "nothing": 0.3},
        }
        for number in range(images)
        for i in range(QUESTIONS_PER_IMAGE)
    ]
    path.write_text(json.dumps(questions), encoding="utf-8")


def _minimal_loop(path: pathlib.Path) -> float:
    """Return the seconds of reading rows and decoding arrays, which no ingestion can avoid."""
    start = time.perf_counter()
    with path.open("rb") as file:
        for row in file:
            cells = row.split(b"\t")
            for column in ARRAY_COLUMNS:
                base64.b64decode(cells[column])
    return time.perf_counter() - start


def _ingest(regions, sentences, output: pathlib.Path, workers: int) -> tuple[float, int]:
    """Return the seconds of a whole run, and the peak memory of its processes in bytes."""
    command = [sys.executable, "-m", "lxmert_tf.cli", "ingest", "--regions", str(regions)]
    command += ["--sentences", str(sentences), "--sentences-format", "vqa_release"]
    command += ["--output", str(output), "--workers", str(workers)]
    log = output.with_suffix(".log")
    with log.open("wb") as file:
        start = time.perf_counter()
        process = psutil.Popen(command, stdout=file, stderr=subprocess.STDOUT)
        memory = 0
        while process.poll() is None:
            memory = max(memory, _memory(process))
            time.sleep(SAMPLING_SECONDS)
        seconds = time.perf_counter() - start
    if process.returncode:
        sys.exit(f"ingestion failed:\n{log.read_text(errors='replace')}")
    shutil.rmtree(output)
    return seconds, memory


def _memory(process: psutil.Process) -> int:
    """Return the memory of a process and its descendants in bytes, shared pages counted once."""
    total = 0
    try:
        for one in [process, *process.children(recursive=True)]:
            total += one.memory_full_info().pss
    except psutil.NoSuchProcess:
        # A process ended meanwhile; skip this sample.
        return 0
    return total


if __name__ == "__main__":
    main()
