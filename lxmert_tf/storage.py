"""Files and folders by path or URL: the only module that knows the packages behind URLs.

Jobs of Apache Beam read and write with Beam's own file systems (see `pipeline.beam.shared_files`).

A path is a local file or folder. A URL such as `s3://bucket/folder` is read and written with fsspec
and the package that fsspec uses for its scheme: s3fs, gcsfs, and others. Those packages also find
the credentials, each where its cloud's own tools look; this module neither takes nor passes any.

An object store has no folders: one is there if an object's name begins with the folder's name, and
an object appears whole or not at all. Nothing renames several objects at once, so what consists of
several files tells until the end that it is unfinished (see `lxmert_tf.stored_folder`).
"""

import contextlib
import dataclasses
import datetime
import errno
import fnmatch
import os
import pathlib
import re
import uuid
from collections.abc import Callable, Iterator
from typing import Any

from lxmert_tf.errors import InputError, first_line
from lxmert_tf.local_files import match_local

# Scheme -> (package, what installs it). Other schemes name their package in fsspec's own messages.
_PACKAGES = {
    "s3": ("s3fs", "pip install 'lxmert-tf[s3]'"),
    "s3a": ("s3fs", "pip install 'lxmert-tf[s3]'"),
    "gs": ("gcsfs", "pip install 'lxmert-tf[gs]'"),
    "gcs": ("gcsfs", "pip install 'lxmert-tf[gs]'"),
}
# Where objects appear whole or not at all; elsewhere a new file is renamed into its place.
_OBJECT_STORES = {*_PACKAGES, "memory"}
# What the constructors of fsspec's file systems are given. The default of 5 seconds is too short
# while the processor is busy with other work, such as training.
_OPTIONS: dict[str, dict[str, Any]] = {
    scheme: {"config_kwargs": {"connect_timeout": 60, "read_timeout": 60}}
    for scheme in ("s3", "s3a")
}
# Fields of fsspec's listings that differ between two versions of a file, best first.
_VERSION_FIELDS = ("ETag", "etag", "generation", "md5Hash", "mtime", "LastModified", "created")
_URL = re.compile(r"([a-z][a-z0-9+.-]*)://(.*)", re.ASCII | re.IGNORECASE | re.DOTALL)
# The text between "//" and the last "@" of a URL inside a longer text.
_USER = re.compile(r"(?<=://)[^\s'\"]*:[^\s'\"]*@")
_SECRETS = re.compile(r"SECRET|TOKEN|PASSWORD|ACCESS_KEY|ACCOUNT_KEY|CREDENTIAL", re.IGNORECASE)
# Shorter values of such variables, such as "1" or "true", hide nothing.
_SHORTEST_SECRET = 8
# Errors of the disk that copies are written to.
_DISK_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_WILDCARD = re.compile(r"[*?\[]")


@dataclasses.dataclass(frozen=True)
class StoredFile:
    """A file in a listing.

    Args:
        size: In bytes.
        version: A text that differs between two contents of the same name: an ETag, a generation, a
            time.
    """

    size: int
    version: str


def is_url(path) -> bool:
    """Return whether a name is a URL that this module reads, rather than a local path.

    Names of the Hugging Face Hub (`hf://`) are not; see `lxmert_tf.hub`.

    Raises:
        InputError: The URL holds a password or key.
    """
    match = _URL.fullmatch(str(path))
    if match is None or match[1].lower() == "hf":
        return False
    check_no_credentials(path)
    return True


def check_no_credentials(path) -> None:
    """Check that a URL holds no password or key, which messages and saved files would show.

    Args:
        path: A URL, or a path, which is accepted.

    Raises:
        InputError: It does; the message hides it.
    """
    match = _URL.fullmatch(str(path))
    if match is None:
        return
    scheme, rest = match[1].lower(), match[2]
    authority = rest.split("/", 1)[0]
    user, at, host = authority.rpartition("@")
    _, colon, port = host.rpartition(":")
    # A key may contain a slash, which makes the rest of it look like a part of the path.
    is_cut = bool(colon) and not port.isdecimal()
    if (at and (":" in user or scheme in _PACKAGES)) or is_cut:
        shown = f"{scheme}://***@{rest.rpartition('@')[2]}" if "@" in rest else f"{scheme}://***"
        raise InputError(
            f"{shown}: a URL must not hold credentials; leave them where the tools of the cloud "
            "look (see docs/storage.md)"
        )


def hide_credentials(text: str) -> str:
    """Return a text without the passwords in URLs and the values of secret environment variables.

    Args:
        text: A message, for example of a package that accesses a cloud.
    """
    text = _USER.sub("***@", text)
    secrets = {
        value
        for name, value in os.environ.items()
        if _SECRETS.search(name) and len(value) >= _SHORTEST_SECRET
    }
    for secret in sorted(secrets, key=len, reverse=True):
        text = text.replace(secret, "***")
    return text


def join(path, *names: str) -> str:
    """Return the path or URL of something in a folder."""
    if is_url(path):
        return "/".join([str(path).rstrip("/"), *names])
    return os.path.join(path, *names)


def parent(path) -> str:
    """Return the folder of a file or folder, as a path or URL."""
    if is_url(path):
        return str(path).rstrip("/").rpartition("/")[0]
    return os.path.dirname(os.path.abspath(path))


def basename(path) -> str:
    """Return the last part of a path or URL; that of "." is the working directory's name."""
    if is_url(path):
        return str(path).rstrip("/").rpartition("/")[2]
    return os.path.basename(os.path.abspath(path))


def exists(path) -> bool:
    """Return whether there is a file or a folder with this name.

    Raises:
        InputError: The storage of a URL cannot be asked.
    """
    return is_file(path) or is_directory(path)


def is_file(path) -> bool:
    """Return whether there is a file with this name.

    Raises:
        InputError: As for `exists`.
    """
    if not is_url(path):
        return os.path.isfile(path)
    with _explaining(path) as (system, name):
        return system.isfile(name)


def is_directory(path) -> bool:
    """Return whether there is a folder with this name, which in an object store is never empty.

    Raises:
        InputError: As for `exists`.
    """
    if not is_url(path):
        return os.path.isdir(path)
    with _explaining(path) as (system, name):
        return system.isdir(name)


def list_directory(path) -> list[str]:
    """Return the names of the files and folders in a folder, sorted; none if it does not exist.

    Raises:
        InputError: As for `exists`.
        OSError: A local folder cannot be listed.
    """
    if not is_url(path):
        return sorted(os.listdir(path)) if os.path.isdir(path) else []
    with _explaining(path) as (system, name):
        try:
            found = system.ls(name, detail=False)
        except FileNotFoundError:
            return []
    root = name.rstrip("/")
    names = (entry.rstrip("/") for entry in found)
    return sorted(entry.rpartition("/")[2] for entry in names if entry != root)


def find_files(path) -> dict[str, StoredFile]:
    """Return all files below a folder, by their paths relative to it, sorted.

    Args:
        path: The folder. If it does not exist, there are none.

    Raises:
        InputError: As for `exists`.
        OSError: A local folder cannot be listed.
    """
    if not is_url(path):
        root = pathlib.Path(path)
        files = (file for file in sorted(root.rglob("*")) if file.is_file())
        return {str(file.relative_to(root)): _local_file(file) for file in files}
    with _explaining(path) as (system, name):
        found = system.find(name, detail=True)
    prefix = name.rstrip("/") + "/"
    return {
        entry.removeprefix(prefix): _stored_file(about)
        for entry, about in sorted(found.items())
        # Object stores may hold an empty object that stands for the folder itself.
        if entry.startswith(prefix) and not entry.endswith("/")
    }


def describe_file(path) -> StoredFile:
    """Return the size and the version of a file.

    Raises:
        InputError: There is none, or the storage cannot be asked.
        OSError: There is no such local file.
    """
    if not is_url(path):
        return _local_file(pathlib.Path(path))
    with _explaining(path) as (system, name):
        return _stored_file(system.info(name))


def match(pattern) -> list[str]:
    """Return the files and folders that match a pattern, as paths or URLs, sorted.

    What exists under the pattern's own name is not a pattern. `*`, `?` and `[abc]` leave hidden
    names out. `**` stands for any number of folders.

    Args:
        pattern: A path, a URL, or a pattern of either.

    Raises:
        InputError: As for `exists`.
    """
    pattern = str(pattern)
    if not is_url(pattern):
        return match_local(pattern)
    wildcard = _WILDCARD.search(pattern)
    if exists(pattern):
        return [pattern]
    if wildcard is None:
        return []
    folder, _, _ = pattern[: wildcard.start()].rpartition("/")
    parts = pattern[len(folder) + 1 :].split("/")
    if len(parts) == 1:
        names = list_directory(folder)
    else:
        names = list(find_files(folder))
    return [join(folder, name) for name in names if _matches(name.split("/"), parts)]


def read_bytes(path) -> bytes:
    """Return the content of a file.

    Raises:
        InputError: The file of a URL cannot be read.
        OSError: A local file cannot be read.
    """
    if not is_url(path):
        return pathlib.Path(path).read_bytes()
    with _explaining(path) as (system, name):
        return system.cat_file(name)


def download(path, target) -> None:
    """Copy a file to a local path.

    Args:
        path: A path or URL.
        target: The local path, whose folder exists.

    Raises:
        InputError: The file cannot be read, or the copy cannot be written.
    """
    with _explaining(path) as (system, name):
        try:
            system.get_file(name, str(target))
        except OSError as error:
            if error.filename != str(target) and error.errno not in _DISK_FULL:
                raise
            raise InputError(f"{target}: {error.strerror}") from error


def upload(source, path) -> None:
    """Copy a local file to a URL, where it appears whole or not at all.

    Args:
        source: The local path.
        path: The URL; a file that is there is replaced.

    Raises:
        InputError: It cannot be written.
    """
    _write(path, lambda system, name: system.put_file(str(source), name))


def write_bytes(content: bytes, path) -> None:
    """Write a file at a URL, where it appears whole or not at all.

    Args:
        content: The content of the file.
        path: The URL; a file that is there is replaced.

    Raises:
        InputError: It cannot be written.
    """
    _write(path, lambda system, name: system.pipe_file(name, content))


def _write(path, write: Callable[[Any, str], None]) -> None:
    with _explaining(path) as (system, name):
        folder, _, last = name.rpartition("/")
        if _scheme(path) in _OBJECT_STORES:
            write(system, name)
            return
        system.makedirs(folder, exist_ok=True)
        unfinished = f"{folder}/.{last}.{uuid.uuid4().hex}.partial"
        try:
            write(system, unfinished)
            system.mv(unfinished, name)
        finally:
            with contextlib.suppress(FileNotFoundError):
                system.rm_file(unfinished)


def remove(path) -> None:
    """Delete a file, or a folder with everything in it, at a URL; nothing if it does not exist.

    Args:
        path: The URL.

    Raises:
        InputError: It cannot be deleted.
    """
    with _explaining(path) as (system, name):
        with contextlib.suppress(FileNotFoundError):
            system.rm(name, recursive=True)


@contextlib.contextmanager
def _explaining(path) -> Iterator[tuple[Any, str]]:
    """Yield the file system of a URL and the path in it; turn its errors into an `InputError`."""
    try:
        yield _open_system(path)
    except InputError:
        raise
    except FileNotFoundError:
        raise InputError(f"{path}: not found") from None
    except PermissionError as error:
        raise InputError(f"{path}: access denied: {_reason(error)}") from None
    # The errors of each package, which have no common class.
    except Exception as error:
        # Not chained: the message of the cause may hold what `_reason` hides.
        raise InputError(f"{path}: {_reason(error)}") from None


def _open_system(path) -> tuple[Any, str]:
    check_no_credentials(path)
    scheme = _scheme(path)
    package, install = _PACKAGES.get(scheme, ("fsspec", "pip install fsspec"))
    try:
        import fsspec

        url = f"{scheme}://{str(path).partition('://')[2]}"
        system, name = fsspec.core.url_to_fs(url, **_OPTIONS.get(scheme, {}))
    except ImportError as error:
        if scheme in _PACKAGES or error.name == "fsspec":
            raise InputError(f"{path}: needs the package {package!r}: {install}") from None
        raise InputError(f"{path}: {_reason(error)}") from None
    # A listing that is kept would hide what other processes write.
    system.invalidate_cache()
    return system, name


def _scheme(path) -> str:
    return str(path).partition("://")[0].lower()


def _reason(error: Exception) -> str:
    return first_line(error, hide_credentials)


def _local_file(path: pathlib.Path) -> StoredFile:
    status = path.stat()
    return StoredFile(status.st_size, str(status.st_mtime_ns))


def _stored_file(about: dict[str, Any]) -> StoredFile:
    version = next((about[field] for field in _VERSION_FIELDS if about.get(field)), "")
    if isinstance(version, datetime.datetime):
        version = version.timestamp()
    return StoredFile(about.get("size") or 0, str(version))


def _matches(names: list[str], parts: list[str]) -> bool:
    """Return whether the parts of a name match those of a pattern, in which "**" is any number."""
    if not parts or not names:
        return not names and parts in ([], ["**"])
    part, *other_parts = parts
    name, *others = names
    if part == "**":
        return _matches(names, other_parts) or (
            not name.startswith(".") and _matches(others, parts)
        )
    is_hidden = name.startswith(".") and not part.startswith(".")
    return not is_hidden and fnmatch.fnmatchcase(name, part) and _matches(others, other_parts)
