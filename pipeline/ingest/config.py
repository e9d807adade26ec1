"""Configuration of an ingestion: a file in configs/ingest/."""

import dataclasses
from typing import Annotated, Any, Literal

from pydantic import AliasChoices, AliasGenerator, BeforeValidator, ConfigDict, Field

from lxmert_tf.config_file import check_fields
from lxmert_tf.errors import InputError
from pipeline.ingest.image_names import IdRegex

ALL_PERCENT = (0, 100)
Count = Annotated[int, Field(ge=1)]
Names = Annotated[tuple[str, ...], Field(min_length=1)]
# YAML reads the name 7 as a number.
FolderName = Annotated[str, BeforeValidator(lambda name: str(name) if type(name) is int else name)]
Percent = Annotated[int, Field(ge=0, le=100)]


def _keys_of_field(name: str) -> AliasChoices | str:
    return AliasChoices("from", "split", "from_") if name == "from_" else name


@dataclasses.dataclass(frozen=True)
class SplitConfig:
    """One split of the records.

    Args:
        from_: Where it comes from (key `from`): a split of the data set, or one or more parts. The
            older key `split` is also read.
        layout: "grouped" for a record per image (training), "flat" for one per sentence
            (evaluation).
        percent: Range of image hashes, within [0, 100], that are in the split. Two splits of one
            part with disjoint ranges share no image.
        limit: The largest number of images, for a trial; None for all.
        folders: Names or patterns of folders, such as [0, "1?"]: only the images that are directly
            in one of them, and the sentences about these. Empty for all.

    Raises:
        InputError: A value is out of range.
    """

    __pydantic_config__ = ConfigDict(
        alias_generator=AliasGenerator(validation_alias=_keys_of_field)
    )

    from_: Annotated[str | tuple[str, ...], Field(min_length=1)]
    layout: Literal["grouped", "flat"] = "grouped"
    percent: tuple[Percent, Percent] = ALL_PERCENT
    limit: Count | None = None
    folders: tuple[FolderName, ...] = ()

    def __post_init__(self):
        check_fields(self)
        low, high = self.percent
        if low >= high:
            raise InputError(f"percent is [{low}, {high}]; the second must be larger")

    @property
    def names(self) -> tuple[str, ...]:
        """The splits or parts that it comes from."""
        return (self.from_,) if isinstance(self.from_, str) else tuple(self.from_)


@dataclasses.dataclass(frozen=True)
class RegionFiles:
    """Files with the regions of images, or images.

    Args:
        files: Paths or patterns, relative to the working directory or on a filesystem that Beam
            knows. Gzipped files and members of zip archives are read as they are.
        format: One of `REGION_READERS`; None to detect it from the name or the first lines.
        rows: Range of images in each file; the second is null for the end of the file.

    Raises:
        InputError: A value is out of range.
    """

    files: Names
    format: str | None = None
    rows: tuple[Annotated[int, Field(ge=0)], int | None] = (0, None)

    def __post_init__(self):
        check_fields(self)
        first, last = self.rows
        if last is not None and last <= first:
            raise InputError(f"rows is [{first}, {last}]; the second must be larger")


@dataclasses.dataclass(frozen=True)
class SentenceFiles:
    """Files with sentences about images.

    Args:
        files: As for `RegionFiles`.
        format: One of `SENTENCE_READERS`.
    """

    files: Names
    format: str

    def __post_init__(self):
        check_fields(self)


@dataclasses.dataclass(frozen=True)
class PartConfig:
    """Images and the sentences about them, for example train2014 of VQA.

    Args:
        regions: Files with images.
        sentences: Files with sentences.
    """

    regions: Annotated[tuple[RegionFiles, ...], Field(min_length=1)]
    sentences: Annotated[tuple[SentenceFiles, ...], Field(min_length=1)]

    def __post_init__(self):
        check_fields(self)


@dataclasses.dataclass(frozen=True)
class IngestConfig:
    """One run of `lxmert ingest`, from a data set or from files.

    Args:
        source: Name of a data set; None for files.
        records: The split to write, if there is only one.
        extractor: Configuration of what makes regions from images.
        shards: Number of record files.
        parts: Files by name, from which splits are made.
        splits: The splits to write, each into a folder with its name.
        feature_dtype: Precision of the features in records.
        answers: A table of answers (see `read_answer_table`); other answers are left out. None
            keeps all.
        min_answer_count: Build the table, `answers.txt`, of all answers that are given at least
            this often.
        normalize_answers: Whether to normalize answers before they are looked up, as the LXMERT
            release does.
        image_id_regex: A regular expression whose groups select the id within images' names, in
            region files (or the path of a picture) and in annotations; None for the whole name.
        max_reject_fraction: Fraction of the images or sentences that may be rejected, in 0..1.

    Raises:
        InputError: A value is out of range, or keys contradict each other.
    """

    source: str | None = None
    records: SplitConfig | None = None
    extractor: dict[str, Any] = dataclasses.field(default_factory=lambda: {"name": "grid"})
    shards: Count = 4
    parts: dict[str, PartConfig] = dataclasses.field(default_factory=dict)
    splits: dict[str, SplitConfig] = dataclasses.field(default_factory=dict)
    feature_dtype: Literal["float16", "float32"] = "float16"
    answers: str | None = None
    min_answer_count: Count | None = None
    normalize_answers: bool = False
    image_id_regex: str | None = None
    max_reject_fraction: Annotated[float, Field(ge=0, le=1)] = 0.01

    def __post_init__(self):
        check_fields(self)
        if (self.source is None) == (not self.parts):
            raise InputError("name either a source or parts")
        if (self.records is None) == (not self.splits):
            raise InputError("name either records or splits")
        for split in self.splits.values() if self.splits else [self.records]:
            unknown = [name for name in split.names if self.parts and name not in self.parts]
            if unknown:
                raise InputError(
                    f"unknown part {unknown[0]!r}; it must be one of {', '.join(self.parts)}"
                )
        if self.answers and self.min_answer_count is not None:
            raise InputError("answers and min_answer_count are both given; name one of them")
        for name in self.splits:
            if not {"", ".", ".."}.isdisjoint(name.split("/")):
                raise InputError(f"splits: {name!r} is not the name of a folder within the output")
        IdRegex(self.image_id_regex)
