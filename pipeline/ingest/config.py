"""What one ingestion makes: which sentences and images, from where, in which layout."""

import dataclasses
from typing import Any, Literal

from lxmert_tf.errors import InputError


@dataclasses.dataclass(frozen=True)
class SplitConfig:
    """One split of the records.

    Args:
        split: the source's own split that it is taken from.
        layout: `grouped` is one record per image (training), `flat` one per sentence (evaluation).
        percent: of the images by a hash of their id, from and up to; [0, 100] is all. Two splits
            of one source split with ranges that don't overlap share no image.
        limit: the most images, for a trial; none if left out.

    Raises:
        InputError: the range or the limit makes no sense.
    """

    split: str
    layout: Literal["grouped", "flat"] = "grouped"
    percent: tuple[int, int] = (0, 100)
    limit: int | None = None

    def __post_init__(self):
        low, high = self.percent
        if not 0 <= low < high <= 100:
            raise InputError(f"percent is [{low}, {high}]; it must be within 0 to 100, rising")
        if self.limit is not None and self.limit < 1:
            raise InputError(f"limit is {self.limit}; it must be at least 1")


@dataclasses.dataclass(frozen=True)
class IngestConfig:
    """One run of `lxmert ingest`.

    Args:
        source: which data set.
        records: which part of it, in which layout.
        extractor: what makes regions of its pictures.
        shards: files that the records are spread over.
    """

    source: str
    records: SplitConfig
    extractor: dict[str, Any] = dataclasses.field(default_factory=lambda: {"name": "grid"})
    shards: int = 4

    def __post_init__(self):
        if self.shards < 1:
            raise InputError(f"shards is {self.shards}; it must be at least 1")
