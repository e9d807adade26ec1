"""Directories named hf://ORGANIZATION/NAME, which the package huggingface_hub downloads.

Where they are kept (HF_HOME), the progress bars, and the switch HF_HUB_OFFLINE are the package's.
"""

import fnmatch
import functools
import pathlib
import re
from collections.abc import Iterable

from lxmert_tf import __version__
from lxmert_tf.config_file import read_mapping
from lxmert_tf.errors import InputError

SCHEME = "hf://"
# The one whose vocabulary the other published models were trained with.
_PUBLISHED_MODEL = "hf://unc-nlp/lxmert-base-uncased"
_NAME = re.compile(r"hf://([\w.-]+/[\w.-]+)(?:@(\S+))?")
# Files that tell what a repository holds, of which a model has at least one.
_KINDS = ("config.json", "config.yaml", "preset.json", "saved_model.pb")
_DESCRIPTION = (
    *_KINDS,
    *("vocab.txt", "tokenizer.json", "answers.txt", "assets/*", "assets.extra/*"),
    *("objects.txt", "attributes.txt", "objects_vocab.txt", "attributes_vocab.txt"),
)
# The same weights may be there in several formats, of which the first is read.
_WEIGHTS = (
    ("weights.*", "variables/*"),
    ("model.safetensors", "model.safetensors.index.json", "model-*.safetensors"),
    ("pytorch_model.bin", "pytorch_model.bin.index.json", "pytorch_model-*.bin"),
    ("tf_model.h5",),
)


def is_hub_name(name) -> bool:
    """Return whether a name is one of the Hugging Face Hub rather than a path."""
    return str(name).startswith(SCHEME)


def local_directory(name, model_type: str | None = "lxmert") -> pathlib.Path:
    """Return the directory that a name stands for; one of the Hugging Face Hub is downloaded.

    Only the files of a model are downloaded, and of weights in several formats only one. Without a
    network, those in the cache are used. Within a process, a name keeps its commit.

    Args:
        name: A path, which is returned unchanged, or `hf://ORGANIZATION/NAME[@REVISION]`, where the
            revision is a branch, a tag, or a commit.
        model_type: What the repository's config.json must give as `model_type`, if it gives any.
            None allows every type.

    Raises:
        InputError: The name is malformed, there is no such repository or revision, it holds no
            model of this type, or it can be neither downloaded nor found in the cache.
        ModuleNotFoundError: huggingface_hub is not installed.

    Example:
        ```python
        local_directory("hf://unc-nlp/lxmert-base-uncased")
        ```
    """
    return _snapshot(name, model_type) if is_hub_name(name) else pathlib.Path(name)


def published_vocabulary() -> pathlib.Path:
    """Return the vocabulary of the published models.

    Raises:
        InputError: It can be neither downloaded nor found in the cache.
    """
    return _download(_PUBLISHED_MODEL, "vocab.txt")


@functools.cache
def _snapshot(name: str, model_type: str | None) -> pathlib.Path:
    files = _list_files(name)
    if files is None:
        return _cached(name)
    kinds = [kind for kind in _KINDS if kind in files]
    if not kinds:
        raise InputError(f"{name}: not a model; it has none of {', '.join(_KINDS)}")
    directory = _download(name, kinds[0]).parent
    if kinds == ["config.json"] and model_type is not None:
        _check_model_type(name, directory / kinds[0], model_type)
    weights = (_matching(files, patterns) for patterns in _WEIGHTS)
    for file in [*_matching(files, _DESCRIPTION), *next(filter(None, weights), [])]:
        # The folder's name is the commit; files of a commit that are in the cache need no request.
        _download(name, file, commit=directory.name)
    return directory


def _parse(name: str) -> tuple[str, str | None]:
    match = _NAME.fullmatch(name)
    if match is None:
        raise InputError(f"{name}: must be hf://ORGANIZATION/NAME[@REVISION]")
    return match[1], match[2]


def _check_model_type(name: str, config: pathlib.Path, model_type: str) -> None:
    """Refuse a repository of another kind before its weights are downloaded."""
    found = read_mapping(config).get("model_type", model_type)
    if found != model_type:
        raise InputError(f"{name}: a model of the type {found!r}; expected {model_type!r}")


def _matching(files: Iterable[str], patterns: Iterable[str]) -> list[str]:
    return [file for file in files if any(fnmatch.fnmatchcase(file, p) for p in patterns)]


def _list_files(name: str) -> list[str] | None:
    """Return the names of a repository's files, or None if the Hub cannot be reached."""
    repository, revision = _parse(name)
    import huggingface_hub
    from huggingface_hub import constants

    api = huggingface_hub.HfApi(library_name="lxmert-tf", library_version=__version__)
    try:
        info = api.model_info(repository, revision=revision, timeout=constants.HF_HUB_ETAG_TIMEOUT)
    # The errors of the package's HTTP client, which differs between its versions.
    except Exception as error:
        if (refusal := _refusal(name, error)) is not None:
            raise refusal from error
        return None
    return [file.rfilename for file in info.siblings or ()]


def _download(name: str, file: str, commit: str | None = None) -> pathlib.Path:
    """Return a file in the cache, downloaded if it is not there yet."""
    repository, revision = _parse(name)
    import huggingface_hub
    from huggingface_hub import errors

    try:
        path = huggingface_hub.hf_hub_download(
            repository,
            file,
            revision=commit or revision,
            library_name="lxmert-tf",
            library_version=__version__,
        )
    except errors.LocalEntryNotFoundError as error:
        raise _unreachable(name) from error
    except Exception as error:
        reason = next(iter(str(error).splitlines()), type(error).__name__)
        failure = f"{name}: the download of {file} failed; run it again to go on. {reason}"
        raise _refusal(name, error) or InputError(failure) from error
    return pathlib.Path(path)


def _cached(name: str) -> pathlib.Path:
    """Return the directory of a repository that was downloaded before."""
    repository, revision = _parse(name)
    import huggingface_hub
    from huggingface_hub import errors

    try:
        directory = pathlib.Path(
            huggingface_hub.snapshot_download(repository, revision=revision, local_files_only=True)
        )
    except errors.LocalEntryNotFoundError as error:
        raise _unreachable(name) from error
    if not any(any(directory.glob(p)) for patterns in _WEIGHTS for p in patterns):
        raise _unreachable(name)
    return directory


def _refusal(name: str, error: Exception) -> InputError | None:
    """Return what the Hub's refusal of a repository means for the user, if it is one."""
    repository, revision = _parse(name)
    from huggingface_hub import constants, errors

    if isinstance(error, errors.GatedRepoError):
        return InputError(
            f"{name}: access is restricted; accept the terms at {constants.ENDPOINT}/{repository} "
            "and log in with `hf auth login`"
        )
    if isinstance(error, errors.RepositoryNotFoundError):
        return InputError(
            f"{name}: no such repository at {constants.ENDPOINT}, or it is private; check the "
            "name, or log in with `hf auth login`"
        )
    if isinstance(error, errors.RevisionNotFoundError):
        return InputError(f"{name}: the repository has no revision {revision!r}")
    return None


def _unreachable(name: str) -> InputError:
    from huggingface_hub import constants

    cache = constants.HF_HUB_CACHE
    if constants.HF_HUB_OFFLINE:
        return InputError(
            f"{name}: not completely in the cache {cache}, and HF_HUB_OFFLINE is set; run it once "
            "without"
        )
    return InputError(
        f"{name}: cannot reach {constants.ENDPOINT}, and it is not completely in the cache "
        f"{cache}; check the connection, or give a directory"
    )
