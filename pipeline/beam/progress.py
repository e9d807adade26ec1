"""A progress bar for a job that reads files.

Workers write their counts into files in the work folder, because they may be other processes on
other machines. The process that started the job adds them up.
"""

import json
import pathlib
import threading
import time
import uuid
from collections.abc import Mapping

from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

from lxmert_tf.terminal import make_console

SUFFIX = ".progress"
COUNTS = ("bytes", "images", "rejected")
# Between two updates.
SECONDS = 0.5


class WorkerProgress:
    """The counts of one worker, which are saved every half second.

    Args:
        folder: The work folder.
    """

    def __init__(self, folder):
        self._path = pathlib.Path(folder) / f"{uuid.uuid4().hex}{SUFFIX}"
        self._counts = dict.fromkeys(COUNTS, 0)
        self._saved = time.monotonic()

    def add(self, size: int, images: int = 0, rejected: int = 0) -> None:
        """Add to the counts.

        Args:
            size: Number of bytes.
            images: Number of valid images in them.
            rejected: Number of invalid images in them.
        """
        self._counts["bytes"] += size
        self._counts["images"] += images
        self._counts["rejected"] += rejected
        if time.monotonic() - self._saved > SECONDS:
            self._save()

    def close(self) -> None:
        """Save the last counts."""
        self._save()

    def _save(self) -> None:
        self._saved = time.monotonic()
        partial = self._path.with_suffix(".partial")
        partial.write_text(json.dumps(self._counts), encoding="utf-8")
        partial.replace(self._path)


class JobProgress:
    """A context manager that shows a progress bar on a terminal.

    Args:
        folder: The work folder.
        size: Number of bytes to read; 0 if unknown.
        before: The counts that an earlier process reached, by name.
    """

    def __init__(self, folder, size: int, before: Mapping[str, int] | None = None):
        self._folder = pathlib.Path(folder)
        self._size = size
        self._before = dict.fromkeys(COUNTS, 0) | dict(before or {})
        console = make_console(stderr=True)
        self._bar = Progress(
            TextColumn("reading"),
            BarColumn(),
            DownloadColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[counts]}"),
            console=console,
            disable=not console.is_terminal,
            transient=True,
        )
        self._task = self._bar.add_task(
            "reading", total=size or None, completed=self._before["bytes"], counts=""
        )
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
            counts = {name: count + self._before[name] for name, count in counts.items()}
            images, rejected = counts["images"], counts["rejected"]
            text = f"images {images:,}  {_format_rate(rate)}  rejected {rejected:,}"
            # A compressed file gives more bytes than it has.
            done = min(counts["bytes"], self._size) if self._size else counts["bytes"]
            self._bar.update(self._task, completed=done, counts=text)


def _format_rate(rate: float) -> str:
    """Return a number of images per second as text; detectors need seconds for an image."""
    return f"{rate:,.0f}/s" if rate >= 10 else f"{rate:.2g}/s"


def add_up(folder) -> dict[str, int]:
    """Return the sums of `bytes`, `images` and `rejected` over all workers."""
    total = dict.fromkeys(COUNTS, 0)
    for path in pathlib.Path(folder).glob(f"*{SUFFIX}"):
        for name, count in json.loads(path.read_text(encoding="utf-8")).items():
            total[name] += count
    return total
