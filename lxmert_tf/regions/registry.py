"""Region extractors by the names that configs and exported models use."""

import importlib
import inspect
from typing import Any

from lxmert_tf.errors import InputError
from lxmert_tf.regions.extractor import RegionExtractor

# Name -> the class, or "module:class", which is imported at first use: some need TensorFlow, which
# takes seconds to import, and a client of a server does without it.
EXTRACTORS: dict[str, type[RegionExtractor] | str] = {
    "grid": "lxmert_tf.regions.grid:GridExtractor",
    "detector": "lxmert_tf.detector.extractor:DetectorExtractor",
    "keras_applications": "lxmert_tf.regions.keras_applications:KerasApplicationsExtractor",
    "tf_detection": "lxmert_tf.regions.tf_detection:TfDetectionExtractor",
}


def make_extractor(config: dict[str, Any]) -> RegionExtractor:
    """Make the extractor that a config describes.

    Args:
        config: `name`, and the arguments of that extractor.

    Returns:
        The extractor.

    Raises:
        InputError: No extractor has that name, or it has no such argument.

    Example:
        >>> make_extractor({"name": "grid", "cells": 3})
    """
    if not isinstance(config, dict):
        raise InputError(f"extractor is {config!r}; it must be a mapping with a name and arguments")
    arguments = dict(config)
    name = arguments.pop("name", None)
    if name is None:
        raise InputError(f"the extractor has no 'name'; it must be one of {', '.join(EXTRACTORS)}")
    if not isinstance(name, str) or name not in EXTRACTORS:
        raise InputError(f"unknown extractor {name!r}; it must be one of {', '.join(EXTRACTORS)}")
    extractor = _class_of(name)
    parameters = inspect.signature(extractor).parameters
    for argument in arguments:
        if argument not in parameters:
            takes = ", ".join(parameters)
            raise InputError(f"extractor {name!r}: unknown argument {argument!r}; it takes {takes}")
    for argument, parameter in parameters.items():
        if parameter.default is parameter.empty and argument not in arguments:
            raise InputError(f"extractor {name!r}: the argument {argument!r} is missing")
    return extractor(**arguments)


def with_defaults(config: dict[str, Any]) -> dict[str, Any]:
    """Return an extractor's config with the arguments that it leaves out, to compare it."""
    if config.get("name") not in EXTRACTORS:
        return config
    parameters = inspect.signature(_class_of(config["name"])).parameters.values()
    return {p.name: p.default for p in parameters if p.default is not p.empty} | config


def _class_of(name: str) -> type[RegionExtractor]:
    entry = EXTRACTORS[name]
    if not isinstance(entry, str):
        return entry
    module, _, attribute = entry.partition(":")
    return getattr(importlib.import_module(module), attribute)
