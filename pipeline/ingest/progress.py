"""How far an ingestion is: workers leave notes in the work folder, the driver adds them up.

In files, because workers may be other processes, on other machines.
"""

import json
import pathlib
import threading
import time
import uuid

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

ENDING = ".progress"
SECONDS = 0.5


class WorkerProgress:
    """What one worker has read; noted every half second."""

    def __init__(self, folder):
        self._path = pathlib.Path(folder) / f"{uuid.uuid4().hex}{ENDING}"
        self._counts = {"bytes": 0, "images": 0, "rejected": 0}
        self._noted = time.monotonic()

    def add(self, size: int, images: int = 0, rejected: int = 0) -> None:
        """Counts so many bytes, with images that are written or rejected."""
        self._counts["bytes"] += size
        self._counts["images"] += images
        self._counts["rejected"] += rejected
        if time.monotonic() - self._noted > SECONDS:
            self._note()

    def close(self) -> None:
        """Notes the last counts."""
        self._note()

    def _note(self) -> None:
        self._noted = time.monotonic()
        partial = self._path.with_suffix(".partial")
        partial.write_text(json.dumps(self._counts), encoding="utf-8")
        partial.replace(self._path)


class IngestProgress:
    """Shows it on the terminal, if there is one, while the `with` block runs.

    Args:
        folder: where the workers' notes are.
        size: bytes that are to be read; 0 if that is not known.
    """

    def __init__(self, folder, size: int):
        self._folder = pathlib.Path(folder)
        self._size = size
        console = Console(stderr=True)
        self._bar = Progress(
            TextColumn("reading"),
            BarColumn(),
            DownloadColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[told]}"),
            console=console,
            disable=not console.is_terminal,
            transient=True,
        )
        self._task = self._bar.add_task("reading", total=size or None, told="")
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self):
        self._started = time.monotonic()
        self._bar.start()
        self._thread.start()
        return self

    def __exit__(self, *error):
        self._stop.set()
        self._thread.join()
        self._bar.stop()

    def _watch(self) -> None:
        while not self._stop.wait(SECONDS):
            counts = add_up(self._folder)
            rate = counts["images"] / (time.monotonic() - self._started)
            told = f"{counts['images']:,} images  {rate:,.0f}/s  {counts['rejected']:,} rejected"
            # What is compressed gives more bytes than it takes.
            done = min(counts["bytes"], self._size) if self._size else counts["bytes"]
            self._bar.update(self._task, completed=done, told=told)


def add_up(folder) -> dict[str, int]:
    """The sum of the workers' notes: `bytes`, `images`, `rejected`."""
    total = {"bytes": 0, "images": 0, "rejected": 0}
    for path in pathlib.Path(folder).glob(f"*{ENDING}"):
        for name, count in json.loads(path.read_text(encoding="utf-8")).items():
            total[name] += count
    return total
