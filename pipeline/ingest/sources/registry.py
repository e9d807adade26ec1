"""Sources by name, as configs and commands name them."""

from lxmert_tf.errors import InputError
from pipeline.ingest.sources.easy_vqa import EasyVqa
from pipeline.ingest.sources.source import Source

SOURCES: dict[str, type[Source]] = {EasyVqa.name: EasyVqa}


def make_source(name: str) -> Source:
    """Makes the source of that name.

    Raises:
        InputError: there is none.
    """
    if name not in SOURCES:
        raise InputError(f"source {name!r} is not known; there are {', '.join(SOURCES)}")
    return SOURCES[name]()
