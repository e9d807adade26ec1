"""Files that the workers of a job and the process that started it share.

They are in a local folder, or at a URL of any file system that Apache Beam knows (gs://, s3://,
hdfs://). Workers need to see nothing else in common.
"""

import contextlib
import importlib.util
import os
import pathlib
import uuid
from collections.abc import Iterable, Iterator
from typing import Any

from apache_beam.io.filesystem import CompressionTypes
from apache_beam.io.filesystems import FileSystems
from apache_beam.options.pipeline_options import PipelineOptions

import pipeline.beam.s3_client  # noqa: F401
from lxmert_tf.errors import InputError, first_line
from lxmert_tf.storage import hide_credentials, is_url, join

# Packages that access file systems; their errors have no common class.
_PACKAGES = {"apache_beam", "azure", "boto3", "botocore", "google", "hdfs"}


def use_options(beam_args: Iterable[str]) -> None:
    """Let this process access file systems as Beam's options say, such as `--s3_endpoint_url`."""
    FileSystems.set_options(PipelineOptions(list(beam_args)))


def check_file_system(url: str) -> None:
    """Check that Beam has what it needs for the file system of a URL.

    Raises:
        InputError: It knows none, or a package is missing.
    """
    scheme = url.partition("://")[0].lower()
    if scheme == "s3" and importlib.util.find_spec("boto3") is None:
        raise InputError(f"{url}: needs the package 'boto3': pip install 'apache-beam[aws]'")
    try:
        FileSystems.get_filesystem(url)
    except ValueError:
        raise InputError(
            f"{url}: Beam has no file system for {scheme}://; install it, such as "
            "'apache-beam[gcp]' for gs://"
        ) from None


def open_new(path: str) -> Any:
    """Open a file for writing bytes. At a URL it may appear only when it is closed.

    Raises:
        InputError: It cannot be created at its URL.
        OSError: It cannot be created locally.
    """
    if not is_url(path):
        return open(path, "wb")
    with explaining(path):
        return FileSystems.create(path, compression_type=CompressionTypes.UNCOMPRESSED)


def open_file(path: str) -> Any:
    """Open a file for reading bytes.

    Raises:
        InputError: It cannot be opened at its URL.
        OSError: It cannot be opened locally.
    """
    if not is_url(path):
        return open(path, "rb")
    with explaining(path):
        return FileSystems.open(path, compression_type=CompressionTypes.UNCOMPRESSED)


def read_text(path: str) -> str:
    """Return the content of a text file."""
    with explaining(path), open_file(path) as file:
        return file.read().decode("utf-8", "surrogateescape")


def write_text(path: str, text: str) -> None:
    """Write a text file, which appears whole or not at all."""
    content = text.encode("utf-8", "surrogateescape")
    if is_url(path):
        with explaining(path), open_new(path) as file:
            file.write(content)
        return
    partial = pathlib.Path(f"{path}.{uuid.uuid4().hex}.partial")
    try:
        partial.write_bytes(content)
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def new_path(folder: str, ending: str) -> str:
    """Return a path in a folder that no other worker, and no other attempt, writes."""
    return join(folder, f"{uuid.uuid4().hex}{ending}")


def find_files(folder: str, ending: str) -> list[str]:
    """Return the files in a folder whose names have an ending, sorted."""
    if not is_url(folder):
        return sorted(map(str, pathlib.Path(folder).glob(f"*{ending}")))
    return [path for path in _list(folder, "*") if path.endswith(ending)]


def files_below(url: str) -> list[str]:
    """Return all files below a folder at a URL, by their paths relative to it, sorted."""
    return [path[len(url) :].lstrip("/") for path in _list(url, "**")]


def is_file(url: str) -> bool:
    """Return whether there is a file at a URL."""
    with explaining(url):
        return FileSystems.exists(url)


def move(source: str, target: str) -> None:
    """Give a file another name on the same file system."""
    if not is_url(source):
        os.replace(source, target)
        return
    with explaining(target):
        FileSystems.rename([source], [target])


def remove_files(paths: list[str]) -> None:
    """Delete files at URLs."""
    if paths:
        with explaining(paths[0]):
            FileSystems.delete(paths)


@contextlib.contextmanager
def explaining(path: str) -> Iterator[None]:
    """Turn errors of a file system at a URL into an InputError of one line.

    Args:
        path: What the block reads or writes. Errors of local files stay as they are.
    """
    try:
        yield
    except InputError:
        raise
    except Exception as error:
        package = type(error).__module__.partition(".")[0]
        if not is_url(path) or not (isinstance(error, OSError) or package in _PACKAGES):
            raise
        # Not chained: the message of the cause may hold what is hidden.
        raise InputError(f"{path}: {_reason(error)}") from None


def _list(url: str, pattern: str) -> list[str]:
    with explaining(url):
        [found] = FileSystems.match([f"{url}/{pattern}"])
        return sorted(metadata.path for metadata in found.metadata_list)


def _reason(error: Exception) -> str:
    # Beam gives the errors by file.
    details = list((getattr(error, "exception_details", None) or {}).values())
    return first_line(details[0] if details else error, hide_credentials)
