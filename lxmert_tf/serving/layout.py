"""File layout of exported models: one SavedModel or OpenVINO model, or a folder of versions."""

import pathlib
from collections.abc import Callable, Mapping
from typing import Any

from lxmert_tf import storage
from lxmert_tf.config_file import read_mapping
from lxmert_tf.converters.foreign_config import is_huggingface
from lxmert_tf.data.sidecars import EXTRACTOR
from lxmert_tf.errors import InputError
from lxmert_tf.hub import local_directory
from lxmert_tf.stored_folder import UNFINISHED

# TensorFlow Serving ignores everything in this folder except the warm-up requests.
EXTRA = "assets.extra"
# The graph of an OpenVINO model, whose weights are in model.bin.
OPENVINO_GRAPH = "model.xml"
# A file that is in every SavedModel, and one that is in every OpenVINO model.
SAVED_MODEL_GRAPH = "saved_model.pb"


def is_saved_model(directory: pathlib.Path) -> bool:
    """Return whether a directory holds a SavedModel."""
    return (directory / SAVED_MODEL_GRAPH).is_file()


def is_openvino(directory: pathlib.Path) -> bool:
    """Return whether a directory holds an OpenVINO model."""
    return (directory / OPENVINO_GRAPH).is_file()


# Engine -> whether a directory holds a model for it.
ENGINES: dict[str, Callable[[pathlib.Path], bool]] = {
    "tensorflow": is_saved_model,
    "openvino": is_openvino,
}


def engine_of(directory: pathlib.Path) -> str | None:
    """Return the engine that runs the exported model in a directory, or None if there is none."""
    return next((name for name, holds in ENGINES.items() if holds(directory)), None)


def is_preset(directory: pathlib.Path) -> bool:
    """Return whether a directory holds a preset, or a model of Hugging Face, which loads as one.

    Raises:
        InputError: Its config.json is not valid JSON.
    """
    return (directory / "preset.json").is_file() or is_huggingface(directory)


def numbered_versions(
    directory: pathlib.Path, engine: str | None = None
) -> dict[int, pathlib.Path]:
    """Return the exported models in a folder whose names are numbers.

    Args:
        directory: The folder, such as `saved_models/NAME`.
        engine: A key of `ENGINES`, to return only its models.

    Raises:
        OSError: The folder cannot be listed.
    """
    return {
        int(path.name): path
        for path in directory.iterdir()
        if path.name.isdecimal() and (found := engine_of(path)) and engine in (None, found)
    }


def versions_at_url(url, files: Mapping[str, Any], engine: str | None = None) -> dict[int, str]:
    """Return the URLs of the exported models in a folder whose names are numbers.

    Args:
        url: The URL of the folder.
        files: From `storage.find_files`.
        engine: As for `numbered_versions`.
    """
    graphs = {"tensorflow": SAVED_MODEL_GRAPH, "openvino": OPENVINO_GRAPH}
    wanted = [graph for name, graph in graphs.items() if engine in (None, name)]
    parts = (name.split("/") for name in files)
    names = {part[0] for part in parts if len(part) == 2 and part[1] in wanted}
    return {
        int(name): storage.join(url, name)
        for name in names
        if name.isdecimal() and f"{name}/{UNFINISHED}" not in files
    }


def find_model(directory) -> pathlib.Path:
    """Return the model that a path stands for.

    Args:
        directory: A SavedModel, an OpenVINO model, a preset, a directory of Hugging Face's LXMERT,
            or a folder of numbered exported models, of which the highest number is taken; or any
            of these at a URL or as `hf://ORGANIZATION/NAME`.

    Raises:
        InputError: The directory does not exist or holds no model.
    """
    if storage.is_url(directory):
        numbered = versions_at_url(directory, storage.find_files(directory))
        directory = numbered[max(numbered)] if numbered else directory
    directory = local_directory(directory)
    if not directory.is_dir():
        raise InputError(f"model not found: {directory}")
    if versions := numbered_versions(directory):
        return versions[max(versions)]
    if engine_of(directory) or is_preset(directory):
        return directory
    raise InputError(f"{directory}: no SavedModel, OpenVINO model, or preset")


def read_exported_extractor(directory: pathlib.Path) -> dict[str, Any] | None:
    """Return the extractor config stored with an exported model, or None if there is none."""
    path = directory / EXTRA / EXTRACTOR
    return read_mapping(path) if path.exists() else None
