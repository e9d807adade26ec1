"""Extractors by name, as configs and exported models name them."""

from typing import Any

from lxmert_tf.errors import InputError
from lxmert_tf.regions.extractor import RegionExtractor
from lxmert_tf.regions.grid import GridExtractor

EXTRACTORS: dict[str, type[RegionExtractor]] = {GridExtractor.name: GridExtractor}


def make_extractor(config: dict[str, Any]) -> RegionExtractor:
    """Makes the extractor that a config describes.

    Args:
        config: `name`, and the arguments of that extractor.

    Raises:
        InputError: the config names no extractor that there is, or it takes no such argument.
    """
    if not isinstance(config, dict):
        raise InputError(f"an extractor is described by a name and its arguments, not {config!r}")
    arguments = dict(config)
    name = arguments.pop("name", None)
    if not isinstance(name, str) or name not in EXTRACTORS:
        raise InputError(f"extractor {name!r} is not known; there are {', '.join(EXTRACTORS)}")
    try:
        return EXTRACTORS[name](**arguments)
    except TypeError as error:
        reason = str(error).removeprefix(f"{EXTRACTORS[name].__name__}.__init__() ")
        raise InputError(f"extractor {name!r}: {reason}") from error
