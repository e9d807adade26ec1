"""A training run at a URL: a local folder, of which the URL has a copy at every checkpoint."""

import contextlib
import hashlib
import pathlib
import shutil
import tempfile

from lxmert_tf import storage
from lxmert_tf.atomic_write import locked
from lxmert_tf.errors import InputError
from lxmert_tf.local_copy import cache_directory
from lxmert_tf.stored_folder import Claim

# The settings of a run, which tell that there is one.
RUN = "run.json"
# The claim of the process that writes it.
WRITER = ".writer"
# Written by each process for itself.
_LOCAL_ONLY = ("tensorboard/", WRITER)
# Uploaded with its own order, see `PresetModel.save_preset`.
_ELSEWHERE = ("preset/",)


class RunMirror:
    """A local folder for the run at a URL, which no other process writes until `close`.

    Args:
        url: The URL of the run.
        resume: Download what is there, to continue it.
        writes: Whether this process uploads; another only reads.

    Raises:
        InputError: There is a run and `resume` is false, the URL cannot be read or written, or
            another process writes the run.
    """

    def __init__(self, url, resume: bool, writes: bool = True):
        self.url = str(url)
        if not resume and storage.exists(storage.join(url, RUN)):
            raise InputError(
                f"{url}: holds a run already; continue it with --resume, or name another URL"
            )
        self._stack = contextlib.ExitStack()
        self._claim: Claim | None = None
        # File -> its size and time when it was last the same as at the URL.
        self._same: dict[str, storage.StoredFile] = {}
        with contextlib.ExitStack() as opening:
            self.folder = self._make_folder(opening, writes)
            if writes:
                self._claim = Claim(self.url, WRITER)
                opening.enter_context(self._claim)
                opening.callback(self._release)
            if resume:
                self._download()
            self._stack = opening.pop_all()

    def _make_folder(self, stack: contextlib.ExitStack, writes: bool) -> pathlib.Path:
        runs = cache_directory() / "runs"
        runs.mkdir(exist_ok=True)
        if not writes:
            # Several workers may share a machine.
            return pathlib.Path(stack.enter_context(tempfile.TemporaryDirectory(dir=runs)))
        outer = runs / hashlib.sha256(self.url.encode()).hexdigest()[:24]
        outer.mkdir(exist_ok=True)
        stack.enter_context(locked(outer, self.url))
        folder = outer / storage.basename(self.url)
        # What a killed process has left; the URL has all that counts.
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        return folder

    def _download(self) -> None:
        for name in storage.find_files(self.url):
            if name.startswith((*_LOCAL_ONLY, *_ELSEWHERE)):
                continue
            target = self.folder / name
            target.parent.mkdir(parents=True, exist_ok=True)
            storage.download(storage.join(self.url, name), target)
        self._same = self._local_files()

    def push(self) -> None:
        """Upload what is new, then delete what is gone; the index of a checkpoint comes last.

        A process that is killed meanwhile leaves each checkpoint whole or without its index.

        Raises:
            InputError: The URL cannot be written, or another process has taken the run.
        """
        if self._claim is None:
            return
        self._claim.check()
        files = self._local_files()
        fresh = [name for name, about in files.items() if self._same.get(name) != about]
        for name in sorted(fresh, key=_is_index):
            storage.upload(self.folder / name, storage.join(self.url, name))
        gone = self._same.keys() - files.keys()
        for name in sorted(gone, key=_is_index, reverse=True):
            storage.remove(storage.join(self.url, name))
        self._same = files

    def close(self) -> None:
        """Delete the local folder, and let another process write the run."""
        self._stack.close()

    def _release(self) -> None:
        # What is wrong with the URL, `push` has said.
        with contextlib.suppress(InputError):
            if self._claim is not None:
                self._claim.release()

    def _local_files(self) -> dict[str, storage.StoredFile]:
        files = storage.find_files(self.folder)
        return {name: about for name, about in files.items() if not name.startswith(_ELSEWHERE)}


def _is_index(name: str) -> bool:
    return name.endswith(".index")
