"""Region extractors by the names that configs and exported models use."""

from typing import Any

from lxmert_tf.errors import InputError
from lxmert_tf.regions.extractor import RegionExtractor
from lxmert_tf.regions.grid import GridExtractor

EXTRACTORS: dict[str, type[RegionExtractor]] = {GridExtractor.name: GridExtractor}


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
    if not isinstance(name, str) or name not in EXTRACTORS:
        raise InputError(f"unknown extractor {name!r}; it must be one of {', '.join(EXTRACTORS)}")
    try:
        return EXTRACTORS[name](**arguments)
    except TypeError as error:
        reason = str(error).removeprefix(f"{EXTRACTORS[name].__name__}.__init__() ")
        raise InputError(f"extractor {name!r}: {reason}") from error
