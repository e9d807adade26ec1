"""A progress bar for a job that reads files.

Workers write their counts into files in the work folder, because they may be other processes on
other machines. The process that started the job adds them up.
"""

import json
import threading
import time
from collections.abc import Mapping

from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

from lxmert_tf.errors import InputError
from lxmert_tf.storage import is_url
from lxmert_tf.terminal import make_console
from pipeline.beam.shared_files import find_files, new_path, read_text, write_text

SUFFIX = ".progress"
COUNTS = ("bytes", "images", "rejected")
# Between two updates: of local files, and of files at URLs, where each is a request.
SECONDS, SECONDS_AT_URLS = 0.5, 10.0


class WorkerProgress:
    """The counts of one worker, which are saved now and then.

    Args:
        folder: The work folder.
    """

    def __init__(self, folder):
        self._path = new_path(str(folder), SUFFIX)
        self._seconds = _seconds(folder)
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
        if time.monotonic() - self._saved > self._seconds:
            self._save()

    def close(self) -> None:
        """Save the last counts."""
        self._save()

    def _save(self) -> None:
        self._saved = time.monotonic()
        write_text(self._path, json.dumps(self._counts))


class JobProgress:
    """A context manager that shows a progress bar on a terminal.

    Args:
        folder: The work folder.
        size: Number of bytes to read; 0 if unknown.
        before: The counts that an earlier process reached, by name.
    """

    def __init__(self, folder, size: int, before: Mapping[str, int] | None = None):
        self._folder = folder
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
        while not self._bar.disable and not self._stop.wait(_seconds(self._folder)):
            try:
                counts = add_up(self._folder)
            except InputError:
                # The storage of a URL does not answer. If it matters, the job fails.
                continue
            rate = counts["images"] / (time.monotonic() - self._started)
            counts = {name: count + self._before[name] for name, count in counts.items()}
            images, rejected = counts["images"], counts["rejected"]
            text = f"images {images:,}  {_format_rate(rate)}  rejected {rejected:,}"
            # A compressed file gives more bytes than it has.
            done = min(counts["bytes"], self._size) if self._size else counts["bytes"]
            self._bar.update(self._task, completed=done, counts=text)


def _seconds(folder) -> float:
    return SECONDS_AT_URLS if is_url(folder) else SECONDS


def _format_rate(rate: float) -> str:
    """Return a number of images per second as text; detectors need seconds for an image."""
    return f"{rate:,.0f}/s" if rate >= 10 else f"{rate:.2g}/s"


def add_up(folder) -> dict[str, int]:
    """Return the sums of `bytes`, `images` and `rejected` over all workers."""
    total = dict.fromkeys(COUNTS, 0)
    for path in find_files(str(folder), SUFFIX):
        for name, count in json.loads(read_text(path)).items():
            total[name] += count
    return total
