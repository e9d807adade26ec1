"""`lxmert ingest`: turn images and sentences into record files."""

import argparse
import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from lxmert_tf.cli.arguments import naming_options
from lxmert_tf.errors import InputError

if TYPE_CHECKING:
    from pipeline.ingest.config import IngestConfig, SplitConfig

# The name of the part that the options --regions and --sentences describe.
PART = "all"
# Options that change fields of an `IngestConfig`, and of its `SplitConfig`.
CONFIG_OPTIONS = (
    "shards",
    "feature_dtype",
    "answers",
    "min_answer_count",
    "normalize_answers",
    "image_id_regex",
    "max_reject_fraction",
)
SPLIT_OPTIONS = ("layout", "limit")

T = TypeVar("T")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments to a parser."""
    inputs = parser.add_argument_group("input (one of --config, --regions, --source)")
    inputs.add_argument("--config", metavar="FILE", help="a YAML file, as in configs/ingest")
    inputs.add_argument(
        "--regions",
        nargs="+",
        metavar="GLOB",
        help="files with regions of images, or pictures or folders of them",
    )
    inputs.add_argument(
        "--regions-format", metavar="NAME", help="see docs/sources.md (default: detect it)"
    )
    inputs.add_argument("--sentences", nargs="+", metavar="GLOB", help="files with sentences")
    inputs.add_argument("--sentences-format", metavar="NAME", help="see docs/sources.md")
    inputs.add_argument(
        "--image-id-regex",
        metavar="REGEX",
        help="its groups select the id within an image's name (default: see docs/sources.md)",
    )
    inputs.add_argument("--source", metavar="NAME", help="a data set from a package: easy_vqa")
    inputs.add_argument(
        "--split", metavar="NAME", help="a split of the --source, or one of those in --config"
    )
    output = parser.add_argument_group("output")
    output.add_argument("--output", required=True, metavar="DIR", help="a new folder")
    output.add_argument(
        "--layout",
        choices=("grouped", "flat"),
        help="a record per image for training (default), or per sentence for evaluation",
    )
    output.add_argument("--limit", type=int, metavar="N", help="read only N images, for a trial")
    output.add_argument("--shards", type=int, metavar="N", help="number of files (default 4)")
    output.add_argument(
        "--feature-dtype", choices=("float16", "float32"), help="precision (default float16)"
    )
    output.add_argument("--answers", metavar="FILE", help="a table; leave other answers out")
    output.add_argument(
        "--min-answer-count",
        type=int,
        metavar="N",
        help="build the table from answers that are given N times or more",
    )
    output.add_argument(
        "--normalize-answers",
        action="store_true",
        default=None,
        help="normalize answers as the LXMERT release does",
    )
    output.add_argument(
        "--max-reject-fraction",
        type=float,
        metavar="X",
        help="fail if more of the images or sentences are invalid (default 0.01)",
    )
    runner = parser.add_argument_group("execution")
    runner.add_argument("--workers", type=int, default=1, metavar="N", help="processes (default 1)")
    runner.add_argument(
        "beam_args", nargs="*", metavar="-- BEAM_OPTION", help="options of another Beam runner"
    )


def run(args: argparse.Namespace) -> int:
    """Ingest each split and print the counts."""
    jobs = _jobs(args)

    from pipeline.ingest.job import run_ingest

    for output, config in jobs.items():
        print_summary(run_ingest(config, output, args.beam_args, args.workers))
        print(f"written to {output}")
    return 0


def print_summary(summary: dict[str, Any]) -> None:
    """Print how much was read, written, rejected, and left out, and the reasons.

    Args:
        summary: As `run_ingest` returns it.
    """
    from rich.table import Table

    from lxmert_tf.terminal import make_console

    table = Table("", title="Ingestion")
    for column in ("read", "written", "rejected"):
        table.add_column(column, justify="right")
    for kind in ("images", "sentences", "answers"):
        table.add_row(kind, *(f"{number:,}" for number in summary[kind].values()))
    console = make_console()
    console.print(table)
    for reason, count in summary["reasons"].items():
        console.print(f"rejected {count:,}: {reason}")
    if count := summary.get("unused_images"):
        console.print(f"images without a sentence, left out: {count:,}")
    if count := summary.get("found_by_number"):
        console.print(f"images found by number: {count:,} (Names of images in docs/sources.md)")
    if ignored := summary.get("ignored"):
        console.print(ignored_text(ignored), soft_wrap=True)


def ignored_text(ignored: Sequence[str]) -> str:
    """Return a line about ignored files, which names the first three."""
    more = f" and {len(ignored) - 3:,} more" if len(ignored) > 3 else ""
    return f"ignored files of other kinds: {', '.join(ignored[:3])}{more}"


def _jobs(args: argparse.Namespace) -> "dict[str, IngestConfig]":
    """Return the configuration of each output folder."""
    given = [name for name in ("config", "regions", "source") if getattr(args, name)]
    if len(given) != 1:
        raise InputError(
            "name one of --config FILE, --regions GLOB... with --sentences GLOB..., and "
            "--source NAME with --split NAME"
        )
    make = {"config": _from_file, "regions": _from_patterns, "source": _from_source}[given[0]]
    config = _with_options(make(args), args, CONFIG_OPTIONS)
    if config.records:
        return {args.output: _one_split(config, args, config.records)}
    splits = config.splits
    if args.split is not None:
        if args.split not in splits:
            raise InputError(f"unknown split {args.split!r}; it must be one of {', '.join(splits)}")
        return {args.output: _one_split(config, args, splits[args.split])}
    return {
        f"{args.output}/{name}": _one_split(config, args, split) for name, split in splits.items()
    }


def _from_file(args: argparse.Namespace) -> "IngestConfig":
    from lxmert_tf.config_file import load_config
    from pipeline.ingest.config import IngestConfig

    _check_absent(args, ("regions_format", "sentences", "sentences_format"), "--config")
    config = load_config(IngestConfig, args.config)
    _check_formats(config, args.config)
    if args.split is not None and config.records:
        raise InputError(f"--split needs a file with splits; {args.config} has records")
    return config


def _check_formats(config: "IngestConfig", path: str) -> None:
    """Raise an InputError that names the key of an unknown format."""
    from pipeline.ingest.registry import REGION_READERS, SENTENCE_READERS

    for name, part in config.parts.items():
        regions = [entry.format for entry in part.regions]
        sentences = [entry.format for entry in part.sentences]
        for key, formats, known in (
            ("regions", regions, [None, *REGION_READERS]),
            ("sentences", sentences, [*SENTENCE_READERS]),
        ):
            for number, form in enumerate(formats):
                if form not in known:
                    raise InputError(
                        f"{path}: parts.{name}.{key}[{number}].format is {form!r}; it must be one "
                        f"of {', '.join(filter(None, known))}"
                    )


def _from_patterns(args: argparse.Namespace) -> "IngestConfig":
    from pipeline.ingest.config import (
        IngestConfig,
        PartConfig,
        RegionFiles,
        SentenceFiles,
        SplitConfig,
    )

    _check_absent(args, ("split",), "--regions")
    if not args.sentences or not args.sentences_format:
        raise InputError("--regions needs --sentences GLOB... and --sentences-format NAME")
    regions = RegionFiles(tuple(args.regions), args.regions_format)
    sentences = SentenceFiles(tuple(args.sentences), args.sentences_format)
    return IngestConfig(
        records=SplitConfig(PART), parts={PART: PartConfig((regions,), (sentences,))}
    )


def _from_source(args: argparse.Namespace) -> "IngestConfig":
    from pipeline.ingest.config import IngestConfig, SplitConfig

    _check_absent(args, ("regions_format", "sentences", "sentences_format"), "--source")
    if not args.split:
        raise InputError("--source NAME needs --split NAME")
    return IngestConfig(args.source, SplitConfig(args.split))


def _check_absent(args: argparse.Namespace, names: tuple[str, ...], other: str) -> None:
    for name in names:
        if getattr(args, name) is not None:
            raise InputError(f"--{name.replace('_', '-')} cannot be used with {other}")


def _one_split(
    config: "IngestConfig", args: argparse.Namespace, records: "SplitConfig"
) -> "IngestConfig":
    records = _with_options(records, args, SPLIT_OPTIONS)
    return dataclasses.replace(config, records=records, splits={})


def _with_options(config: T, args: argparse.Namespace, names: tuple[str, ...]) -> T:
    given = {name: getattr(args, name) for name in names if getattr(args, name) is not None}
    with naming_options(given):
        return dataclasses.replace(config, **given)  # type: ignore[type-var]
