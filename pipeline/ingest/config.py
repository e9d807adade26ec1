"""What one ingestion makes: which sentences and images, from where, in which layout."""

import dataclasses
from typing import Any, Literal

from lxmert_tf.errors import InputError


@dataclasses.dataclass(frozen=True)
class SplitConfig:
    """One split of the records.

    Args:
        split: what it is taken from: a split of the data set, or a part (or several) of the files.
        layout: `grouped` is one record per image (training), `flat` one per sentence (evaluation).
        percent: of the images by a hash of their id, from and up to; [0, 100] is all. Two splits
            of one source split with ranges that don't overlap share no image.
        limit: the most images, for a trial; none if left out.

    Raises:
        InputError: the range or the limit makes no sense.
    """

    split: str | tuple[str, ...]
    layout: Literal["grouped", "flat"] = "grouped"
    percent: tuple[int, int] = (0, 100)
    limit: int | None = None

    def __post_init__(self):
        low, high = self.percent
        if not 0 <= low < high <= 100:
            raise InputError(f"percent is [{low}, {high}]; it must be within 0 to 100, rising")
        if self.limit is not None and self.limit < 1:
            raise InputError(f"limit is {self.limit}; it must be at least 1")
        if not self.split:
            raise InputError("split is empty; it must name what the records are taken from")

    @property
    def names(self) -> tuple[str, ...]:
        """What it is taken from, one or several."""
        return (self.split,) if isinstance(self.split, str) else tuple(self.split)


@dataclasses.dataclass(frozen=True)
class RegionFiles:
    """Files with the regions of images.

    Args:
        files: names or patterns, relative to the working directory or on a filesystem that Beam
            knows; .gz files and the members of .zip archives are read as they are.
        format: one of `REGION_READERS`; told from the name or the first line if left out.
        rows: which images of each file, from and up to (null: the end), in its order.
    """

    files: tuple[str, ...]
    format: str | None = None
    rows: tuple[int, int | None] = (0, None)

    def __post_init__(self):
        first, last = self.rows
        if first < 0 or (last is not None and last <= first):
            raise InputError(f"rows is [{first}, {last}]; it must rise from 0 or more")


@dataclasses.dataclass(frozen=True)
class SentenceFiles:
    """Files with sentences about images.

    Args:
        files: as of `RegionFiles`.
        format: one of `SENTENCE_READERS`.
    """

    files: tuple[str, ...]
    format: str


@dataclasses.dataclass(frozen=True)
class PartConfig:
    """Images and sentences that belong together, for example VQA's train2014.

    Args:
        regions, sentences: files; one without the other is an error.
    """

    regions: tuple[RegionFiles, ...]
    sentences: tuple[SentenceFiles, ...]

    def __post_init__(self):
        for name in ("regions", "sentences"):
            if not getattr(self, name):
                raise InputError(f"{name} is empty; it must name files")


@dataclasses.dataclass(frozen=True)
class IngestConfig:
    """One run of `lxmert ingest`: of a data set by name, or of files.

    Args:
        source: which data set; None for files.
        records: what is made, if it is one split.
        parts: files by name, for splits to be made of.
        splits: what is made, if it is several splits; each gets a folder of its name.
        extractor: what makes regions of pictures.
        shards: files that the records are spread over.
        feature_dtype: how the records hold features.
        answers: a table of answers (see `read_answer_table`); others are left out. None keeps all.
        min_answer_count: makes the table of the data: the answers that are given at least so
            often. It is left as answers.txt.
        normalize_answers: whether answers are normalised as the release does before look-up.
        max_reject_fraction: of the images or of the sentences; above it the job fails.
    """

    source: str | None = None
    records: SplitConfig | None = None
    extractor: dict[str, Any] = dataclasses.field(default_factory=lambda: {"name": "grid"})
    shards: int = 4
    parts: dict[str, PartConfig] = dataclasses.field(default_factory=dict)
    splits: dict[str, SplitConfig] = dataclasses.field(default_factory=dict)
    feature_dtype: Literal["float16", "float32"] = "float16"
    answers: str | None = None
    min_answer_count: int | None = None
    normalize_answers: bool = False
    max_reject_fraction: float = 0.01

    def __post_init__(self):
        if (self.source is None) == (not self.parts):
            raise InputError("name either a source or parts made of files")
        if (self.records is None) == (not self.splits):
            raise InputError("name either records or splits")
        for split in self.splits.values() if self.splits else [self.records]:
            unknown = [name for name in split.names if self.parts and name not in self.parts]
            if unknown:
                raise InputError(
                    f"no part is named {unknown[0]!r}; there are {', '.join(self.parts)}"
                )
        if self.shards < 1:
            raise InputError(f"shards is {self.shards}; it must be at least 1")
        if self.answers and self.min_answer_count is not None:
            raise InputError("answers and min_answer_count are both given; one makes the table")
        if self.min_answer_count is not None and self.min_answer_count < 1:
            raise InputError(f"min_answer_count is {self.min_answer_count}; it must be at least 1")
        if not 0 <= self.max_reject_fraction <= 1:
            raise InputError(
                f"max_reject_fraction is {self.max_reject_fraction}; it must be in [0, 1]"
            )
