"""Directories named hf://ORGANIZATION/NAME, which the package huggingface_hub downloads.

Where they are kept (HF_HOME), the progress bars, and the switch HF_HUB_OFFLINE are the package's.
"""

import fnmatch
import functools
import pathlib
import re
import reprlib
import ssl
from collections.abc import Iterable, Iterator

from lxmert_tf import __version__
from lxmert_tf.config_file import read_mapping
from lxmert_tf.errors import InputError, first_line
from lxmert_tf.json_file import read_json
from lxmert_tf.local_copy import local_name

SCHEME = "hf://"
# Stands for a `model_type`, which detectors do not have.
DETECTOR = "detector"
# All published models share the vocabulary of this one.
_PUBLISHED_MODEL = "hf://unc-nlp/lxmert-base-uncased"
_NAME = re.compile(r"(?i:hf)://([\w.-]+/[\w.-]+)(?:@(\S+))?", re.ASCII)
# A repository is a model if it has one of these files.
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
# Files that are whole weights, and files that lead to the parts of some.
_WHOLE = ("weights.safetensors", "model.safetensors", "pytorch_model.bin", "tf_model.h5")
_INDEXES = (
    *("weights.index", "variables/variables.index"),
    *("model.safetensors.index.json", "pytorch_model.bin.index.json"),
)


class _NoAnswer(InputError):
    """The Hub cannot be asked at the moment, so that what is in the cache must do."""


def is_hub_name(name) -> bool:
    """Return whether a name is one of the Hugging Face Hub rather than a path."""
    return str(name)[: len(SCHEME)].lower() == SCHEME


def local_directory(name, model_type: str | None = "lxmert") -> pathlib.Path:
    """Return the directory that a name stands for; one of the Hugging Face Hub is downloaded.

    Of the Hub only the files of a model are downloaded, and of weights in several formats only one.
    Without a network, those in the cache are used. Within a process, a name keeps its commit. One
    at a URL such as s3://bucket/folder is downloaded whole, again whenever its files have changed.

    Args:
        name: A path, which is returned unchanged, a URL of `lxmert_tf.storage`, or
            `hf://ORGANIZATION/NAME[@REVISION]`, where the revision is a branch, a tag, or a commit.
        model_type: What the repository's config.json must give as `model_type`, if it gives any;
            "detector" for a detector. None allows every type.

    Raises:
        InputError: The name is malformed, there is no such repository or revision, it holds no
            model of this type, or it can be neither downloaded nor found in the cache.
        ModuleNotFoundError: huggingface_hub is not installed.

    Example:
        ```python
        local_directory("hf://unc-nlp/lxmert-base-uncased")
        ```
    """
    return _snapshot(name, model_type) if is_hub_name(name) else pathlib.Path(local_name(name))


def pinned_name(name, model_type: str | None = "lxmert") -> str:
    """Return a name that always stands for the same files: `hf://ORGANIZATION/NAME@COMMIT`.

    Args:
        name: As for `local_directory`. A path is returned unchanged.
        model_type: As for `local_directory`.

    Raises:
        InputError: As for `local_directory`.
    """
    if not is_hub_name(name):
        return str(name)
    repository, _ = _parse(name)
    return f"{SCHEME}{repository}@{local_directory(name, model_type).name}"


def repository_name(name: str) -> str:
    """Return the NAME of `hf://ORGANIZATION/NAME[@REVISION]`.

    Raises:
        InputError: The name is malformed.
    """
    repository, _ = _parse(name)
    return repository.rpartition("/")[2]


def published_vocabulary() -> pathlib.Path:
    """Return the vocabulary of the published models.

    Raises:
        InputError: It can be neither downloaded nor found in the cache.
    """
    return _download(_PUBLISHED_MODEL, "vocab.txt")


@functools.cache
def _snapshot(name: str, model_type: str | None) -> pathlib.Path:
    try:
        commit, files = _list_files(name)
    except _NoAnswer:
        directory = _cached(name)
        if directory is None:
            raise
        _check_model_type(name, directory, model_type)
        return directory
    kinds = [kind for kind in _KINDS if kind in files]
    if not kinds:
        raise InputError(f"{name}: not a model; it has none of {', '.join(_KINDS)}")
    # By its name, so that the cache knows which commit that is.
    _download(name, kinds[0])
    # Files of a commit that are in the cache need no request.
    [directory, *_] = [_download(name, kind, commit).parent for kind in kinds]
    _check_model_type(name, directory, model_type)
    weights = (_matching(files, patterns) for patterns in _WEIGHTS)
    for file in [*_matching(files, _DESCRIPTION), *next(filter(None, weights), [])]:
        _download(name, file, commit)
    return directory


def _parse(name: str) -> tuple[str, str | None]:
    """Return the repository and the revision of a name."""
    match = _NAME.fullmatch(name)
    if match is None:
        raise InputError(f"{name}: must be hf://ORGANIZATION/NAME[@REVISION]")
    from huggingface_hub import utils

    try:
        utils.validate_repo_id(match[1])
    except ValueError as error:
        raise InputError(
            f"{name}: must be hf://ORGANIZATION/NAME[@REVISION]; {first_line(error)}"
        ) from error
    return match[1], match[2]


def _check_model_type(name: str, directory: pathlib.Path, model_type: str | None) -> None:
    """Refuse a repository of another kind before its weights are downloaded."""
    found = _model_type(directory)
    if found is None or model_type is None or found == model_type:
        return
    if model_type == DETECTOR:
        raise InputError(f"{name}: a model of the type {found!r}; expected a detector")
    if found == DETECTOR:
        raise InputError(f"{name}: a detector; expected a model of the type {model_type!r}")
    raise InputError(f"{name}: model_type is {reprlib.repr(found)}; expected {model_type!r}")


def _model_type(directory: pathlib.Path) -> str | None:
    """Return the type of the model in a directory, if its files tell."""
    if (preset := directory / "preset.json").is_file():
        return DETECTOR if read_mapping(preset).get("model") == "Detector" else "lxmert"
    if (config := directory / "config.json").is_file():
        return read_mapping(config).get("model_type")
    return DETECTOR if (directory / "config.yaml").is_file() else None


def _matching(files: Iterable[str], patterns: Iterable[str]) -> list[str]:
    return [file for file in files if any(fnmatch.fnmatchcase(file, p) for p in patterns)]


@functools.cache
def _list_files(name: str) -> tuple[str | None, list[str]]:
    """Return the commit that a name stands for, and the names of its files.

    Raises:
        _NoAnswer: The Hub cannot be asked at the moment.
        InputError: It refuses the request.
    """
    repository, revision = _parse(name)
    import huggingface_hub
    from huggingface_hub import constants

    api = huggingface_hub.HfApi(library_name="lxmert-tf", library_version=__version__)
    try:
        info = api.model_info(repository, revision=revision, timeout=constants.HF_HUB_ETAG_TIMEOUT)
    # The errors of the package's HTTP client, which differs between its versions.
    except Exception as error:
        raise _refusal(name, error) or _failure(name, error) from error
    return info.sha, [file.rfilename for file in info.siblings or ()]


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
        # Raised from what kept the package from asking the Hub.
        cause = error.__cause__
        refusal = _refusal(name, cause) if isinstance(cause, Exception) else None
        raise refusal or _unreachable(name) from error
    except Exception as error:
        reason = first_line(error)
        failure = f"{name}: the download of {file} failed; run it again to go on. {reason}"
        raise _refusal(name, error) or InputError(failure) from error
    return pathlib.Path(path)


def _cached(name: str) -> pathlib.Path | None:
    """Return the directory of a repository that was downloaded before, if it is complete."""
    repository, revision = _parse(name)
    import huggingface_hub
    from huggingface_hub import errors

    try:
        directory = pathlib.Path(
            huggingface_hub.snapshot_download(repository, revision=revision, local_files_only=True)
        )
    except errors.LocalEntryNotFoundError:
        return None
    # Weights are downloaded last.
    whole = any((directory / file).is_file() for file in _WHOLE)
    return directory if whole or any(_has_parts(directory / file) for file in _INDEXES) else None


def _has_parts(index: pathlib.Path) -> bool:
    """Return whether all parts of a checkpoint are beside the file that leads to them."""
    if not index.is_file():
        return False
    if index.suffix == ".index":
        parts = [path.name for path in index.parent.glob(f"{index.stem}.data-*-of-*")]
        # Such as weights.data-00000-of-00002.
        count = parts[0].rpartition("-")[2] if parts else ""
        return count.isdecimal() and len(parts) == int(count)
    content = read_json(index)
    files = content.get("weight_map") if isinstance(content, dict) else None
    # A damaged list is refused where the weights are read.
    return not isinstance(files, dict) or all(
        (index.parent / str(file)).is_file() for file in files.values()
    )


def _refusal(name: str, error: Exception) -> InputError | None:
    """Return what the Hub's refusal of a request means for the user, if it is one."""
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
    if isinstance(error, errors.HfHubHTTPError):
        status = error.response.status_code if error.response is not None else 500
        kind = _NoAnswer if status == 429 or status >= 500 else InputError
        return kind(f"{name}: the Hub refused the request: {first_line(error)}")
    return None


def _failure(name: str, error: Exception) -> InputError:
    """Return what an error means that kept a request from being answered."""
    causes = list(_causes(error))
    # A server that cannot prove its name is reached; otherwise a lost connection is an OSError.
    is_trusted = not any(isinstance(cause, ssl.SSLCertVerificationError) for cause in causes)
    if is_trusted and any(isinstance(cause, OSError) for cause in causes):
        return _unreachable(name)
    from huggingface_hub import constants

    return InputError(f"{name}: the request to {constants.ENDPOINT} failed: {first_line(error)}")


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    """Yield an error and those that led to it."""
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def _unreachable(name: str) -> _NoAnswer:
    from huggingface_hub import constants

    cache = constants.HF_HUB_CACHE
    if constants.HF_HUB_OFFLINE:
        return _NoAnswer(
            f"{name}: not completely in the cache {cache}, and HF_HUB_OFFLINE is set; unset it and "
            "run once with a network"
        )
    return _NoAnswer(
        f"{name}: cannot reach {constants.ENDPOINT}, and it is not completely in the cache "
        f"{cache}; check the connection, or give a directory"
    )
